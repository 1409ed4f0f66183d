import contextlib
import gc
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamcell import BytesStream, FileStream, IterStream, Stream, StreamIntegrityError, StreamUsageError
from streamcell.stream import as_stream, is_bytes

DATA = b"0123456789"


def read_all(stream: Stream, size: int = 4) -> bytes:
    parts = []
    while part := bytes(stream.read(size)):
        assert len(part) <= size
        parts.append(part)
    assert bytes(stream.read(size)) == b""
    return b"".join(parts)


class Counting(Stream):
    """A source written by an application."""

    def __init__(self) -> None:
        super().__init__(size=3, headers={"kind": "counting"})
        self.left = 3

    def read(self, size: int) -> bytes:
        self.left = max(0, self.left - 1)
        return b"x" if self.left else b""


def test_a_subclass_need_only_read() -> None:
    stream = Counting()
    assert (stream.get_size(), stream.get_pos(), stream.get_headers()) == (3, 0, {"kind": "counting"})
    assert read_all(stream) == b"xx"
    stream.close()


def test_a_subclass_need_not_call_init() -> None:
    class Bare(Stream):
        def __init__(self) -> None:
            self.left = [b"a", b"b"]

        def read(self, size: int) -> bytes:
            return self.left.pop() if self.left else b""

    stream, other = Bare(), Bare()
    stream.get_headers()["k"] = 1
    assert (stream.get_size(), stream.get_pos(), other.get_headers()) == (0, 0, {})
    assert read_all(stream) == b"ba"


def test_the_base_class_cannot_read_or_seek() -> None:
    stream = Stream()
    assert (stream.get_size(), stream.get_headers()) == (0, {})
    with pytest.raises(NotImplementedError):
        stream.read(1)
    with pytest.raises(io.UnsupportedOperation):
        stream.seek(0)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    stream = FileStream(path, headers={"name": "data"})
    assert (stream.get_size(), stream.get_headers()) == (10, {"name": "data"})
    assert read_all(stream) == DATA
    assert stream.get_pos() == 10
    stream.seek(8)
    assert (stream.get_pos(), read_all(stream)) == (8, b"89")
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileStream(tmp_path / "nothing")
    with pytest.raises(StreamUsageError, match="'' is no path"):
        FileStream("")
    # A half-made stream that is collected must not complain.
    gc.collect()


@pytest.mark.parametrize("data", [DATA, bytearray(DATA), memoryview(DATA), np.frombuffer(DATA, dtype=">u2")])
def test_bytes(data: Any) -> None:
    stream = BytesStream(data)
    assert stream.get_size() == 10
    assert read_all(stream) == DATA
    stream.seek(7)
    assert (stream.get_pos(), read_all(stream)) == (7, b"789")
    stream.seek(100)
    assert read_all(stream) == b""


def test_bytes_of_another_type() -> None:
    with pytest.raises(StreamUsageError, match="str"):
        BytesStream("text")


def test_items_of_an_iterable_may_be_of_any_length() -> None:
    stream = IterStream([b"", b"0", bytearray(b"123456"), b"", memoryview(b"789")], size=10)
    assert stream.get_size() == 10
    assert read_all(stream) == DATA
    assert stream.get_pos() == 10


def test_items_are_given_out_as_they_come() -> None:
    taken: list[int] = []

    def items() -> Iterator[bytes]:
        for number in range(3):
            taken.append(number)
            yield bytes([number])

    stream = IterStream(items())
    assert bytes(stream.read(100)) == b"\0"
    assert taken == [0]


def test_an_item_of_another_type() -> None:
    with pytest.raises(StreamUsageError, match="int"):
        IterStream([5]).read(1)


def test_closing_an_iterable_closes_its_generator() -> None:
    closed: list[bool] = []

    def items() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    stream = IterStream(items())
    stream.read(1)
    stream.close()
    assert closed == [True]
    IterStream([b"a"]).close()


def test_a_file_object_is_read_from_where_it_stands_and_left_open() -> None:
    file = io.BytesIO(DATA)
    file.seek(3)
    stream = as_stream(file)
    assert stream.get_size() == 7
    assert read_all(stream) == DATA[3:]
    stream.close()
    assert not file.closed


def test_the_size_of_a_file_object_that_cannot_seek_is_not_known() -> None:
    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

    assert as_stream(Pipe()).get_size() == 0


def test_a_file_object_that_does_not_block_is_refused() -> None:
    class NonBlocking:
        def read(self, size: int) -> None:
            return None

    with pytest.raises(StreamUsageError, match="non-blocking"):
        as_stream(NonBlocking()).read(1)


def test_a_stream_is_taken_as_it_is() -> None:
    stream = Counting()
    assert as_stream(stream) is stream


@pytest.mark.parametrize("payload", [io.StringIO("text"), "text", 5, None, {"a": 1}])
def test_what_is_no_stream(payload: Any) -> None:
    with pytest.raises(StreamUsageError):
        as_stream(payload)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", True),
        (bytearray(), True),
        (np.zeros(3), True),
        ([b"a"], True),
        ("text", False),
        (iter([b"a"]), False),
        (io.BytesIO(b"a"), False),
        (BytesStream(b"a"), False),
        (None, False),
    ],
)
def test_bytes_that_are_all_there(payload: Any, expected: bool) -> None:
    assert is_bytes(payload) is expected


def test_an_own_stream_has_no_stamp() -> None:
    assert Counting().get_stamp() == b""
    assert BytesStream(DATA).get_stamp() == b""


def test_the_stamp_of_a_file_is_the_same_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with contextlib.closing(FileStream(path)) as one, contextlib.closing(FileStream(path)) as other:
        assert one.get_stamp() == other.get_stamp() != b""
        # What is sent begins where it stands.
        other.seek(3)
        assert one.get_stamp() != other.get_stamp()
    stamps = {one.get_stamp()}
    for change in (lambda: path.write_bytes(DATA + b"x"), lambda: os.utime(path, ns=(5, 5))):
        change()
        with contextlib.closing(FileStream(path)) as changed:
            stamps.add(changed.get_stamp())
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(5, 5))
    with contextlib.closing(FileStream(copy)) as changed:
        stamps.add(changed.get_stamp())
    assert len(stamps) == 4


def test_a_file_that_has_changed_cannot_be_read_to_its_end_nor_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with contextlib.closing(FileStream(path)) as stream:
        assert stream.read(100) == DATA
        assert stream.read(100) == b""
        # Reading nothing is no end.
        os.utime(path, ns=(5, 5))
        assert stream.read(0) == b""
        with pytest.raises(StreamIntegrityError, match="changed"):
            stream.read(100)
        with pytest.raises(StreamIntegrityError, match="changed"):
            stream.seek(0)


def test_a_file_that_has_grown_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    stream = FileStream(path)
    assert stream.read(6) == b"123456"
    with path.open("ab") as file:
        file.write(b"9")
    assert stream.read(2) == b"78"
    with pytest.raises(StreamIntegrityError, match="was changed while it was sent"):
        stream.read(2)
    stream.close()


def test_a_file_that_was_replaced_has_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with contextlib.closing(FileStream(path)) as stream:
        path.unlink()
        path.write_bytes(b"another")
        assert read_all(stream) == DATA


def test_an_open_file_is_sent_from_where_it_stands_and_goes_back_there() -> None:
    file = io.BytesIO(b"before" + DATA)
    file.seek(6)
    stream = as_stream(file)
    assert read_all(stream) == DATA
    stream.seek(4)
    assert read_all(stream) == DATA[4:]


def test_a_pipe_does_not_go_back() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb", buffering=0) as pipe, pytest.raises(io.UnsupportedOperation):
        as_stream(pipe).seek(0)
