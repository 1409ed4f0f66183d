import gc
import weakref
from typing import Any

import numpy as np
import pytest

from streamcell import ErrorCode, StreamError, StreamRejected
from streamcell.digest import Digest
from streamcell.limits import MIB
from streamcell.runtime.receiving.assembly import Assembly, IntoAssembly, SizedAssembly
from streamcell.runtime.receiving.assembly import make_assembly as make_assembly_with


def make_assembly(size: int | None) -> Assembly:
    return make_assembly_with(size, lambda size: memoryview(bytearray(size)))


@pytest.mark.parametrize("size", [None, 6])
@pytest.mark.parametrize("pieces", [[b"abcdef"], [b"ab", memoryview(b"cd"), b"ef"], [b"", b"abcdef", b""]])
def test_pieces_become_one_read_only_view(size: int | None, pieces: list[Any]) -> None:
    assembly = make_assembly(size)
    for piece in pieces:
        assembly.add(piece)
    result = assembly.result()
    assert isinstance(result, memoryview)
    assert (result.readonly, result.itemsize, bytes(result)) == (True, 1, b"abcdef")


@pytest.mark.parametrize("size", [None, 0])
def test_no_pieces_become_an_empty_view(size: int | None) -> None:
    assert bytes(make_assembly(size).result()) == b""


def test_a_blob_of_one_piece_does_not_keep_the_piece() -> None:
    batch = bytearray(b"header and payload")
    assembly = make_assembly(7)
    with memoryview(batch) as view, view[11:] as piece:
        assembly.add(piece)
    batch.clear()
    assert bytes(assembly.result()) == b"payload"


def test_large_blobs() -> None:
    pieces = [bytes([number]) * MIB for number in range(6)]
    assembly = make_assembly(6 * MIB)
    for piece in pieces:
        assembly.add(piece)
    assert assembly.result() == b"".join(pieces)


def test_into_gives_back_the_very_buffer() -> None:
    buffer = bytearray(8)
    assembly = IntoAssembly(buffer, 6)
    assembly.add(b"abc")
    assembly.add(b"def")
    assert assembly.result() is buffer
    assert buffer == b"abcdef\0\0"
    # Nothing of ours keeps it from being resized.
    buffer.clear()


@pytest.mark.parametrize("size", [None, 6])
def test_the_digest_is_that_of_what_was_added(size: int | None) -> None:
    whole = Digest.of([b"abcdef"])
    for assembly in (make_assembly(size), IntoAssembly(bytearray(8), size)):
        assembly.add(b"ab")
        assembly.add(memoryview(b"cdef"))
        assert assembly.digest() == whole
        assert bytes(assembly.result())[:6] == b"abcdef"


def test_into_takes_arrays_of_any_shape() -> None:
    numbers = np.zeros((2, 2), dtype=">i2")
    assembly = IntoAssembly(numbers, 8)
    assembly.add(bytes([0, 1, 0, 2, 0, 3, 0, 4]))
    assert assembly.result() is numbers
    assert numbers.tolist() == [[1, 2], [3, 4]]


def test_into_of_unknown_size_fails_when_it_is_full() -> None:
    assembly = IntoAssembly(bytearray(4), None)
    assembly.add(b"abc")
    with pytest.raises(StreamRejected, match="has 4 bytes, the blob has 6 or more"):
        assembly.add(b"def")


@pytest.mark.parametrize(
    ("buffer", "reason"),
    [
        (None, "NoneType"),
        (b"abcdef", "read-only bytes"),
        (bytearray(5), "5 bytes, the blob has 6"),
        (np.zeros((6, 2), dtype=np.uint8)[:, 0], "not contiguous"),
    ],
)
def test_into_refuses_what_cannot_take_the_blob(buffer: Any, reason: str) -> None:
    with pytest.raises(StreamRejected, match=reason):
        IntoAssembly(buffer, 6)


def test_a_result_is_freed_with_its_last_view() -> None:
    numbers = np.zeros(100, dtype=np.uint8)
    assembly = IntoAssembly(numbers, 100)
    freed = weakref.ref(numbers)
    result = assembly.result()
    del numbers, assembly, result
    gc.collect()
    assert freed() is None


def test_pieces_are_kept_while_no_buffer_can_be_had() -> None:
    refusals = [MemoryError(), MemoryError(), MemoryError()]

    def allocate(size: int) -> memoryview:
        if refusals:
            raise refusals.pop()
        return memoryview(bytearray(size))

    assembly = SizedAssembly(9, allocate)
    assembly.add(b"abc")
    assembly.add(b"def")
    with pytest.raises(MemoryError):
        assembly.result()
    assembly.add(b"ghi")
    assert bytes(assembly.result()) == b"abcdefghi"


def test_not_everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_size: int) -> memoryview:
        raise MemoryError

    monkeypatch.setattr("streamcell.runtime.receiving.assembly.KEPT_BYTES", 5)
    assembly = SizedAssembly(100, refuse)
    assembly.add(b"abc")
    assembly.add(b"def")
    with pytest.raises(StreamError, match="no memory") as raised:
        assembly.add(b"g")
    assert raised.value.code is ErrorCode.LIMIT
