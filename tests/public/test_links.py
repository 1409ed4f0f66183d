"""What happens when the link breaks, and when bytes are changed on their way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from streamcell import StreamFuture, StreamIntegrityError
from streamcell.testing import Direction, FaultyNetwork
from tests.kit.cells import QUICK, Cells, Peer
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import Reader, cut_and_reconnect, failure_of, is_paused, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

SMALL_CHUNKS = dataclasses.replace(QUICK, chunk_bytes=32 * KIB, max_window_bytes=256 * KIB)


def direction_of(sender: Peer) -> Direction:
    """Return which way on a lane the chunks of a sender go."""
    return Direction.TO_DIALLER if sender.listen_urls else Direction.TO_LISTENER


def test_link_that_breaks_mid_stream_is_waited_for_on_both_sides_and_the_stream_goes_on(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork
) -> None:
    sender, receiver = either_pair
    reader = Reader()
    receiver.on_stream(reader)
    data = pattern(8 * MIB)
    for size_bytes in (MIB, 2 * MIB, 5 * MIB):
        network.cut_after(size_bytes=size_bytes, direction=direction_of(sender))
    pieces = (data[at : at + 64 * KIB] for at in range(0, len(data), 64 * KIB))
    assert sender.send_stream(receiver, pieces).result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)
    assert reader.futures.get().result(PATIENCE_S) == len(data)
    assert reader.futures.is_empty()
    assert sender.stats().protocol.resumes >= 3


def test_link_that_breaks_has_only_unconfirmed_bytes_sent_again(cells: Cells) -> None:
    sender, receiver = cells.pair(sender=SMALL_CHUNKS, receiver=SMALL_CHUNKS)
    reader = Reader()
    receiver.on_stream(reader)
    data = pattern(8 * MIB)
    for size_bytes in (MIB, 3 * MIB, 5 * MIB):
        cells.network.cut_after(size_bytes=size_bytes)
    assert sender.send_stream(receiver, data).result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)
    # What the target has read is confirmed but for an eighth of a window at least; the window is small.
    unconfirmed = 2 * 256 * KIB
    assert sender.stats().protocol.bytes_retransmitted <= 3 * unconfirmed


def test_link_that_breaks_has_nothing_sent_again_that_arrived_though_the_sender_had_not_heard_so(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, gate: Gate
) -> None:
    sender, receiver = either_pair
    receiver.on_stream(lambda future, stream, resume: stream.read(-1), topic="before")
    # Opens the lane for bulk, which cannot be dialled while the network is stalled.
    sender.send_stream(receiver, pattern(MIB), topic="before").result(PATIENCE_S)
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    data = pattern(4 * MIB)
    network.stall(*set(Direction) - {direction_of(sender)})
    future = sender.send_stream(receiver, data)
    eventually(lambda: any(each.received == 256 * KIB for each in receiver.stats().protocol.receives))
    assert [send.received for send in sender.stats().protocol.sends] == [0]
    network.cut()
    network.release()
    # The reader waits, so that it is what has arrived that counts, not what was read.
    eventually(lambda: any(send.received >= 256 * KIB for send in sender.stats().protocol.sends))
    gate.open()
    assert future.result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)
    assert sender.stats().protocol.resumes >= 1
    assert sender.stats().protocol.bytes_retransmitted == 0


def test_link_that_breaks_while_nothing_is_under_way_has_nothing_sent_again(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, gate: Gate
) -> None:
    sender, receiver = either_pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    data = pattern(8 * MIB)
    future = sender.send_stream(receiver, data)
    for _ in range(3):
        eventually(lambda: is_paused(sender, receiver))
        cut_and_reconnect(network)
        sender.meet(receiver)
    gate.open()
    assert future.result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)
    assert sender.stats().protocol.bytes_retransmitted == 0


def test_link_that_is_away_for_a_while_is_waited_for(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, gate: Gate
) -> None:
    sender, receiver = either_pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    data = pattern(4 * MIB)
    future = sender.send_stream(receiver, data)
    eventually(lambda: is_paused(sender, receiver))
    network.refuse_dials()
    network.cut()
    gate.open()
    dials = network.dials
    eventually(lambda: network.dials > dials + 5)
    assert not future.done()
    assert reader.outcomes.is_empty()
    network.heal()
    assert future.result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)


@pytest.mark.parametrize("cut_at", [1, 2, 3, 5, 8])
def test_link_that_breaks_at_any_batch_loses_and_doubles_no_blob(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, cut_at: int
) -> None:
    sender, receiver = either_pair
    received = Box[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    for direction in Direction:
        network.cut_after(batches=cut_at, direction=direction)
    blobs = [pattern(size, size) for size in (10, 3 * MIB, 64 * KIB, MIB, 0)]
    futures = [sender.send_blob(receiver, blob) for blob in blobs]
    assert [future.result(PATIENCE_S) for future in futures] == [len(blob) for blob in blobs]
    assert sorted(received.get() for _ in blobs) == sorted(blobs)
    sender.meet(receiver)
    assert received.is_empty()


def test_network_that_stalls_and_comes_back_loses_nothing(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, gate: Gate
) -> None:
    sender, receiver = either_pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    data = pattern(4 * MIB)
    future = sender.send_stream(receiver, data)
    eventually(lambda: is_paused(sender, receiver))
    network.stall()
    gate.open()
    blob = sender.send_blob(receiver, b"meanwhile", topic="other")
    receiver.on_blob(lambda future: None, topic="other")
    network.release()
    assert future.result(PATIENCE_S) == len(data)
    assert blob.result(PATIENCE_S) == len(b"meanwhile")
    assert reader.outcomes.get() == (data, None)


def as_stream(sender: Peer, receiver: Peer, received: Box[bytes]) -> Callable[[bytes], StreamFuture]:
    receiver.on_stream(lambda future, stream, resume: received.put(stream.read(-1)))
    return lambda data: sender.send_stream(receiver, data)


def as_blob(sender: Peer, receiver: Peer, received: Box[bytes]) -> Callable[[bytes], StreamFuture]:
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    return lambda data: sender.send_blob(receiver, data)


Way = Callable[[Peer, Peer, Box[bytes]], Callable[[bytes], StreamFuture]]


@pytest.mark.parametrize("way", [as_stream, as_blob])
@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_corrupted_chunk_is_never_delivered_and_the_transfer_succeeds(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, way: Way, size: int
) -> None:
    sender, receiver = either_pair
    received = Box[bytes]()
    send = way(sender, receiver, received)
    network.corrupt_payload(1, direction=direction_of(sender))
    assert send(pattern(size)).result(PATIENCE_S) == size
    assert received.get() == pattern(size)
    sender.meet(receiver)
    assert received.is_empty()
    assert receiver.stats().protocol.corrupt_chunks == 1


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_third_corrupted_chunk_in_a_stream_is_an_integrity_error_on_both_sides(
    either_pair: tuple[Peer, Peer], network: FaultyNetwork, size: int
) -> None:
    sender, receiver = either_pair
    reader = Reader()
    receiver.on_stream(reader)
    for batch in (1, 2, 3):
        network.corrupt_payload(batch, direction=direction_of(sender))
    error = stream_failure_of(sender.send_stream(receiver, pattern(size)))
    assert isinstance(error, StreamIntegrityError)
    assert "checksum" in str(error)
    assert receiver.stats().protocol.corrupt_chunks == 3
    # Its first chunk, with which a stream begins, was corrupt: it may never have begun here.
    if not reader.futures.is_empty():
        assert isinstance(failure_of(reader.futures.get()), StreamIntegrityError)
        data, raised = reader.outcomes.get()
        assert pattern(size).startswith(data)
        assert isinstance(raised, StreamIntegrityError)
    # The link itself is fine.
    received = Box[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())), topic="other")
    sender.send_blob(receiver, b"data", topic="other").result(PATIENCE_S)
    assert received.get() == b"data"


def test_cells_are_told_when_the_link_is_up_and_down(cells: Cells) -> None:
    hub = cells.listen(config=dataclasses.replace(QUICK, link_down_s=0.05))
    told = Box[tuple[str, str]]()
    hub.set_cell_connected_cb(lambda name, word, *, number: told.put((name, word)), "up", number=1)
    hub.set_cell_disconnected_cb(lambda name, word: told.put((name, word)), "down")
    site = cells.dial(hub)
    assert told.get() == ("site", "up")
    assert hub.is_cell_connected("site")
    assert site.is_cell_connected("server")
    assert site.is_cell_reachable("server")
    cells.network.refuse_dials()
    cells.network.cut()
    assert told.get() == ("site", "down")
    assert not hub.is_cell_connected("site")
    assert not hub.is_cell_reachable("site")
    cells.network.heal()
    assert told.get() == ("site", "up")
    site.stop()
    assert told.get() == ("site", "down")
