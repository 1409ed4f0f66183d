"""Memory that a carrier lends: cells give all of it back while their lanes live on, and no byte of it changes before.

The network in memory overwrites what comes back: whoever reads it later reads wrong bytes.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import HeaderValue, ReceivedStream, StreamFuture
from streamcell.testing import Direction, FaultyNetwork
from streamcell.transport.memory.network import MemoryNetwork
from tests.kit.cells import QUICK, Carrier, Cells, Pair, Peer, making_cells
from tests.kit.fixtures import gate
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import Reader
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually, wait_for

__all__ = ["gate"]

# The last chunk is large, too.
SIZE = 9 * MIB + 100 * KIB + 7
DATA = pattern(SIZE)
# Less than one transfer.
FEW_BYTES = 3 * MIB


class Lending:
    """Cells on a network in memory, and what that has lent."""

    def __init__(self, cells: Cells, memory: MemoryNetwork) -> None:
        self.cells = cells
        self.leases = memory.leases
        #: The network by which the relay of :meth:`line` dials.
        self.above = FaultyNetwork(memory)

    def pair(self, **changes: Any) -> Pair:
        config = dataclasses.replace(QUICK, **changes)
        return self.cells.pair(sender=config, receiver=config)

    def line(self) -> tuple[Peer, Peer, Peer]:
        """Return a cell, a relay below it and a leaf below that."""
        server = self.cells.listen()
        relay = self.cells.make("server.relay", connect=server.listen_urls, listen="memory://", network=self.above)
        relay.start()
        relay.wait_connected(PATIENCE_S)
        return server, relay, self.cells.dial(relay, "server.relay.leaf")

    def assert_all_came_back(self) -> None:
        """Check that there was something to give back, and that it was given back."""
        assert self.leases.given > 0
        eventually(lambda: self.leases.open == 0, "every lease has ended")
        assert self.leases.open_bytes == 0


def lending(most_lent_bytes: int) -> Iterator[Lending]:
    memory = MemoryNetwork(most_lent_bytes)
    with making_cells(Carrier("memory://", FaultyNetwork(memory))) as cells:
        yield Lending(cells, memory)


@pytest.fixture
def plenty() -> Iterator[Lending]:
    """Cells to which everything is lent."""
    yield from lending(1024 * MIB)


@pytest.fixture
def little() -> Iterator[Lending]:
    """Cells to which less is lent than travels."""
    yield from lending(FEW_BYTES)


def read(stream: ReceivedStream) -> bytes:
    return stream.readall()


def read_some(stream: ReceivedStream) -> bytes:
    parts = []
    while part := stream.read(100 * KIB):
        parts.append(part)
    return b"".join(parts)


def read_into(stream: ReceivedStream) -> bytes:
    read = bytearray()
    buffer = bytearray(300 * KIB)
    while count := stream.readinto(buffer):
        read += buffer[:count]
    return bytes(read)


def read_lines(stream: ReceivedStream) -> bytes:
    return b"".join(iter(stream.readline, b""))


@pytest.mark.parametrize("reading", [read, read_some, read_into, read_lines])
def test_a_stream_that_was_read_has_given_all_back(plenty: Lending, reading: Callable[[ReceivedStream], bytes]) -> None:
    pair = plenty.pair()
    read: Box[bytes] = Box()

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        read.put(reading(stream))

    pair.server.on_stream(on_stream)
    assert pair.site.send_stream("server", DATA).result(PATIENCE_S) == SIZE
    assert read.get() == DATA
    plenty.assert_all_came_back()


def test_pieces_may_be_kept_and_stay_as_they_are(plenty: Lending) -> None:
    pair = plenty.pair()
    kept: list[bytes | memoryview] = []

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        kept.extend(stream.pieces())

    pair.server.on_stream(on_stream)
    pair.site.send_stream("server", DATA).result(PATIENCE_S)
    assert plenty.leases.open > 0
    # The lanes end, and other things travel.
    plenty.cells.network.cut()
    pair.site.wait_connected(PATIENCE_S)
    pair.server.on_blob(lambda future: None)
    pair.site.send_blob("server", bytes(SIZE)).result(PATIENCE_S)
    for cell in pair:
        cell.stop(0)
    assert b"".join(kept) == DATA
    kept.clear()
    plenty.assert_all_came_back()


def test_a_reader_that_keeps_every_piece_holds_up_nothing(little: Lending) -> None:
    pair = little.pair()
    kept: list[bytes | memoryview] = []

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        kept.extend(stream.pieces())

    pair.server.on_stream(on_stream)
    for _ in range(2):
        pair.site.send_stream("server", DATA).result(PATIENCE_S)
    assert 0 < little.leases.open_bytes <= FEW_BYTES
    assert b"".join(kept) == 2 * DATA
    kept.clear()
    little.assert_all_came_back()


def into(size: int | None, headers: dict[str, HeaderValue]) -> bytearray:
    return bytearray(SIZE)


@pytest.mark.parametrize("options", [{}, {"into": into}])
def test_a_blob_that_has_arrived_has_given_all_back(plenty: Lending, options: dict[str, Any]) -> None:
    pair = plenty.pair()
    arrived: Box[Any] = Box()
    pair.server.on_blob(lambda future: arrived.put(future.result()), **options)
    future = pair.site.send_blob("server", DATA)
    assert future.result(PATIENCE_S) == SIZE
    blob = arrived.get()
    # The blob and its future are held; what it came in is not.
    plenty.assert_all_came_back()
    assert blob == DATA


def test_a_request_and_its_reply_give_all_back(plenty: Lending) -> None:
    pair = plenty.pair()
    pair.server.on_request(lambda message: message)
    reply = pair.site.request("server", DATA)
    assert reply.payload == DATA
    plenty.assert_all_came_back()


def test_what_a_relay_has_passed_on_it_has_given_back(plenty: Lending) -> None:
    server, relay, leaf = plenty.line()
    for target, source in ((leaf, server), (server, leaf)):
        reader = Reader()
        target.on_stream(reader)
        source.send_stream(target, DATA).result(PATIENCE_S)
        assert reader.outcomes.get() == (DATA, None)
    assert relay.stats().protocol.bytes_relayed >= 2 * SIZE
    plenty.assert_all_came_back()


def test_a_relay_that_holds_chunks_when_its_lanes_break_gives_them_back(plenty: Lending) -> None:
    server, relay, leaf = plenty.line()
    reader = Reader()
    server.on_stream(reader)
    stalled = threading.Event()

    def source() -> Iterator[bytes]:
        yield DATA[: SIZE // 2]
        plenty.above.stall(Direction.TO_LISTENER)
        stalled.set()
        yield DATA[SIZE // 2 :]

    future = leaf.send_stream("server", source())
    wait_for(stalled)
    eventually(lambda: any(each.held_bytes for each in relay.stats().protocol.relays), "the relay holds chunks")
    plenty.above.cut()
    plenty.above.release()
    assert future.result(PATIENCE_S) == SIZE
    assert reader.outcomes.get() == (DATA, None)
    plenty.assert_all_came_back()


def test_breaks_of_lanes_leave_no_lease(plenty: Lending) -> None:
    pair = plenty.pair(bulk_lanes=2)
    reader = Reader()
    pair.server.on_stream(reader)
    for number in (2, 3, 5, 8):
        plenty.cells.network.cut_after(batches=number)
    assert pair.site.send_stream("server", DATA).result(PATIENCE_S) == SIZE
    assert reader.outcomes.get() == (DATA, None)
    plenty.assert_all_came_back()


def test_what_arrives_corrupt_and_is_dropped_is_given_back(plenty: Lending) -> None:
    pair = plenty.pair()
    reader = Reader()
    pair.server.on_stream(reader)
    for number in (2, 4):
        plenty.cells.network.corrupt_payload(number)
    plenty.cells.network.corrupt_batch(6)
    assert pair.site.send_stream("server", DATA).result(PATIENCE_S) == SIZE
    assert reader.outcomes.get() == (DATA, None)
    plenty.assert_all_came_back()


def test_a_stream_that_its_reader_closes_gives_all_back(plenty: Lending) -> None:
    pair = plenty.pair()
    closed = Gate()

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(10)
        stream.close()
        closed.open()

    pair.server.on_stream(on_stream)
    future = pair.site.send_stream("server", DATA)
    assert future.exception(PATIENCE_S) is not None
    plenty.assert_all_came_back()


def test_a_stream_that_is_cancelled_with_pieces_waiting_gives_all_back(plenty: Lending, gate: Gate) -> None:
    pair = plenty.pair()
    reader = Reader(when=gate)
    pair.server.on_stream(reader)
    future = pair.site.send_stream("server", DATA)
    gate.wait_arrived()
    eventually(lambda: plenty.leases.open > 0, "pieces wait to be read")
    future.cancel()
    gate.open()
    _, error = reader.outcomes.get()
    assert error is not None
    plenty.assert_all_came_back()


def test_cells_that_stop_in_the_middle_give_all_back(plenty: Lending, gate: Gate) -> None:
    pair = plenty.pair()
    reader = Reader(when=gate)
    pair.server.on_stream(reader)
    pair.server.on_blob(lambda future: None)
    futures = [pair.site.send_stream("server", DATA), pair.site.send_blob("server", pattern(64 * MIB))]
    gate.wait_arrived()
    eventually(lambda: plenty.leases.open > 0, "pieces wait to be read")
    for cell in pair:
        cell.stop(0)
    gate.open()
    reader.outcomes.get()
    for future in futures:
        future.exception(PATIENCE_S)
    plenty.assert_all_came_back()


def test_what_is_sent_may_be_changed_when_it_was_read(plenty: Lending) -> None:
    """Nothing that is lent is the sender's own memory."""
    pair = plenty.pair()
    kept: list[bytes | memoryview] = []

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        kept.extend(stream.pieces())

    pair.server.on_stream(on_stream)
    mine = bytearray(DATA)
    pair.site.send_stream("server", mine).result(PATIENCE_S)
    mine[:] = bytes(SIZE)
    assert b"".join(kept) == DATA
