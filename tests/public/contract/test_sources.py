"""What happens when a source behaves in this way or that (CONTRACT section 3)."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import (
    BytesStream,
    FileStream,
    IterStream,
    ReceivedStream,
    Stream,
    StreamFuture,
    StreamIntegrityError,
    UsageError,
)
from tests.kit.cells import QUICK, Cells, Pair, Peer
from tests.kit.payloads import KIB, MIB, Counted, pattern
from tests.kit.transfers import Reader, failure_of, is_paused, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


class Source(Counted, IterStream):
    """Pieces, of which is counted what was read."""


class Greedy(Source):
    """A source that returns whole pieces, however little it is asked for."""

    def read(self, size: int) -> Any:
        return super().read(1 << 30)


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


def test_source_that_returns_something_else_than_bytes_is_a_usage_error(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_stream(Reader())
    error = stream_failure_of(sender.send_stream(receiver, iter([b"good", "text"])))
    assert isinstance(error, UsageError)
    assert "str" in str(error)


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


def test_source_that_trickles_has_each_piece_delivered_before_it_makes_the_next(pair: Pair) -> None:
    sender, receiver = pair
    arrived = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for piece in stream.pieces():
            arrived.put(bytes(piece))

    receiver.on_stream(callback)

    def pieces() -> Iterator[bytes]:
        for number in range(20):
            piece = b"piece %d" % number
            yield piece
            assert arrived.get() == piece

    assert sender.send_stream(receiver, pieces()).result(PATIENCE_S) == sum(len(b"piece %d" % n) for n in range(20))


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


def source_threads_at_work(peer: Peer) -> int:
    return sum(pool.running for pool in peer.stats().pools if pool.name.endswith("source"))


@pytest.mark.parametrize("given", [90, 110])
@pytest.mark.parametrize("received_first", [False, True])
def test_declared_size_that_is_wrong_fails_the_stream_on_both_sides(
    pair: Pair, given: int, received_first: bool
) -> None:
    sender, receiver = pair
    reader = Reader()
    receiver.on_stream(reader)

    def pieces() -> Iterator[bytes]:
        yield pattern(80)
        if received_first:
            eventually(lambda: receiver.stats().protocol.bytes_received == 80)
        yield pattern(given)[80:]

    error = failure_of(sender.send_stream(receiver, Source(pieces(), size=100)))
    assert isinstance(error, StreamIntegrityError)
    assert "100" in str(error)
    assert str(given) in str(error)
    if received_first:
        data, raised = reader.outcomes.get()
        assert pattern(given).startswith(data)
        assert isinstance(raised, StreamIntegrityError)


def test_size_that_is_unknown_is_fine(pair: Pair) -> None:
    sender, receiver = pair
    sizes = Box[tuple[int, int]]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        before = stream.get_size()
        stream.read(-1)
        sizes.put((before, stream.get_size()))

    receiver.on_stream(callback)
    future = sender.send_stream(receiver, (pattern(50 * KIB) for _ in range(20)))
    assert future.get_size() == 0
    assert future.result(PATIENCE_S) == 1000 * KIB
    assert sizes.get() == (0, 1000 * KIB)


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


def test_file_object_is_read_from_its_current_position_and_left_open(pair: Pair) -> None:
    sender, receiver = pair
    reader = Reader()
    receiver.on_stream(reader)
    file = io.BytesIO(pattern(300 * KIB))
    file.seek(100 * KIB)
    future = sender.send_stream(receiver, file)
    assert future.get_size() == 200 * KIB
    assert future.result(PATIENCE_S) == 200 * KIB
    assert reader.outcomes.get() == (pattern(300 * KIB)[100 * KIB :], None)
    assert not file.closed


def test_ready_made_sources_send_what_they_are_made_of(pair: Pair, tmp_path: Path) -> None:
    sender, receiver = pair
    reader = Reader()
    receiver.on_stream(reader)
    data = pattern(3 * MIB)
    path = tmp_path / "data"
    path.write_bytes(data)
    for source in (FileStream(path), BytesStream(data), IterStream([data[:MIB], data[MIB:]], size=len(data))):
        future = sender.send_stream(receiver, source)
        assert future.get_size() == len(data)
        assert future.result(PATIENCE_S) == len(data)
        assert reader.outcomes.get() == (data, None)


def test_stream_that_is_received_may_be_sent_on(cells: Cells) -> None:
    hub = cells.listen()
    first, last = cells.dial(hub, "first"), cells.dial(hub, "last")
    reader = Reader()
    last.on_stream(reader)
    hub.on_stream(lambda future, stream, resume: hub.send_stream(last, stream).result(PATIENCE_S))
    data = pattern(3 * MIB)
    assert first.send_stream(hub, iter([data[:MIB], data[MIB:]])).result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)


def test_stream_is_closed_exactly_once_however_the_transfer_ends(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_stream(Reader(), topic="good")
    sources = [Source(iter([b"data"])) for _ in range(3)]
    sender.send_stream(receiver, sources[0], topic="good").result(PATIENCE_S)
    stream_failure_of(sender.send_stream(receiver, sources[1], topic="nobody is registered"))
    sender.send_stream("nobody", sources[2]).cancel()
    for source in sources:
        assert source.closed.get() == "closed"
    sender.meet(receiver)
    assert all(source.closed.is_empty() for source in sources)


def test_digest_is_computed_or_given_and_checked(pair: Pair) -> None:
    sender, receiver = pair
    reader = Reader()
    receiver.on_stream(reader)
    assert sender.send_stream(receiver, iter([b"data"]), digest="sha256").result(PATIENCE_S) == 4
    assert reader.outcomes.get() == (b"data", None)
    error = failure_of(sender.send_stream(receiver, iter([b"data"]), digest="sha256:" + 64 * "0"))
    assert isinstance(error, StreamIntegrityError)
