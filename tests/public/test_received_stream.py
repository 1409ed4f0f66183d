"""Received streams: raw binary files of the standard library, and streams that can be sent on."""

from __future__ import annotations

import gc
import hashlib
import io
import shutil
import tarfile
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import (
    IterStream,
    Message,
    ReceivedStream,
    Stream,
    StreamCancelled,
    StreamCell,
    StreamError,
    StreamFuture,
    StreamResumeError,
)
from tests.kit.cells import Carrier, Pair, running
from tests.kit.payloads import endless, pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

MIB = 1 << 20
DATA = pattern(3 * MIB + 12_345)
LINES = b"first\n\nthird, without an end of line" + b"x" * 200_000 + b"\nlast"


def exchange(pair: Pair, read: Callable[[ReceivedStream], Any], payload: Any = DATA, **headers: Any) -> Any:
    """Send ``payload`` as a stream and return what ``read`` makes of it, after the sender has its answer."""
    results: Box[Any] = Box()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        results.put(read(stream))

    pair.at_server.register_stream_cb("c", "t", callback)
    future = pair.at_site.send_stream("c", "t", "server", Message(headers, payload))
    result = results.get()
    assert future.result(PATIENCE_S) >= 0
    return result


# --- reading


def test_read_returns_what_there_is(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> bytes:
        pieces = []
        while piece := stream.read(10_000):
            assert type(piece) is bytes
            assert 1 <= len(piece) <= 10_000
            pieces.append(piece)
            assert stream.get_pos() == stream.tell() == sum(map(len, pieces))
        assert stream.read(1) == stream.read(-1) == b""
        return b"".join(pieces)

    assert exchange(pair, read) == DATA


@pytest.mark.parametrize("size", [-1, None])
def test_read_all(pair: Pair, size: int | None) -> None:
    assert exchange(pair, lambda stream: stream.read(size)) == DATA
    assert exchange(pair, lambda stream: (stream.read(0), stream.read(1), stream.readall())) == (
        b"",
        DATA[:1],
        DATA[1:],
    )


def test_read_waits_for_no_more_than_there_is(pair: Pair) -> None:
    with Gate() as gate:

        def trickle() -> Iterator[bytes]:
            yield b"first"
            gate.pass_through()
            yield b"second"

        def read(stream: ReceivedStream) -> list[bytes]:
            first = stream.read(1_000_000)
            gate.open()
            return [first, stream.read(1_000_000), stream.read(1_000_000)]

        assert exchange(pair, read, IterStream(trickle())) == [b"first", b"second", b""]


@pytest.mark.parametrize("make", [bytearray, lambda size: memoryview(bytearray(size)).cast("H")])
def test_readinto(pair: Pair, make: Callable[[int], Any]) -> None:
    def read(stream: ReceivedStream) -> bytes:
        buffer = make(4096)
        assert stream.readinto(bytearray()) == 0
        pieces = []
        while count := stream.readinto(buffer):
            pieces.append(memoryview(buffer).cast("B")[:count].tobytes())
        return b"".join(pieces)

    assert exchange(pair, read) == DATA


def test_pieces(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> bytes:
        start = stream.read(5)
        return start + b"".join(stream.pieces())

    assert exchange(pair, read) == DATA


def test_lines(pair: Pair) -> None:
    expected = LINES.splitlines(keepends=True)
    assert exchange(pair, list, LINES) == expected
    assert exchange(pair, lambda stream: stream.readlines(), LINES) == expected
    assert exchange(pair, lambda stream: [stream.readline(3), stream.readline(), stream.read(1), *stream], LINES) == [
        b"fir",
        b"st\n",
        b"\n",
        *expected[2:],
    ]
    assert exchange(pair, list, b"") == []


def test_what_it_is_and_where_it_comes_from(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> None:
        assert isinstance(stream, io.RawIOBase)
        assert isinstance(stream, Stream)
        assert stream.headers == stream.get_headers() == {"name": "weights"}
        assert (stream.origin, stream.channel, stream.topic, stream.resume_id) == ("site", "c", "t", "")
        assert (stream.get_size(), stream.get_pos()) == (len(DATA), 0)
        assert (stream.readable(), stream.writable(), stream.seekable(), stream.closed) == (True, False, False, False)
        assert "c/t from site open 0/" in repr(stream)
        with pytest.raises(io.UnsupportedOperation):
            stream.seek(0)
        with pytest.raises(io.UnsupportedOperation):
            stream.fileno()
        with pytest.raises(io.UnsupportedOperation):
            stream.truncate()
        stream.read(-1)
        stream.close()
        assert stream.closed
        assert "closed" in repr(stream)

    exchange(pair, read, name="weights")


# --- used by the standard library


def test_buffered_reader(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> tuple[bytes, bytes, bytes]:
        with io.BufferedReader(stream, 65536) as reader:
            return reader.peek(10)[:10], reader.read(MIB), reader.read()

    peeked, first, rest = exchange(pair, read)
    assert (peeked, len(first), first + rest) == (DATA[:10], MIB, DATA)


def test_text(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> list[str]:
        with io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", newline="\n") as text:
            return list(text)

    assert exchange(pair, read, "Grüße\nan alle\n".encode()) == ["Grüße\n", "an alle\n"]


def test_copyfileobj(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> bytes:
        copy = io.BytesIO()
        shutil.copyfileobj(stream, copy)
        return copy.getvalue()

    assert exchange(pair, read) == DATA


def test_file_digest(pair: Pair) -> None:
    assert exchange(pair, lambda stream: hashlib.file_digest(stream, "sha256").hexdigest()) == (
        hashlib.sha256(DATA).hexdigest()
    )


def test_tar(pair: Pair) -> None:
    files = {"a.txt": b"1", "model/weights.bin": DATA, "empty": b""}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    packed.seek(0)

    def unpack(stream: ReceivedStream) -> dict[str, bytes]:
        unpacked = {}
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            # In the order of the archive: there is no way back in a stream.
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                unpacked[member.name] = file.read()
        # An archive ends before its padding does.
        stream.read(-1)
        return unpacked

    assert exchange(pair, unpack, packed) == files


def test_sent_on_as_it_arrives(carrier: Carrier, pair: Pair) -> None:
    arrived: Box[bytes] = Box()
    third = carrier.cell("third", connect=pair.server.listen_urls)
    StreamCell(third).register_stream_cb("c", "on", lambda future, stream, resume: arrived.put(stream.read(-1)))
    with running(third):
        third.wait_connected(PATIENCE_S)

        def pass_on(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            pair.at_server.send_stream("c", "on", "third", Message({}, stream)).result(PATIENCE_S)
            # Closed by a thread of its own.
            eventually(lambda: stream.closed)

        pair.at_server.register_stream_cb("c", "t", pass_on)
        assert pair.at_site.send_stream("c", "t", "server", Message({}, DATA)).result(PATIENCE_S) == len(DATA)
    assert arrived.get() == DATA


# --- handing over, closing, dropping


def test_dropped_after_it_was_handed_over(pair: Pair) -> None:
    kept: Box[ReceivedStream] = Box()
    pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: kept.put(stream))
    future = pair.at_site.send_stream("c", "t", "server", Message({}, endless()))
    stream = kept.get()
    gone = weakref.ref(stream)
    assert stream.read(1) == b"\0"
    del stream
    eventually(lambda: gc.collect() >= 0 and gone() is None)
    assert type(future.exception(PATIENCE_S)) is StreamCancelled


def test_closed_while_another_thread_reads(pair: Pair) -> None:
    with Gate() as gate:

        def first_then_wait() -> Iterator[bytes]:
            yield b"1"
            gate.pass_through()

        ended: Box[BaseException] = Box()

        def read_until_closed(stream: ReceivedStream) -> None:
            with pytest.raises(ValueError, match="closed") as raised:
                stream.read(-1)
            ended.put(raised.value)

        def hand_over(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            stream.read(1)
            reader = threading.Thread(target=read_until_closed, args=(stream,))
            reader.start()
            stream.close()
            reader.join(PATIENCE_S)

        pair.at_server.register_stream_cb("c", "t", hand_over)
        future = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream(first_then_wait())))
        assert isinstance(ended.get(), ValueError)
        assert type(future.exception(PATIENCE_S)) is StreamCancelled


def read_to_failure(stream: ReceivedStream) -> bytes:
    pieces: list[bytes] = []
    with pytest.raises(StreamError, match="no more"):
        pieces.extend(iter(lambda: stream.read(30_000), None))
    # It stays so.
    with pytest.raises(StreamError, match="no more"):
        stream.read(1)
    return b"".join(pieces)


def test_what_arrived_before_a_failure_is_read_first(pair: Pair) -> None:
    with Gate() as gate:

        def source() -> Iterator[bytes]:
            yield DATA[:100_000]
            gate.pass_through()
            raise OSError("no more")

        results: Box[bytes] = Box()

        def read_late(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            eventually(lambda: future.get_progress() == 100_000)
            gate.open()
            assert isinstance(future.exception(PATIENCE_S), StreamError)
            results.put(read_to_failure(stream))

        pair.at_server.register_stream_cb("c", "t", read_late)
        future = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream(source())))
        assert isinstance(future.exception(PATIENCE_S), StreamError)
        assert results.get() == DATA[:100_000]


def test_there_is_nothing_to_resume_in_a_new_stream(pair: Pair) -> None:
    def read(stream: ReceivedStream) -> bytes:
        with pytest.raises(StreamResumeError):
            stream.resume_from(5)
        stream.resume_from(0)
        first = stream.read(1)
        with pytest.raises(StreamResumeError):
            stream.resume_from(0)
        return first + stream.read(-1)

    assert exchange(pair, read) == DATA
