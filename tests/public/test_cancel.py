"""Cancelling a transfer: at any time, from either side, and what the other side sees of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from streamcell import Message, ReceivedStream, StreamCancelled, StreamFuture
from tests.kit.cells import Pair
from tests.kit.payloads import endless, pattern
from tests.kit.transfers import assert_cancelled, blocked_stream, drain
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as one:
        yield one


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


@pytest.mark.parametrize("by_sender", [True, False], ids=["sender cancels", "receiver cancels"])
def test_the_other_side_fails_without_being_cancelled(pair: Pair, gate: Gate, by_sender: bool) -> None:
    there: Box[StreamFuture] = Box()
    ends: Box[BaseException] = Box()

    def read_until_it_fails(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(1)
        there.put(future)
        with pytest.raises(StreamCancelled) as raised:
            drain(future, stream, resume)
        ends.put(raised.value)

    pair.at_server.register_stream_cb("c", "t", read_until_it_fails)
    here = pair.at_site.send_stream("c", "t", "server", Message({}, endless()))
    mine, other = (here, there.get()) if by_sender else (there.get(), here)
    assert mine.cancel()
    assert_cancelled(mine)
    error = other.exception(PATIENCE_S)
    assert type(error) is StreamCancelled
    assert not other.cancelled()
    assert not other.cancel()
    assert isinstance(ends.get(), StreamCancelled)


def test_what_was_not_read_is_gone_after_a_cancel(pair: Pair) -> None:
    arrived: Box[tuple[StreamFuture, ReceivedStream]] = Box()
    pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: arrived.put((future, stream)))
    here = pair.at_site.send_stream("c", "t", "server", Message({}, endless()))
    there, stream = arrived.get()
    eventually(lambda: there.get_progress() > 0)
    here.cancel()
    assert isinstance(there.exception(PATIENCE_S), StreamCancelled)
    with pytest.raises(StreamCancelled):
        stream.read(1)
    with pytest.raises(StreamCancelled):
        stream.read(1)


def test_cancel_after_the_end_does_nothing(pair: Pair) -> None:
    data = pattern(10_000)
    blobs: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: blobs.put(bytes(future.result())))
    future = pair.at_site.send_blob("c", "t", "server", Message({}, data))
    assert future.result(PATIENCE_S) == len(data)
    assert not future.cancel()
    assert not future.cancelled()
    assert future.result(0) == len(data)
    assert blobs.get() == data


def test_cancel_by_many_threads_and_inside_callbacks(pair: Pair, gate: Gate) -> None:
    future = blocked_stream(pair, gate)
    answers: Box[bool] = Box()
    future.add_done_callback(lambda each: answers.put(each.cancel()))
    threads = [threading.Thread(target=lambda: answers.put(future.cancel())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert answers.get_all(9) == [True] * 9
    assert_cancelled(future)
