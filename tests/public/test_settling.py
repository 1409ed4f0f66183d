"""When futures settle: transfers that reach their end."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import ReceivedStream, StreamCancelled, StreamFuture, StreamRejected
from streamcell.testing import FaultyNetwork
from tests.kit.cells import QUICK, Cells, Pair
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually, wait_for


def test_stream_sender_succeeds_when_the_reader_is_at_the_end_and_the_callback_has_returned(
    pair: Pair, gate: Gate
) -> None:
    sender, receiver = pair
    at_end = threading.Event()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(-1)
        at_end.set()
        gate.pass_through()

    receiver.on_stream(callback)
    future = sender.send_stream(receiver, pattern(300 * KIB))
    wait_for(at_end)
    sender.meet(receiver)
    assert not future.done()
    gate.open()
    assert future.result(PATIENCE_S) == 300 * KIB
    assert future.get_progress() == 300 * KIB


def test_stream_sender_succeeds_when_the_reader_is_at_the_end_and_the_callback_has_closed(
    pair: Pair, gate: Gate
) -> None:
    sender, receiver = pair
    returned = threading.Event()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(-1)
        stream.close()
        gate.pass_through()
        returned.set()

    receiver.on_stream(callback)
    future = sender.send_stream(receiver, pattern(300 * KIB))
    assert future.result(PATIENCE_S) == 300 * KIB
    assert not returned.is_set()


def test_stream_sender_waits_for_the_reader_when_the_callback_has_handed_the_stream_to_a_thread(
    pair: Pair, gate: Gate
) -> None:
    sender, receiver = pair
    read = Box[bytes]()

    def read_on(stream: ReceivedStream) -> None:
        gate.pass_through()
        read.put(stream.read(-1))

    returned = threading.Event()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        threading.Thread(target=read_on, args=(stream,)).start()
        returned.set()

    receiver.on_stream(callback)
    data = pattern(300 * KIB)
    future = sender.send_stream(receiver, data)
    wait_for(returned)
    sender.meet(receiver)
    assert not future.done()
    gate.open()
    assert read.get() == data
    assert future.result(PATIENCE_S) == len(data)


def test_end_is_reached_when_the_last_byte_was_handed_out_whether_or_not_the_empty_read_follows(pair: Pair) -> None:
    sender, receiver = pair
    settled = Box[int]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        left = stream.get_size()
        while left:
            left -= len(stream.read(left))
        settled.put(future.result(PATIENCE_S))

    receiver.on_stream(callback)
    future = sender.send_stream(receiver, pattern(100 * KIB))
    assert future.result(PATIENCE_S) == 100 * KIB
    assert settled.get() == 100 * KIB


def test_stream_receiver_succeeds_with_the_bytes_read_before_the_callback_has_returned(pair: Pair) -> None:
    sender, receiver = pair
    results = Box[tuple[int, int, bytes]]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        size = len(stream.read(-1))
        results.put((size, future.result(PATIENCE_S), stream.read(-1)))

    receiver.on_stream(callback)
    sender.send_stream(receiver, iter([pattern(10), pattern(20)]))
    assert results.get() == (30, 30, b"")


def test_stream_receiver_fails_as_soon_as_the_stream_failed(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    futures = Box[StreamFuture]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        futures.put(future)
        gate.pass_through()

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, pattern(MIB))
    received = futures.get()
    sent.cancel()
    # The callback neither reads nor returns.
    assert stream_failure_of(received).code.name == "CANCELLED"


def test_blob_sender_succeeds_when_the_callback_has_started_not_before(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, callback_threads=1))
    started = Box[StreamFuture]()

    def callback(future: StreamFuture) -> None:
        started.put(future)
        gate.pass_through()

    receiver.on_blob(callback)
    first = sender.send_blob(receiver, b"first")
    # The callback runs, and goes on running.
    assert first.result(PATIENCE_S) == 5
    started.get()
    second = sender.send_blob(receiver, pattern(MIB))
    eventually(lambda: any(each.received == MIB for each in receiver.stats().protocol.receives))
    sender.meet(receiver)
    assert not second.done(), "the only thread is busy: the second callback has not started"
    gate.open()
    assert second.result(PATIENCE_S) == MIB
    assert bytes(started.get().result()) == pattern(MIB)


def test_blob_receiver_is_settled_when_the_callback_runs(pair: Pair) -> None:
    sender, receiver = pair
    seen = Box[tuple[bool, bool, bytes]]()

    def callback(future: StreamFuture) -> None:
        view = future.result(0)
        seen.put((future.done(), view.readonly, bytes(view)))

    receiver.on_blob(callback)
    sender.send_blob(receiver, b"all of it")
    assert seen.get() == (True, True, b"all of it")


def test_blob_that_failed_runs_no_callback_and_is_logged_and_counted(
    pair: Pair, network: FaultyNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    sender, receiver = pair
    called = Box[StreamFuture]()
    receiver.on_blob(called.put)
    for batch in (1, 2, 3):
        network.corrupt_payload(batch)
    with caplog.at_level(logging.ERROR):
        stream_failure_of(sender.send_blob(receiver, pattern(MIB)))
        sender.meet(receiver)
        # The log of the engine has a thread of its own.
        eventually(lambda: "wrong checksum" in caplog.text)
    assert called.is_empty()
    assert receiver.stats().blobs_failed == 1


@pytest.mark.parametrize("read_first", [False, True])
def test_stream_callback_that_raises_before_it_closed_is_a_rejection_at_the_sender(
    pair: Pair, read_first: bool
) -> None:
    sender, receiver = pair

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        if read_first:
            stream.read(-1)
        raise OSError("no space left on the lab's disk")

    receiver.on_stream(callback)
    error = stream_failure_of(sender.send_stream(receiver, pattern(MIB)))
    assert isinstance(error, StreamRejected)
    assert "OSError: no space left on the lab's disk" in str(error)
    assert receiver.fqcn in str(error)
    assert receiver.stats().callbacks_failed == 1


def test_stream_callback_that_raises_after_it_closed_changes_nothing(pair: Pair) -> None:
    sender, receiver = pair

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(-1)
        stream.close()
        raise OSError("too late")

    receiver.on_stream(callback)
    assert sender.send_stream(receiver, pattern(MIB)).result(PATIENCE_S) == MIB


def test_blob_callback_that_raises_is_logged_with_traceback_and_counted_and_the_sender_has_its_answer(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    sender, receiver = pair

    def callback(future: StreamFuture) -> None:
        raise OSError("no space left on the lab's disk")

    receiver.on_blob(callback)
    with caplog.at_level(logging.ERROR):
        assert sender.send_blob(receiver, b"data").result(PATIENCE_S) == 4
        eventually(lambda: receiver.stats().callbacks_failed == 1)
    assert "Traceback" in caplog.text
    assert "no space left on the lab's disk" in caplog.text


def test_done_callbacks_run_in_order_of_settling_on_the_notifier_thread(pair: Pair) -> None:
    sender, _ = pair
    called = Box[tuple[int, str, str]]()

    def done(future: StreamFuture, number: int, *, word: str) -> None:
        assert future.done()
        called.put((number, word, threading.current_thread().name))

    futures = [sender.send_blob("nobody", b"data") for _ in range(5)]
    for number, future in enumerate(futures):
        future.add_done_callback(done, number, word="on")
    for number in (3, 1, 4, 0, 2):
        futures[number].cancel()
    seen = [called.get() for _ in futures]
    assert [(number, word) for number, word, _ in seen] == [(3, "on"), (1, "on"), (4, "on"), (0, "on"), (2, "on")]
    assert len({thread for _, _, thread in seen} - {threading.current_thread().name}) == 1


def closes(stream: ReceivedStream) -> None:
    stream.close()
    stream.close()
    for size in (1, -1):
        with pytest.raises(ValueError, match="closed"):
            stream.read(size)


def closes_at_the_end_of_a_with(stream: ReceivedStream) -> None:
    with contextlib.closing(stream):
        pass


def drops(stream: ReceivedStream) -> None:
    """Keep no reference."""


@pytest.mark.parametrize("give_up", [closes, closes_at_the_end_of_a_with, drops])
def test_reader_that_is_closed_or_dropped_before_the_end_is_an_early_close(
    pair: Pair, give_up: Callable[[ReceivedStream], Any]
) -> None:
    sender, receiver = pair
    futures = Box[StreamFuture]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        futures.put(future)
        left = 100 * KIB
        while left:
            left -= len(stream.read(left))
        give_up(stream)

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, pattern(8 * MIB))
    error = stream_failure_of(sent)
    assert type(error) is StreamCancelled
    assert error.code.name == "CANCELLED"
    assert receiver.fqcn in str(error)
    assert str(100 * KIB) in str(error)
    assert not sent.cancelled()
    assert stream_failure_of(futures.get()).code.name == "CANCELLED"
