"""Cancelling a transfer: at any time, from either side, and what the other side sees of it."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterator

import pytest

from streamcell import IterStream, Message, ReceivedStream, StreamCancelled, StreamFuture
from tests.kit.cells import Pair, Peer
from tests.kit.payloads import KIB, MIB, endless, pattern
from tests.kit.transfers import assert_cancelled, blocked_stream, drain, failure_of, is_paused
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually, wait_for


def when_sent(pair: Pair, gate: Gate) -> StreamFuture:
    pair.at_server.register_stream_cb("c", "t", drain)
    return pair.at_site.send_stream("c", "t", "server", Message({}, endless()))


def when_reading(pair: Pair, gate: Gate) -> StreamFuture:
    started = threading.Event()

    def start(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.set()
        with pytest.raises(StreamCancelled):
            drain(future, stream, resume)

    pair.at_server.register_stream_cb("c", "t", start)
    future = pair.at_site.send_stream("c", "t", "server", Message({}, endless()))
    assert started.wait(PATIENCE_S)
    return future


def when_all_is_sent(pair: Pair, gate: Gate) -> StreamFuture:
    future = blocked_stream(pair, gate, 1000)
    gate.wait_arrived()
    return future


def when_target_is_unknown(pair: Pair, gate: Gate) -> StreamFuture:
    return pair.at_site.send_blob("c", "t", "nobody", Message({}, b"1"))


def assert_cancelled_there(future: StreamFuture, by: Peer) -> None:
    """Check the future on the other side."""
    error = failure_of(future)
    assert type(error) is StreamCancelled
    assert isinstance(error, concurrent.futures.CancelledError)
    assert by.fqcn in str(error)
    assert not future.cancelled()
    assert not future.cancel()


class ClosedSource(IterStream):
    """A source that tells that it was closed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__(pieces)
        self.closed = Box[str]()

    def close(self) -> None:
        self.closed.put("closed")


@pytest.mark.parametrize("begin", [when_sent, when_reading, when_all_is_sent, when_target_is_unknown])
def test_cancel_at_the_sender(pair: Pair, gate: Gate, begin: Callable[[Pair, Gate], StreamFuture]) -> None:
    called: Box[StreamFuture] = Box()
    future = begin(pair, gate)
    future.add_done_callback(called.put)
    assert future.cancel()
    assert_cancelled(future)
    assert called.get() is future
    gate.open()
    # The cell is none the worse for it.
    pair.at_server.register_blob_cb("after", "t", lambda future: None)
    assert pair.at_site.send_blob("after", "t", "server", Message({}, b"123")).result(PATIENCE_S) == 3
    eventually(lambda: not pair.site.stats().protocol.sends)


def test_cancel_by_many_threads_and_inside_callbacks(pair: Pair, gate: Gate) -> None:
    future = blocked_stream(pair, gate)
    answers: Box[bool] = Box()
    future.add_done_callback(lambda each: answers.put(each.cancel()))
    threads = [threading.Thread(target=lambda: answers.put(future.cancel())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert answers.get_all(9) == [True] * 9
    assert_cancelled(future)


def test_sender_cancels_before_the_start(pair: Pair) -> None:
    sender, _ = pair
    source = ClosedSource(iter([b"data"]))
    futures = [sender.send_stream("nobody", source), sender.send_blob("nobody", b"data")]
    assert sender.stats().protocol.streams_opened == 2
    for future in futures:
        assert future.cancel()
        assert_cancelled(future)
    assert source.closed.get() == "closed"
    eventually(lambda: sender.stats().protocol.sends == ())


@pytest.mark.parametrize("size", [0, 10, 10 * MIB])
def test_sender_cancels_right_after_the_call(pair: Pair, size: int) -> None:
    sender, receiver = pair
    received = Box[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    futures = [sender.send_blob(receiver, pattern(size)) for _ in range(20)]
    outcomes = [future.cancel() for future in futures]
    for future, is_cancelled in zip(futures, outcomes, strict=True):
        if is_cancelled:
            assert_cancelled(future)
        else:
            assert future.result(0) == size
    # Whatever arrived is whole, and the cell works on.
    assert sender.send_blob(receiver, b"last").result(PATIENCE_S) == 4
    while (data := received.get()) != b"last":
        assert data == pattern(size)


def test_sender_cancels_mid_way_and_the_reader_fails_and_does_not_get_what_arrived(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    futures = Box[StreamFuture]()
    raised = Box[StreamCancelled]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert stream.read(100)
        futures.put(future)
        gate.pass_through()
        for _ in range(2):
            with pytest.raises(StreamCancelled) as caught:
                stream.read(100)
            raised.put(caught.value)

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, pattern(8 * MIB))
    received = futures.get()
    eventually(lambda: is_paused(sender, receiver))
    assert sent.cancel()
    assert_cancelled(sent)
    assert_cancelled_there(received, by=sender)
    gate.open()
    assert all(sender.fqcn in str(error) for error in raised.get_all(2))


def test_sender_cancels_while_its_source_blocks(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    futures = Box[StreamFuture]()
    raised = threading.Event()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        futures.put(future)
        # Waits for more, and is woken.
        with pytest.raises(StreamCancelled):
            stream.read(-1)
        raised.set()

    def pieces() -> Iterator[bytes]:
        yield b"first"
        gate.pass_through()
        yield b"second"

    receiver.on_stream(callback)
    source = ClosedSource(pieces())
    sent = sender.send_stream(receiver, source)
    received = futures.get()
    assert sent.cancel()
    assert_cancelled(sent)
    assert_cancelled_there(received, by=sender)
    wait_for(raised)
    assert source.closed.is_empty(), "a source is not closed under a read"
    gate.open()
    assert source.closed.get() == "closed"
    assert source.closed.is_empty()


def test_sender_cancels_a_blob_mid_way_and_no_callback_is_called(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    called = Box[object]()
    asked = threading.Event()

    def into(size: int | None, headers: object) -> bytearray:
        asked.set()
        gate.pass_through()
        return bytearray(size or 0)

    receiver.on_blob(called.put, into=into)
    sent = sender.send_blob(receiver, pattern(8 * MIB))
    wait_for(asked)
    assert sent.cancel()
    assert_cancelled(sent)
    gate.open()
    eventually(lambda: receiver.stats().blobs_failed == 1)
    sender.meet(receiver)
    assert called.is_empty()
    assert receiver.stats().protocol.receives == ()


def test_cancelling_after_the_end_changes_nothing(pair: Pair) -> None:
    sender, receiver = pair
    futures = Box[StreamFuture]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(-1)
        futures.put(future)

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, b"data")
    assert sent.result(PATIENCE_S) == 4
    for future in (sent, futures.get()):
        assert not future.cancel()
        assert not future.cancelled()
        assert future.result(0) == 4


def test_receiver_cancels_and_the_sender_fails(pair: Pair) -> None:
    sender, receiver = pair
    futures = Box[StreamFuture]()
    raised = Box[StreamCancelled]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert stream.read(100 * KIB)
        assert future.cancel()
        with pytest.raises(StreamCancelled) as caught:
            stream.read(100)
        raised.put(caught.value)
        futures.put(future)

    receiver.on_stream(callback)
    source = ClosedSource(iter([pattern(200 * KIB)] * 100))
    sent = sender.send_stream(receiver, source)
    assert_cancelled_there(sent, by=receiver)
    assert_cancelled(futures.get())
    raised.get()
    assert source.closed.get() == "closed"


def test_receiver_cancels_while_another_thread_reads(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    reading = Box[StreamFuture]()
    raised = threading.Event()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert stream.read(100)
        reading.put(future)
        with pytest.raises(StreamCancelled):
            stream.read(100)
        raised.set()

    def pieces() -> Iterator[bytes]:
        yield b"first"
        gate.pass_through()

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, pieces())
    assert reading.get().cancel()
    wait_for(raised)
    assert_cancelled_there(sent, by=receiver)


def test_cancelled_futures_work_with_the_standard_library(pair: Pair) -> None:
    sender, _ = pair
    futures = [sender.send_blob("nobody", b"data") for _ in range(3)]
    for future in futures:
        future.cancel()
    done, waiting = concurrent.futures.wait(futures, PATIENCE_S)
    assert (len(done), len(waiting)) == (3, 0)
    assert set(concurrent.futures.as_completed(futures, PATIENCE_S)) == set(futures)
