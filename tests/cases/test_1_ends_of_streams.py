"""How a received stream ends: one judge, whatever comes first. Cases 1.1 and 1.2."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import (
    FileStream,
    Message,
    ReceivedStream,
    Stream,
    StreamCancelled,
    StreamFuture,
    StreamIntegrityError,
    StreamRejected,
    aio,
)
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import Carrier, Pair, connected_pair, running
from tests.kit.fixtures import carrier, pair
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

__all__ = ["carrier", "pair"]

SIZE = 1000
DATA = pattern(SIZE)
WRONG = "sha256:" + 64 * "0"
RIGHT = f"sha256:{hashlib.sha256(DATA).hexdigest()}"

# What a reader does once it has as many bytes as were declared.
Leaving = Callable[[ReceivedStream], None]


class Held(Stream):
    """Gives its bytes, and its end only when the test says so."""

    def __init__(self, size: int = SIZE, *, more: bytes = b"", error: Exception | None = None) -> None:
        super().__init__(size)
        self.gate = Gate()
        self._left = [DATA]
        self._rest = [more] if more else []
        self._error = error

    def read(self, size: int) -> bytes:
        if self._left:
            return self._left.pop()
        self.gate.pass_through()
        if self._error is not None:
            raise self._error
        return self._rest.pop() if self._rest else b""


@pytest.fixture
def source() -> Iterator[Held]:
    with (held := Held()).gate:
        yield held


def read_by_read(stream: ReceivedStream) -> bytes:
    """Read what was declared, and not a byte more."""
    parts, left = [], stream.get_size() or SIZE
    while left:
        parts.append(stream.read(left))
        left -= len(parts[-1])
    return b"".join(parts)


def read_into(stream: ReceivedStream) -> bytes:
    buffer = bytearray(SIZE)
    view = memoryview(buffer)
    while view:
        view = view[stream.readinto(view) :]
    return bytes(buffer)


def read_by_pieces(stream: ReceivedStream) -> bytes:
    data = b""
    for piece in stream.pieces():
        data += piece
        if len(data) == SIZE:
            break
    return data


def read_by_lines(stream: ReceivedStream) -> bytes:
    data = b""
    while len(data) < SIZE:
        data += stream.readline(SIZE - len(data))
    return data


READS = [read_by_read, read_into, read_by_pieces, read_by_lines]


def drop(stream: ReceivedStream) -> None:
    """Return: the last reference goes."""


def close(stream: ReceivedStream) -> None:
    stream.close()


class Kept:
    """Hands the stream to another thread, which keeps it, or closes it when the callback has returned."""

    def __init__(self) -> None:
        self.streams: Box[ReceivedStream] = Box()

    def __call__(self, stream: ReceivedStream) -> None:
        self.streams.put(stream)


def meet(pair: Pair) -> None:
    """Wait until both engines have handled what happened before."""
    pair.site.send_request("meet", "all", "server", Message(), PATIENCE_S)
    pair.server.send_request("meet", "all", "site", Message(), PATIENCE_S)


class Reading:
    """A stream callback at the server that reads the declared size and leaves."""

    def __init__(self, pair: Pair, read: Callable[[ReceivedStream], bytes], leave: Leaving) -> None:
        self._read = read
        self._leave = leave
        self.futures: Box[StreamFuture] = Box()
        self.left: Box[bytes] = Box()
        self._pair = pair
        for cell in (pair.server, pair.site):
            cell.register_request_cb("meet", "*", lambda _: None)
        pair.at_server.register_stream_cb("c", "t", self)

    def __call__(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        self.futures.put(future)
        data = self._read(stream)
        self._leave(stream)
        self.left.put(data)

    def send(self, source: Stream, **more: Any) -> StreamFuture:
        return self._pair.at_site.send_stream("c", "t", "server", Message({}, source), **more)

    def wait_left(self) -> StreamFuture:
        """Wait until the callback has returned and the cells know it; return the receiver's future."""
        assert self.left.get() == DATA
        meet(self._pair)
        gc.collect()
        meet(self._pair)
        return self.futures.get()


@pytest.mark.parametrize("leave", [drop, close])
@pytest.mark.parametrize("read", READS)
def test_case_1_2_a_close_at_the_declared_size_waits_for_the_end(
    pair: Pair, source: Held, read: Callable[[ReceivedStream], bytes], leave: Leaving
) -> None:
    reading = Reading(pair, read, leave)
    sent = reading.send(source)
    received = reading.wait_left()
    assert not sent.done()
    assert not received.done()
    source.gate.open()
    assert sent.result(PATIENCE_S) == received.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("digest", ["sha256", RIGHT])
def test_case_1_2_a_right_digest_is_checked_after_the_close(pair: Pair, source: Held, digest: str) -> None:
    reading = Reading(pair, read_by_read, close)
    sent = reading.send(source, digest=digest)
    received = reading.wait_left()
    source.gate.open()
    assert sent.result(PATIENCE_S) == received.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("leave", [drop, close, Kept()])
@pytest.mark.parametrize("read", READS)
def test_case_1_1_a_wrong_digest_fails_both_ends_after_the_reader_has_gone(
    pair: Pair, source: Held, read: Callable[[ReceivedStream], bytes], leave: Leaving
) -> None:
    reading = Reading(pair, read, leave)
    sent = reading.send(source, digest=WRONG)
    received = reading.wait_left()
    source.gate.open()
    assert isinstance(sent.exception(PATIENCE_S), StreamIntegrityError)
    assert isinstance(received.exception(PATIENCE_S), StreamIntegrityError)


def test_case_1_1_a_wrong_digest_fails_both_ends_if_another_thread_closes(pair: Pair, source: Held) -> None:
    kept = Kept()
    reading = Reading(pair, read_by_read, kept)
    sent = reading.send(source, digest=WRONG)
    received = reading.wait_left()
    closing = threading.Thread(target=kept.streams.get().close)
    closing.start()
    closing.join()
    meet(pair)
    assert not received.done()
    source.gate.open()
    assert isinstance(sent.exception(PATIENCE_S), StreamIntegrityError)
    assert isinstance(received.exception(PATIENCE_S), StreamIntegrityError)


@pytest.mark.parametrize("declared", [0, SIZE])
def test_case_1_1_many_at_a_time_beside_blobs(pair: Pair, declared: int) -> None:
    """Nobody waits for anything here, so that every order of the last chunk, the close and the digest comes up."""
    received: Box[StreamFuture] = Box()

    def read_to_the_size(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        received.put(future)
        left = SIZE
        while left and (piece := stream.read(left)):
            left -= len(piece)
        if not declared:
            stream.read(1)

    pair.at_server.register_stream_cb("c", "t", read_to_the_size)
    pair.at_server.register_blob_cb("c", "small", lambda future: None)
    sent = []
    for number in range(30):
        late = Held(declared)
        threading.Timer(0.0003 * number, late.gate.open).start()
        sent.append(pair.at_site.send_stream("c", "t", "server", Message({}, late), digest=WRONG))
        pair.at_site.send_blob("c", "small", "server", Message({}, b"small"))
    for future in [*sent, *received.get_all(len(sent))]:
        assert isinstance(future.exception(PATIENCE_S), StreamIntegrityError)


def test_case_1_1_a_future_settles_when_its_cell_is_stopped_meanwhile(carrier: Carrier, source: Held) -> None:
    with connected_pair(carrier) as pair:
        reading = Reading(pair, read_by_read, close)
        sent = reading.send(source, digest=WRONG)
        received = reading.wait_left()
        pair.server.stop(0)
        assert received.exception(PATIENCE_S) is not None
        source.gate.open()
    assert sent.exception(PATIENCE_S) is not None


@pytest.mark.parametrize("size", [SIZE, 2 << 20])
def test_case_1_2_a_file_read_to_its_size(pair: Pair, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(size))
    received: Box[StreamFuture] = Box()

    def read_to_the_size(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        received.put(future)
        left = stream.get_size()
        while left:
            left -= len(stream.read(left))

    pair.at_server.register_stream_cb("c", "t", read_to_the_size)
    sent = [pair.at_site.send_stream("c", "t", "server", Message({}, FileStream(path))) for _ in range(20)]
    assert [future.result(PATIENCE_S) for future in sent] == [size] * len(sent)
    assert [future.result(PATIENCE_S) for future in received.get_all(len(sent))] == [size] * len(sent)


@pytest.mark.parametrize("leave", [drop, close, Kept()])
def test_case_1_2_more_than_was_declared_fails_both_ends(pair: Pair, leave: Leaving) -> None:
    source = Held(more=b"one piece too many")
    with source.gate:
        reading = Reading(pair, read_by_read, leave)
        sent = reading.send(source)
        received = reading.wait_left()
        source.gate.open()
        assert sent.exception(PATIENCE_S) is not None
        assert type(received.exception(PATIENCE_S)) is type(sent.exception())


def test_case_1_2_a_source_that_fails_after_its_last_byte_fails_both_ends(pair: Pair) -> None:
    source = Held(error=OSError("the disk is gone"))
    with source.gate:
        reading = Reading(pair, read_by_read, close)
        sent = reading.send(source)
        received = reading.wait_left()
        source.gate.open()
        assert "the disk is gone" in str(sent.exception(PATIENCE_S))
        assert "the disk is gone" in str(received.exception(PATIENCE_S))


def test_case_1_2_a_cancel_before_the_end_is_one_at_both_ends(pair: Pair, source: Held) -> None:
    reading = Reading(pair, read_by_read, close)
    sent = reading.send(source)
    received = reading.wait_left()
    assert received.cancel()
    assert isinstance(sent.exception(PATIENCE_S), StreamCancelled)


def test_case_1_2_a_size_that_is_not_declared_has_no_end_before_it_is_known(pair: Pair) -> None:
    source = Held(0)
    with source.gate:
        reading = Reading(pair, read_by_read, close)
        sent = reading.send(source)
        received = reading.wait_left()
        assert "at offset 1000, before its end was known" in str(sent.exception(PATIENCE_S))
        assert isinstance(received.exception(PATIENCE_S), StreamCancelled)


def test_case_1_2_a_size_that_is_not_declared_ends_where_the_end_is_known(pair: Pair) -> None:
    source = Held(0)
    kept = Kept()
    with source.gate:
        reading = Reading(pair, read_by_read, kept)
        sent = reading.send(source)
        received = reading.wait_left()
        source.gate.open()
        assert received.result(PATIENCE_S) == SIZE
        kept.streams.get().close()
        assert sent.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("payload", [b"", [b""], iter(())], ids=["bytes", "list", "iterator"])
@pytest.mark.parametrize("digest", ["", "sha256", WRONG])
def test_case_1_2_an_empty_stream_that_nobody_reads(pair: Pair, payload: Any, digest: str) -> None:
    received: Box[StreamFuture] = Box()
    pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: received.put(future))
    payload = iter(()) if not isinstance(payload, bytes | list) else payload
    sent = pair.at_site.send_stream("c", "t", "server", Message({}, payload), digest=digest)
    if digest == WRONG:
        assert isinstance(sent.exception(PATIENCE_S), StreamIntegrityError)
        eventually(lambda: pair.server.stats().protocol.receives_failed == 1)
        # A stream that has failed before a thread has come to its callback has no call.
        if not received.is_empty():
            assert isinstance(received.get().exception(PATIENCE_S), StreamIntegrityError)
    else:
        assert sent.result(PATIENCE_S) == received.get().result(PATIENCE_S) == 0


@pytest.mark.parametrize(("digest", "right"), [(RIGHT, True), (WRONG, False)])
def test_case_1_1_a_stream_that_goes_on_where_it_ends(pair: Pair, tmp_path: Path, digest: str, right: bool) -> None:
    """Everything is there from an earlier try: the reader closes without a read."""
    path = tmp_path / "have"
    path.write_bytes(DATA)
    received: Box[StreamFuture] = Box()

    def go_on(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        received.put(future)
        with path.open("rb") as have:
            stream.resume_from(SIZE, have)

    pair.at_server.register_stream_cb("c", "t", go_on)
    source = FileStream(path)
    sent = pair.at_site.send_stream("c", "t", "server", Message({}, source), digest=digest, resume_id="name")
    if right:
        assert sent.result(PATIENCE_S) == SIZE
        assert received.get().result(PATIENCE_S) == SIZE
    else:
        assert isinstance(sent.exception(PATIENCE_S), StreamIntegrityError)
        assert isinstance(received.get().exception(PATIENCE_S), StreamIntegrityError)


def test_case_1_1_through_a_cell_in_the_middle(carrier: Carrier, pair: Pair, source: Held) -> None:
    other = carrier.cell("other", connect=pair.server.listen_urls)
    with running(other):
        other.wait_connected(PATIENCE_S)
        beyond = Pair(pair.site, other)
        for cell in (pair.site, other):
            cell.register_request_cb("meet", "*", lambda _: None)
        received: Box[StreamFuture] = Box()
        left: Box[None] = Box()

        def read_to_the_size(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            received.put(future)
            read_by_read(stream)
            stream.close()
            left.put(None)

        beyond.at_server.register_stream_cb("c", "t", read_to_the_size)
        sent = pair.at_site.send_stream("c", "t", "other", Message({}, source), digest=WRONG)
        left.get()
        source.gate.open()
        assert isinstance(sent.exception(PATIENCE_S), StreamIntegrityError)
        assert isinstance(received.get().exception(PATIENCE_S), StreamIntegrityError)


@pytest.mark.parametrize("digest", ["", WRONG])
def test_case_1_1_in_a_coroutine(carrier: Carrier, source: Held, digest: str) -> None:
    async def test(cells: AioPair) -> None:
        left = asyncio.Event()
        futures: list[aio.StreamFuture] = []

        async def read_to_the_size(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            futures.append(future)
            left_over = stream.get_size()
            while left_over:
                left_over -= len(await stream.read(left_over))
            stream.close()
            left.set()

        cells.at_server.register_stream_cb("c", "t", read_to_the_size)
        cells.server.register_request_cb("meet", "all", lambda _: None)
        sent = await cells.at_site.send_stream("c", "t", "server", Message({}, source), digest=digest)
        await left.wait()
        await cells.site.send_request("meet", "all", "server", Message())
        source.gate.open()
        for future in (sent, futures[0]):
            if digest:
                with pytest.raises(StreamIntegrityError):
                    await future
            else:
                assert await future == SIZE

    with_pair(carrier, test)


def test_case_1_1_what_is_raised_after_the_last_byte_rejects_the_stream(pair: Pair) -> None:
    """Whatever becomes of the stream that the traceback refers to."""

    def refuse(stream: ReceivedStream) -> None:
        raise ValueError("not this one")

    reading = Reading(pair, read_by_read, refuse)
    for _ in range(3):
        held = Held()
        with held.gate as gate:
            sent = reading.send(held)
            error = sent.exception(PATIENCE_S)
            assert isinstance(error, StreamRejected)
            assert "not this one" in str(error)
            assert isinstance(reading.futures.get().exception(PATIENCE_S), StreamRejected)
            gate.open()
