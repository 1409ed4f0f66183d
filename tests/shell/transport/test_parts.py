"""Bytes in parts, read as one."""

import random

import pytest

from streamcell.protocol.wire.frames import Payload
from streamcell.transport.parts import Rope, join, size_of

WHOLE = random.Random(1).randbytes(100)
PARTS: list[Payload] = [
    b"",
    WHOLE[:1],
    memoryview(WHOLE)[1:40],
    WHOLE[40:41],
    b"",
    memoryview(WHOLE)[41:99],
    WHOLE[99:],
]


def test_parts_are_joined_and_measured() -> None:
    assert join(PARTS) == WHOLE
    assert size_of(PARTS) == len(WHOLE)
    assert (join([]), size_of([])) == (b"", 0)


def test_a_part_alone_is_copied_only_if_it_is_a_view() -> None:
    assert join([WHOLE]) is WHOLE
    assert isinstance(join([memoryview(WHOLE)]), bytes)


def test_a_rope_is_read_like_its_bytes_from_anywhere_to_anywhere() -> None:
    rope = Rope(PARTS)
    assert len(rope) == len(WHOLE)
    assert bytes(rope) == WHOLE
    for start in range(len(WHOLE) + 2):
        for end in range(len(WHOLE) + 2):
            assert rope[start:end] == WHOLE[start:end]
        # From back to front as well.
        if start < len(WHOLE):
            assert rope[len(WHOLE) - 1 - start] == WHOLE[len(WHOLE) - 1 - start]


def test_what_lies_in_one_part_is_a_view_of_it() -> None:
    within = Rope(PARTS)[50:60]
    assert isinstance(within, memoryview)
    assert within.obj is WHOLE
    assert isinstance(Rope(PARTS)[30:60], bytes)


@pytest.mark.parametrize("index", [-1, 100, 1000])
def test_there_is_nothing_beyond_the_ends(index: int) -> None:
    rope = Rope(PARTS)
    for _ in range(2):
        with pytest.raises(IndexError):
            rope[index]
    assert rope[99] == WHOLE[99]


def test_a_rope_of_nothing_is_empty() -> None:
    assert len(Rope([])) == 0
    assert Rope([])[0:5] == b""
