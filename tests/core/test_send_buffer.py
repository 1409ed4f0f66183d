from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from streamcell.limits import COALESCE_BYTES, KIB
from streamcell.protocol.sending.buffer import SendBuffer
from tests.kit.payloads import pattern


class BufferMachine(RuleBasedStateMachine):
    """A buffer against the bytes that were put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = SendBuffer()
        self.model = b""

    @rule(size=st.integers(0, 300), view=st.booleans())
    def append(self, size: int, view: bool) -> None:
        piece = bytes((len(self.model) + step) % 251 for step in range(size))
        self.buffer.append(memoryview(piece) if view else piece)
        self.model += piece
        assert self.buffer.end == len(self.model)

    @rule(count=st.integers(1, 200))
    def append_many(self, count: int) -> None:
        for _ in range(count):
            self.append(3, view=False)

    @precondition(lambda self: self.buffer.start < self.buffer.end)
    @rule(data=st.data(), limit=st.integers(1, 700))
    def cut(self, data: st.DataObject, limit: int) -> None:
        offset = data.draw(st.integers(self.buffer.start, self.buffer.end - 1))
        payload = bytes(self.buffer.cut(offset, limit))
        assert 1 <= len(payload) <= limit
        assert payload == self.model[offset : offset + len(payload)]

    @rule(limit=st.integers(1, 700))
    def cut_all(self, limit: int) -> None:
        joined, offset = b"", self.buffer.start
        while offset < self.buffer.end:
            joined += self.buffer.cut(offset, limit)
            offset = self.buffer.start + len(joined)
        assert joined == self.model[self.buffer.start :]

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        below = data.draw(st.integers(0, self.buffer.end))
        before = self.buffer.start
        self.buffer.drop_below(below)
        assert before <= self.buffer.start <= max(before, below)

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        assert self.buffer.start == self.buffer.end == len(self.model)


BufferMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40)
TestBuffer = BufferMachine.TestCase


def filled(*pieces: bytes) -> SendBuffer:
    buffer = SendBuffer()
    for piece in pieces:
        buffer.append(piece)
    return buffer


def test_a_large_piece_is_cut_without_a_copy() -> None:
    piece = pattern(300 * KIB)
    cut = filled(piece).cut(KIB, 256 * KIB)
    assert isinstance(cut, memoryview)
    assert cut.obj is piece


def test_a_piece_that_fits_is_the_piece_itself() -> None:
    piece = pattern(KIB)
    assert filled(piece).cut(0, KIB) is piece


@given(st.integers(1, 200))
def test_small_pieces_are_joined_up_to_a_bound(count: int) -> None:
    payload = filled(*[pattern(KIB)] * count).cut(0, 256 * KIB)
    assert len(payload) == min(count * KIB, COALESCE_BYTES)


def test_a_small_piece_before_a_large_one_does_not_copy_all_of_it() -> None:
    assert len(filled(b"x", pattern(400 * KIB)).cut(0, 256 * KIB)) == COALESCE_BYTES


def test_whole_pieces_below_an_offset_are_dropped() -> None:
    buffer = filled(b"abc", b"def")
    buffer.drop_below(5)
    assert (buffer.start, bytes(buffer.cut(3, 9))) == (3, b"def")
    buffer.drop_below(6)
    assert buffer.start == buffer.end == 6


def test_what_was_dropped_cannot_be_cut() -> None:
    buffer = filled(b"abc", b"def")
    buffer.drop_below(3)
    with pytest.raises(LookupError):
        buffer.cut(0, 1)
