import array
from typing import Any

import numpy as np
import pytest

from streamcell import StreamError, UsageError
from streamcell.runtime.sending.payloads import flatten_payload

SHAPED = [
    np.arange(6, dtype=">i4").reshape(2, 3),
    np.arange(6, dtype=np.float64).reshape(2, 3)[:, ::2],
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.zeros((0, 3)),
    np.array(5.0),
    np.zeros(3, dtype=[("key", "i4"), ("value", "f8")]),
]


@pytest.mark.parametrize("copy_up_to", [0, 1 << 20])
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, b""),
        (b"", b""),
        (b"abc", b"abc"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        ([], b""),
        ([b"a", bytearray(b"bc"), memoryview(b"d"), b""], b"abcd"),
        ((b"a", array.array("B", [98])), b"ab"),
        *((shaped, shaped.tobytes()) for shaped in SHAPED),
    ],
)
def test_bytes_come_out_in_order(payload: Any, expected: bytes, copy_up_to: int) -> None:
    pieces, size = flatten_payload(payload, copy_up_to)
    assert (b"".join(pieces), size) == (expected, len(expected))
    assert all(len(piece) for piece in pieces)


def test_small_payloads_are_copied() -> None:
    payload = bytearray(b"before")
    pieces, _ = flatten_payload(payload, copy_up_to=6)
    payload[:] = b"after!"
    assert b"".join(pieces) == b"before"


def test_small_lists_are_copied() -> None:
    part = bytearray(b"bc")
    pieces, _ = flatten_payload([b"a", part], copy_up_to=3)
    part[:] = b"xx"
    assert b"".join(pieces) == b"abc"


def test_large_payloads_are_referred_to() -> None:
    payload = bytearray(b"before")
    pieces, _ = flatten_payload([payload, payload], copy_up_to=11)
    payload[:] = b"after!"
    assert b"".join(pieces) == b"after!after!"
    assert len(pieces) == 2


def test_large_arrays_are_not_copied() -> None:
    numbers = np.arange(1000, dtype=">i8")
    pieces, size = flatten_payload(numbers, copy_up_to=0)
    numbers[0] = 7
    assert size == 8000
    assert bytes(pieces[0][:8]) == (7).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ("text", "str"),
        (5, "int"),
        ({"a": 1}, "dict"),
        ([b"a", "b"], "str"),
        ([[b"a"]], "list"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), r"numpy\.ndarray"),
        (np.array([object()]), r"numpy\.ndarray"),
    ],
)
def test_other_types_are_refused_by_name(payload: Any, named: str) -> None:
    with pytest.raises(UsageError, match=f"of type {named} ") as caught:
        flatten_payload(payload, 0)
    assert isinstance(caught.value, StreamError)


def test_a_copy_is_taken_if_it_is_asked_for_and_of_nothing_that_cannot_change() -> None:
    array_, fixed = bytearray(b"abc"), b"def"
    pieces, size = flatten_payload([array_, b"", fixed], 0, copy=True)
    array_[:] = b"xyz"
    assert (pieces, size) == ([b"abc", b"def"], 6)
    assert pieces[1] is fixed
