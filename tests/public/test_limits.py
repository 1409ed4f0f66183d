"""What happens when there is more to do than threads or slots."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from streamcell import Message, ReceivedStream, StreamFuture
from tests.kit.cells import QUICK, Cells, Pair
from tests.kit.payloads import MIB, pattern
from tests.kit.transfers import is_paused, reading_when
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


def test_more_blocked_callbacks_than_threads_make_further_streams_wait_and_nothing_else(
    cells: Cells, gate: Gate
) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, callback_threads=2))
    started = Box[int]()
    read = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.put(1)
        gate.pass_through()
        read.put(stream.read(-1))

    receiver.on_stream(callback)
    streams = [pattern(2 * MIB, seed) for seed in range(5)]
    futures = [sender.send_stream(receiver, data) for data in streams]
    started.get()
    started.get()
    # Requests both ways, and streams the other way, go on.
    sender.on_request(lambda request: request)
    receiver.on_request(lambda request: request)
    sender.on_stream(lambda future, stream, resume: read.put(stream.read(-1)))
    assert bytes(sender.request(receiver, b"question").payload) == b"question"
    assert bytes(receiver.request(sender, b"question").payload) == b"question"
    assert receiver.send_stream(sender, pattern(2 * MIB)).result(PATIENCE_S) == 2 * MIB
    assert read.get() == pattern(2 * MIB)
    # The senders of those that wait are paused.
    sends = sender.stats().protocol.sends
    assert len(sends) == 5
    assert all(send.sent < 2 * MIB for send in sends)
    assert started.is_empty()
    assert not any(future.done() for future in futures)
    gate.open()
    assert [future.result(PATIENCE_S) for future in futures] == [2 * MIB] * 5
    assert sorted(read.get() for _ in futures) == sorted(streams)


def test_more_streams_than_max_streams_per_peer_wait_at_the_sender_and_finish(cells: Cells, gate: Gate) -> None:
    hub = cells.listen()
    sender = cells.dial(hub, "sender", config=dataclasses.replace(QUICK, max_streams_per_peer=2))
    started = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.put(stream.read(-1))
        gate.pass_through()

    hub.on_stream(callback)
    futures = [sender.send_stream(hub, b"%d" % number) for number in range(7)]
    assert {started.get(), started.get()} == {b"0", b"1"}
    sender.meet(hub)
    assert started.is_empty()
    assert [send.state for send in sender.stats().protocol.sends].count("queued") == 5
    assert hub.stats().protocol.streams_accepted == 2 + 2, "two streams, and the two requests of those who met"
    # Another kind, and another peer, have slots of their own.
    hub.on_request(lambda request: request)
    assert sender.request(hub, b"question").payload == b"question"
    gate.open()
    assert [future.result(PATIENCE_S) for future in futures] == [1] * 7
    assert {started.get() for _ in range(5)} == {b"%d" % number for number in range(2, 7)}


def test_stream_that_waits_for_a_slot_can_be_cancelled(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(sender=dataclasses.replace(QUICK, max_streams_per_peer=1))
    started = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.put(stream.read(-1))
        gate.pass_through()

    receiver.on_stream(callback)
    first, second, third = (sender.send_stream(receiver, data) for data in (b"first", b"second", b"third"))
    assert started.get() == b"first"
    assert second.cancel()
    gate.open()
    assert first.result(PATIENCE_S) == 5
    assert third.result(PATIENCE_S) == 5
    assert started.get() == b"third"


def test_two_streams_are_independent_and_each_is_in_order(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    read = Box[bytes]()

    def pieces(name: bytes) -> Iterator[bytes]:
        for number in range(200):
            yield b"%s %03d\n" % (name, number)

    def line_by_line(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        read.put(b"".join(stream))

    receiver.on_stream(reading_when(gate, read), topic="blocked")
    receiver.on_stream(line_by_line, topic="free")
    stuck = sender.send_stream(receiver, pattern(4 * MIB), topic="blocked")
    free = [sender.send_stream(receiver, pieces(name), topic="free") for name in (b"a", b"b")]
    assert [future.result(PATIENCE_S) for future in free] == [200 * 6] * 2
    assert sorted([read.get(), read.get()]) == [b"".join(pieces(b"a")), b"".join(pieces(b"b"))]
    assert not stuck.done()
    gate.open()
    assert stuck.result(PATIENCE_S) == 4 * MIB
    assert read.get() == pattern(4 * MIB)


def test_stream_that_is_paused_holds_up_no_message(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    read = Box[bytes]()
    receiver.on_stream(reading_when(gate, read))
    receiver.on_blob(lambda future: read.put(bytes(future.result())), topic="blob")
    receiver.on_request(lambda request: Message({"seen": True}))
    stream = sender.send_stream(receiver, pattern(16 * MIB))
    eventually(lambda: is_paused(sender, receiver))
    assert sender.request(receiver).headers == {"seen": True}
    assert sender.send_blob(receiver, pattern(3 * MIB), topic="blob").result(PATIENCE_S) == 3 * MIB
    assert read.get() == pattern(3 * MIB)
    gate.open()
    assert stream.result(PATIENCE_S) == 16 * MIB
    assert read.get() == pattern(16 * MIB)


def test_blobs_beyond_the_receivers_memory_wait_and_arrive(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, blob_budget_bytes=3 * MIB, callback_threads=1))
    started = Box[bytes]()

    def callback(future: StreamFuture) -> None:
        started.put(bytes(future.result()))
        gate.pass_through()

    receiver.on_blob(callback)
    blobs = [pattern(2 * MIB, seed) for seed in range(4)]
    futures = [sender.send_blob(receiver, blob) for blob in blobs]
    first = started.get()
    # The next one has its memory, the others wait for it.
    eventually(lambda: any(each.received == 2 * MIB for each in receiver.stats().protocol.receives))
    sender.meet(receiver)
    assert sum(each.received for each in receiver.stats().protocol.receives) < 4 * MIB
    gate.open()
    assert [future.result(PATIENCE_S) for future in futures] == [2 * MIB] * 4
    assert sorted([first, *(started.get() for _ in range(3))]) == sorted(blobs)


def test_sending_never_blocks_in_callbacks_either(cells: Cells) -> None:
    one_thread = dataclasses.replace(QUICK, callback_threads=1, request_threads=1, source_threads=1)
    sender, receiver = cells.pair(sender=one_thread, receiver=one_thread)
    outcomes = Box[object]()

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        sent = receiver.send_stream(sender, iter([stream.read(-1)]))
        sent.add_done_callback(lambda done: outcomes.put(receiver.send_blob(sender, b"done")))

    receiver.on_stream(on_stream)
    sender.on_stream(lambda future, stream, resume: outcomes.put(stream.read(-1)))
    sender.on_blob(lambda future: outcomes.put(bytes(future.result())))
    sent = sender.send_stream(receiver, pattern(MIB))
    assert sent.result(PATIENCE_S) == MIB
    seen = [outcomes.get() for _ in range(3)]
    assert pattern(MIB) in seen
    assert b"done" in seen
