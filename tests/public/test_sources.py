"""What may be sent as a stream, how it is read, and what happens when it fails or gives something else than it said."""

from __future__ import annotations

import array
import dataclasses
import functools
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamcell import (
    BytesStream,
    CellConfig,
    FileStream,
    IterStream,
    Message,
    ReceivedStream,
    Stream,
    StreamCell,
    StreamError,
    StreamFuture,
    StreamIntegrityError,
    StreamUsageError,
    UsageError,
)
from tests.kit.cells import QUICK, Carrier, Cells, Pair, Peer, connected_pair
from tests.kit.payloads import KIB, MIB, Counted, Recorded, pattern
from tests.kit.transfers import Arrived, Reader, failure_of, is_paused, send, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

DATA = pattern(2 * MIB + 54_321)


def is_closed(source: FileStream) -> bool:
    try:
        source.read(1)
    except (ValueError, OSError):
        return True
    return False


class Source(Counted, IterStream):
    """Pieces, of which is counted what was read."""


class Greedy(Source):
    """A source that returns whole pieces, however little it is asked for."""

    def read(self, size: int) -> Any:
        return super().read(1 << 30)


def source_threads_at_work(peer: Peer) -> int:
    return sum(pool.running for pool in peer.stats().pools if pool.name.endswith("source"))


# --- kinds of sources
@pytest.mark.parametrize(
    "make",
    [
        lambda: BytesStream(DATA),
        lambda: BytesStream(bytearray(DATA)),
        lambda: BytesStream(memoryview(DATA)),
        lambda: IterStream([DATA[:7], b"", DATA[7:MIB], DATA[MIB:]]),
        lambda: IterStream((memoryview(DATA)[at : at + 999] for at in range(0, len(DATA), 999)), size=len(DATA)),
        lambda: Recorded(
            [DATA[:MIB], bytearray(DATA[MIB : MIB + 9]), memoryview(DATA)[MIB + 9 : MIB + 99], DATA[MIB + 99 :]]
        ),
        lambda: (DATA[at : at + MIB] for at in range(0, len(DATA), MIB)),
        lambda: iter([DATA]),
        lambda: io.BytesIO(DATA),
        lambda: DATA,
        lambda: [DATA[:5], bytearray(DATA[5:])],
        lambda: np.frombuffer(DATA, np.uint8),
    ],
    ids=[
        "BytesStream",
        "of a bytearray",
        "of a view",
        "IterStream",
        "of a generator",
        "Stream",
        "generator",
        "iterator",
        "file",
        "bytes",
        "list",
        "array",
    ],
)
def test_all_bytes_of_every_kind_of_source(pair: Pair, received: Box[Arrived], make: Callable[[], Any]) -> None:
    assert send(pair, make()).result(PATIENCE_S) == len(DATA)
    assert received.get()[0] == DATA


@pytest.mark.parametrize(
    "payload",
    [array.array("d", range(1000)), np.arange(5000, dtype="<i4").reshape(50, 100).T, [b"", b""], ()],
    ids=["doubles", "a transposed matrix", "empty parts", "no parts"],
)
def test_buffers_of_any_shape(pair: Pair, received: Box[Arrived], payload: Any) -> None:
    expected = b"".join(payload) if isinstance(payload, list | tuple) else memoryview(payload).tobytes()
    assert send(pair, payload).result(PATIENCE_S) == len(expected)
    assert received.get() == (expected, {}, len(expected))


@pytest.mark.parametrize("size", [-5, 2**63, 10**30, "7", 1.5, None])
def test_a_source_whose_size_is_none(pair: Pair, size: Any) -> None:
    source = Recorded([b"data"])
    source.get_size = lambda: size  # type: ignore[method-assign]
    with pytest.raises(StreamUsageError, match=r"Recorded: get_size\(\) must be a whole number"):
        send(pair, source)
    with pytest.raises(StreamUsageError, match=r"IterStream: get_size\(\) must be a whole number"):
        send(pair, IterStream([b"data"], size=size))


def test_headers_of_the_source_and_of_the_message(pair: Pair, received: Box[Arrived], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    for source in (
        Recorded([DATA], headers={"a": "source", "b": "source"}),
        BytesStream(DATA, {"a": "source", "b": "source"}),
        IterStream([DATA], headers={"a": "source", "b": "source"}),
        FileStream(path, {"a": "source", "b": "source"}),
    ):
        future = send(pair, source, {"b": "message"})
        assert future.get_headers() == received.get()[1] == {"a": "source", "b": "message"}
        future.result(PATIENCE_S)


# --- files
def test_file_stream(pair: Pair, received: Box[Arrived], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    for name in (path, str(path)):
        source = FileStream(name)
        assert (source.get_size(), source.get_pos()) == (len(DATA), 0)
        assert send(pair, source).result(PATIENCE_S) == len(DATA)
        assert received.get() == (DATA, {}, len(DATA))
        eventually(functools.partial(is_closed, source))
    with pytest.raises(OSError, match="missing"):
        FileStream(tmp_path / "missing")


def test_sources_can_be_sent_from_the_middle(pair: Pair, received: Box[Arrived], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    for source in (FileStream(path), BytesStream(DATA)):
        source.seek(1000)
        assert (source.get_pos(), source.get_size()) == (1000, len(DATA))
        assert send(pair, source).result(PATIENCE_S) == len(DATA) - 1000
        assert received.get() == (DATA[1000:], {}, len(DATA) - 1000)
    with pytest.raises(io.UnsupportedOperation):
        IterStream([]).seek(1)


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_is_read_from_where_it_stands_and_left_open(
    pair: Pair, received: Box[Arrived], tmp_path: Path, buffering: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb", buffering) as file:
        file.read(100)
        future = send(pair, file)
        assert future.get_size() == len(DATA) - 100
        assert future.result(PATIENCE_S) == len(DATA) - 100
        assert received.get() == (DATA[100:], {}, len(DATA) - 100)
        assert not file.closed
        assert file.tell() == len(DATA)


def test_a_file_is_left_open_when_the_transfer_fails(pair: Pair) -> None:
    file = io.BytesIO(DATA)
    future = pair.at_site.send_stream("c", "nobody", "server", Message({}, file))
    assert isinstance(future.exception(PATIENCE_S), StreamError)
    assert not file.closed


def test_a_pipe_has_no_size(pair: Pair, received: Box[Arrived]) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb") as sink:
        future = send(pair, source)
        assert future.get_size() == 0
        sink.write(DATA)
        sink.close()
        assert future.result(PATIENCE_S) == len(DATA)
    assert received.get() == (DATA, {}, 0)


def test_a_text_file_is_refused(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with path.open() as file, pytest.raises(StreamUsageError, match="binary"):
        send(pair, file)


# --- how a source is read
def test_read_is_asked_for_no_more_than_a_chunk(carrier: Carrier) -> None:
    with connected_pair(carrier, config=CellConfig(chunk_bytes=5000)) as pair:
        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
        assert StreamCell(pair.site).get_chunk_size() == 5000
        source = Recorded([DATA[at : at + 1000] for at in range(0, 100_000, 1000)])
        assert send(pair, source).result(PATIENCE_S) == 100_000
        assert 1 <= min(source.asked) <= max(source.asked) <= 5000
        assert threading.current_thread() not in source.threads


def test_each_piece_is_delivered_as_it_comes(pair: Pair) -> None:
    arrived: Box[bytes] = Box()
    pieces: Box[bytes] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for piece in stream.pieces():
            arrived.put(bytes(piece))

    pair.at_server.register_stream_cb("c", "t", read)
    future = send(pair, IterStream(iter(pieces.get, b"")))
    for number in range(20):
        # The next piece is made only after this one has arrived.
        pieces.put(b"piece %d" % number)
        assert arrived.get() == b"piece %d" % number
    pieces.put(b"")
    future.result(PATIENCE_S)


def test_a_source_may_reuse_its_buffer(pair: Pair, received: Box[Arrived]) -> None:
    def refill() -> Iterator[memoryview]:
        buffer = bytearray(50_000)
        for number in range(60):
            buffer[:] = bytes([number]) * len(buffer)
            yield memoryview(buffer)

    assert send(pair, IterStream(refill())).result(PATIENCE_S) == 3_000_000
    assert received.get()[0] == b"".join(bytes([number]) * 50_000 for number in range(60))


def test_all_options_are_accepted(pair: Pair) -> None:
    ids: Box[str] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        ids.put(stream.resume_id)
        assert stream.read(-1) == DATA

    pair.at_server.register_stream_cb("c", "t", read)
    for send_either in (pair.at_site.send_stream, pair.at_site.send_blob):
        future = send_either(
            "c",
            "t",
            "server",
            Message({}, DATA),
            False,
            True,
            resume_id="model-7",
            idle_timeout=0,
            unreachable_timeout=30,
            digest="sha256",
            retry_unknown=True,
            reliable=False,
        )
        assert future.result(PATIENCE_S) == len(DATA)
        assert ids.get() == "model-7"


@pytest.mark.parametrize("size", [10, 100 * KIB, 5 * MIB])
@pytest.mark.parametrize("slow", [False, True])
def test_source_that_raises_fails_the_transfer_with_its_text_and_what_was_read_before_is_readable(
    pair: Pair, gate: Gate, size: int, slow: bool
) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    data = pattern(size)

    def pieces() -> Iterator[bytes]:
        yield from (data[start : start + MIB] for start in range(0, size, MIB))
        raise OSError("the sensor came loose")

    source = Source(pieces())
    future = sender.send_stream(receiver, source)
    received = reader.futures.get()
    if slow:
        eventually(lambda: source_threads_at_work(sender) == 0)
        sender.meet(receiver)
    gate.open()
    got, raised = reader.outcomes.get()
    assert got == data
    assert "OSError: the sensor came loose" in str(raised)
    assert "OSError: the sensor came loose" in str(stream_failure_of(future))
    assert "OSError: the sensor came loose" in str(failure_of(received))
    assert source.closed.get() == "closed"


def test_source_that_returns_more_than_asked_is_a_usage_error_at_the_sender_and_the_reader_hears_of_it(
    cells: Cells,
) -> None:
    sender, receiver = cells.pair(sender=dataclasses.replace(QUICK, chunk_bytes=4 * KIB))
    reader = Reader()
    receiver.on_stream(reader)

    def pieces() -> Iterator[bytes]:
        yield b"good"
        eventually(lambda: receiver.stats().protocol.bytes_received == 4)
        yield bytes(4 * KIB + 1)

    source = Greedy(pieces())
    error = stream_failure_of(sender.send_stream(receiver, source))
    assert isinstance(error, UsageError)
    assert "4097" in str(error)
    assert "4096" in str(error)
    assert source.closed.get() == "closed"
    data, raised = reader.outcomes.get()
    assert data == b"good"
    assert "4097" in str(raised)


def test_source_that_reuses_its_buffer_between_reads_sends_correct_data(cells: Cells) -> None:
    sender, receiver = cells.pair(sender=dataclasses.replace(QUICK, chunk_bytes=4 * KIB))
    reader = Reader()
    receiver.on_stream(reader)
    data = pattern(300 * KIB)

    class OneBuffer(Stream):
        buffer = bytearray(4 * KIB)

        def read(self, size: int) -> memoryview:
            self.buffer[:] = bytes(len(self.buffer))
            piece = data[self._pos : self._pos + size]
            self.buffer[: len(piece)] = piece
            self._pos += len(piece)
            return memoryview(self.buffer)[: len(piece)]

    assert sender.send_stream(receiver, OneBuffer()).result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)


def test_source_stops_being_read_while_the_reader_is_paused(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(
        sender=dataclasses.replace(QUICK, chunk_bytes=16 * KIB, read_ahead_bytes=64 * KIB),
        receiver=dataclasses.replace(QUICK, max_window_bytes=256 * KIB),
    )
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    size = 8 * MIB
    source = Source(pattern(16 * KIB, seed) for seed in range(size // (16 * KIB)))
    future = sender.send_stream(receiver, source)
    reader.futures.get()
    eventually(lambda: is_paused(sender, receiver) and source_threads_at_work(sender) == 0)
    # A window, what was read ahead, and a chunk for each that may be cut or read beyond.
    bound = 256 * KIB + 64 * KIB + 2 * 16 * KIB
    assert source.given <= bound
    sender.meet(receiver)
    assert source.given <= bound
    gate.open()
    assert future.result(PATIENCE_S) == size
    data, raised = reader.outcomes.get()
    assert raised is None
    assert data == b"".join(pattern(16 * KIB, seed) for seed in range(size // (16 * KIB)))
    assert sender.stats().protocol.bytes_retransmitted == 0
    assert source.closed.get() == "closed"
    assert source.closed.is_empty()


@pytest.mark.parametrize("given", [90, 110])
@pytest.mark.parametrize("received_first", [False, True])
def test_declared_size_that_is_wrong_fails_the_stream_on_both_sides(
    pair: Pair, given: int, received_first: bool
) -> None:
    sender, receiver = pair
    reader = Reader()
    receiver.on_stream(reader)

    data = pattern(given)

    def pieces() -> Iterator[bytes]:
        yield data[:80]
        if received_first:
            eventually(lambda: receiver.stats().protocol.bytes_received == 80)
        yield data[80:]

    error = failure_of(sender.send_stream(receiver, Source(pieces(), size=100)))
    assert isinstance(error, StreamIntegrityError)
    assert "100" in str(error)
    assert str(given) in str(error)
    if received_first:
        got, raised = reader.outcomes.get()
        assert data.startswith(got)
        assert isinstance(raised, StreamIntegrityError)


@pytest.mark.parametrize(
    "make_payload",
    [lambda: b"", lambda: iter(()), lambda: BytesStream(b""), io.BytesIO, lambda: Source(iter(()))],
    ids=["bytes", "iterator", "BytesStream", "file", "Stream"],
)
def test_empty_stream_is_fine(pair: Pair, make_payload: Any) -> None:
    sender, receiver = pair
    reader = Reader()
    receiver.on_stream(reader)
    assert sender.send_stream(receiver, make_payload()).result(PATIENCE_S) == 0
    assert reader.outcomes.get() == (b"", None)
    assert reader.futures.get().result(PATIENCE_S) == 0
