"""What happens when readers, sources or callbacks take their time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from streamcell import ReceivedStream, StreamFuture, StreamTargetUnreachable, StreamTimeout
from tests.kit.cells import QUICK, Cells, Pair
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.timing import scaled
from tests.kit.transfers import Reader, failure_of, reading_when, stream_failure_of
from tests.kit.waiting import IDLE_S, PATIENCE_S, Box, Gate, let_time_pass

# Short enough to be waited for where a transfer is to time out.
SHORT_S = scaled(0.4)


@pytest.mark.parametrize("step", [10, 100 * KIB])
def test_slow_reader_is_never_killed_while_it_makes_progress_and_nothing_is_sent_again(pair: Pair, step: int) -> None:
    sender, receiver = pair
    read = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        data = b""
        # Longer in all than the idle timeout, without ever being idle for so long.
        for _ in range(7):
            data += stream.read(step)
            let_time_pass(IDLE_S / 4)
        read.put(data + stream.read(-1))

    receiver.on_stream(callback)
    data = pattern(4 * MIB)
    assert sender.send_stream(receiver, data, idle_timeout=IDLE_S).result(PATIENCE_S) == len(data)
    assert read.get() == data
    assert sender.stats().protocol.bytes_retransmitted == 0


def test_reader_that_never_reads_is_a_stream_timeout_on_both_sides(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    # What arrived before can still be read.
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    error = stream_failure_of(sender.send_stream(receiver, pattern(4 * MIB), idle_timeout=SHORT_S))
    assert isinstance(error, StreamTimeout)
    assert not isinstance(error, TimeoutError)
    assert receiver.fqcn in str(error)
    assert isinstance(failure_of(reader.futures.get()), StreamTimeout)
    gate.open()
    data, raised = reader.outcomes.get()
    assert len(data) >= 256 * KIB
    assert pattern(4 * MIB).startswith(data)
    assert isinstance(raised, StreamTimeout)


def test_idle_timeout_of_zero_is_never(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    read = Box[bytes]()
    receiver.on_stream(reading_when(gate, read))
    receiver.on_stream(lambda future, stream, resume: gate.pass_through(), topic="idle")
    patient = sender.send_stream(receiver, pattern(4 * MIB), idle_timeout=0)
    idle = sender.send_stream(receiver, pattern(4 * MIB), idle_timeout=SHORT_S, topic="idle")
    assert isinstance(failure_of(idle), StreamTimeout)
    assert not patient.done()
    gate.open()
    assert patient.result(PATIENCE_S) == 4 * MIB
    assert read.get() == pattern(4 * MIB)


def test_waiting_that_is_nobodys_fault_is_not_idle(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, callback_threads=1))
    read = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        read.put(stream.read(-1))
        gate.pass_through()

    def blob_callback(future: StreamFuture) -> None:
        read.put(bytes(future.result()))
        gate.pass_through()

    def slow_source() -> Iterator[bytes]:
        yield b"first"
        gate.pass_through()
        yield b"last"

    receiver.on_stream(callback)
    receiver.on_blob(blob_callback, topic="blob")
    sender.on_stream(lambda future, stream, resume: read.put(stream.read(-1)))
    sender.on_stream(lambda future, stream, resume: gate.pass_through(), topic="unread")
    idle_s = scaled(1.0)
    first = sender.send_blob(receiver, b"keeps the thread", topic="blob")
    assert first.result(PATIENCE_S) == 16
    assert read.get() == b"keeps the thread"
    # Its callback runs on after the end. The next two wait for threads, the last one for its source.
    futures = [
        sender.send_stream(receiver, b"runs on", idle_timeout=idle_s),
        sender.send_stream(receiver, pattern(MIB), idle_timeout=idle_s),
        sender.send_blob(receiver, b"blob", topic="blob", idle_timeout=idle_s),
        receiver.send_stream(sender, slow_source(), idle_timeout=idle_s),
    ]
    # One that began last, and whose reader is to blame, is idle as long as that: so have been the others.
    unread = receiver.send_stream(sender, pattern(4 * MIB), idle_timeout=idle_s, topic="unread")
    assert isinstance(stream_failure_of(unread), StreamTimeout)
    assert not any(future.done() for future in futures)
    gate.open()
    assert [future.result(PATIENCE_S) for future in futures] == [7, MIB, 4, 9]
    assert sorted(read.get() for _ in futures) == sorted([b"runs on", pattern(MIB), b"blob", b"firstlast"])


def test_callback_is_not_called_when_the_sender_gave_up_before_there_was_a_thread(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, callback_threads=1))
    called = Box[bytes]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        data = stream.read(-1)
        called.put(data)
        gate.pass_through()

    def blob_callback(future: StreamFuture) -> None:
        called.put(bytes(future.result()))
        gate.pass_through()

    receiver.on_stream(callback)
    receiver.on_blob(blob_callback, topic="blob")
    first = sender.send_stream(receiver, b"first")
    assert called.get() == b"first"
    assert sender.send_blob(receiver, b"first blob", topic="blob").result(PATIENCE_S) == 10
    assert called.get() == b"first blob"
    given_up = [sender.send_stream(receiver, b"second"), sender.send_blob(receiver, b"third", topic="blob")]
    sender.meet(receiver)
    for future in given_up:
        assert future.cancel()
    sender.meet(receiver)
    gate.open()
    assert first.result(PATIENCE_S) == 5
    assert sender.send_stream(receiver, b"fourth").result(PATIENCE_S) == 6
    assert called.get() == b"fourth"
    assert called.is_empty()


def test_target_that_is_unknown_is_unreachable_after_unreachable_timeout(pair: Pair) -> None:
    sender, _ = pair
    for send in (sender.send_stream, sender.send_blob):
        error = stream_failure_of(send("nobody", b"data", unreachable_timeout=SHORT_S))
        assert isinstance(error, StreamTargetUnreachable)
        assert "nobody" in str(error)


def test_target_that_is_unknown_may_yet_appear(cells: Cells) -> None:
    hub = cells.listen()
    future = hub.send_blob("late", b"data")
    received = Box[bytes]()
    late = cells.make("late", connect=hub.listen_urls[0])
    late.on_blob(lambda future: received.put(bytes(future.result())))
    late.start()
    assert future.result(PATIENCE_S) == 4
    assert received.get() == b"data"


@pytest.mark.parametrize("kind", ["stream", "blob"])
def test_target_that_is_unknown_is_unreachable_at_once_when_the_transfer_is_optional(
    pair: Pair, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    sender, _ = pair
    send = sender.send_blob if kind == "blob" else sender.send_stream
    error = stream_failure_of(send("nobody", b"data", optional=True))
    assert isinstance(error, StreamTargetUnreachable)
    assert [record for record in caplog.records if "nobody" in record.getMessage()] == []


def test_transfer_that_is_optional_reaches_a_target_that_is_there(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_blob(lambda future: None)
    assert sender.send_blob(receiver, b"data", optional=True).result(PATIENCE_S) == 4
