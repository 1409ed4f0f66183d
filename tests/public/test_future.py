"""StreamFuture: a future of the standard library, with progress, done-callbacks in order and cancelling at any time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import (
    IterStream,
    Message,
    ReceivedStream,
    StreamFuture,
    StreamRejected,
)
from tests.kit.cells import CHANNEL, TOPIC, Pair
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import Reader, assert_cancelled, blocked_stream, drain, is_paused
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


# --- a future of the standard library
def test_wait_and_as_completed(pair: Pair) -> None:
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    futures = [pair.at_site.send_blob("c", "t", "server", Message({}, bytes(size))) for size in range(20)]
    assert all(isinstance(future, concurrent.futures.Future) for future in futures)
    done, not_done = concurrent.futures.wait(futures, PATIENCE_S)
    assert (done, not_done) == (set(futures), set())
    assert sorted(each.result() for each in concurrent.futures.as_completed(futures, PATIENCE_S)) == list(range(20))


def test_wait_until_the_first_fails(pair: Pair, gate: Gate) -> None:
    waiting = blocked_stream(pair, gate)
    failing = pair.at_site.send_blob("nobody", "t", "server", Message({}, b""))
    done, not_done = concurrent.futures.wait(
        [waiting, failing], PATIENCE_S, return_when=concurrent.futures.FIRST_EXCEPTION
    )
    assert (done, not_done) == ({failing}, {waiting})


def test_wait_takes_notice_of_cancel(pair: Pair, gate: Gate) -> None:
    waiting = blocked_stream(pair, gate)
    gate.wait_arrived()
    threading.Thread(target=waiting.cancel).start()
    done, _ = concurrent.futures.wait([waiting], PATIENCE_S)
    assert done == {waiting}


def test_wrapped_for_asyncio(pair: Pair, gate: Gate) -> None:
    pair.at_server.register_blob_cb("c", "t", lambda future: None)

    async def main() -> StreamFuture:
        assert await asyncio.wrap_future(pair.at_site.send_blob("c", "t", "server", Message({}, b"123"))) == 3
        with pytest.raises(StreamRejected):
            await asyncio.wrap_future(pair.at_site.send_blob("nobody", "t", "server", Message({}, b"123")))
        waiting = blocked_stream(pair, gate)
        wrapped = asyncio.wrap_future(waiting)
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
        return waiting

    assert_cancelled(asyncio.run(main()))


def test_stream_ids_rise(pair: Pair) -> None:
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    futures = [pair.at_site.send_blob("c", "t", "server", Message({}, b"")) for _ in range(10)]
    ids = [future.get_stream_id() for future in futures]
    assert ids == sorted(set(ids))
    assert ids[0] > 0


# --- results
def test_giving_up_waiting_does_not_end_the_transfer(pair: Pair, gate: Gate) -> None:
    future = blocked_stream(pair, gate)
    for wait in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            wait(0.01)
    assert future.running()
    assert not future.done()
    gate.open()
    assert future.result(PATIENCE_S) == 4 * MIB
    assert future.exception(0) is None
    assert not future.running()
    assert future.done()


def test_size_is_known_when_it_is_declared(pair: Pair) -> None:
    sizes: Box[int] = Box()

    def note_size(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        sizes.put(future.get_size())
        sizes.put(stream.get_size())
        drain(future, stream, resume)
        sizes.put(future.get_size())
        sizes.put(stream.get_size())

    pair.at_server.register_stream_cb("c", "t", note_size)
    assert pair.at_site.send_stream("c", "t", "server", Message({}, b"12345")).get_size() == 5
    assert sizes.get_all(4) == [5, 5, 5, 5]
    with Gate() as gate:

        def waits() -> Iterator[bytes]:
            yield b"123"
            gate.pass_through()
            yield b"45"

        future = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream(waits())))
        assert future.get_size() == 0
        assert future.eta is None
        assert sizes.get_all(2) == [0, 0]
    assert sizes.get_all(2) == [5, 5]


# --- done-callbacks
def test_done_callbacks_get_their_arguments_on_one_thread_in_order(pair: Pair) -> None:
    called: Box[tuple[Any, ...]] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: None)

    def note(future: StreamFuture, *args: Any, **kwargs: Any) -> None:
        called.put((future, args, kwargs, threading.current_thread()))

    futures = [pair.at_site.send_blob("c", "t", "server", Message({}, b"x")) for _ in range(50)]
    for number, future in enumerate(futures):
        future.add_done_callback(note, number, first=True)
        future.add_done_callback(note, number, first=False)
    calls = called.get_all(2 * len(futures))
    assert {thread for *_, thread in calls} == {calls[0][-1]}
    assert threading.current_thread() is not calls[0][-1]
    for number, future in enumerate(futures):
        mine = [(args, kwargs) for each, args, kwargs, _ in calls if each is future]
        assert mine == [((number,), {"first": True}), ((number,), {"first": False})]


def test_done_callback_after_the_end(pair: Pair) -> None:
    called: Box[tuple[StreamFuture, str, threading.Thread]] = Box()

    def note(future: StreamFuture, word: str) -> None:
        called.put((future, word, threading.current_thread()))

    pair.server.on_blob(lambda future: None)
    future = pair.site.send_blob("server", b"x")
    future.add_done_callback(note, "early")
    future.result(PATIENCE_S)
    *early, thread = called.get()
    assert early == [future, "early"]
    future.add_done_callback(note, "late")
    assert called.get() == (future, "late", thread)
    assert thread is not threading.current_thread()


def test_a_done_callback_that_raises_harms_no_other(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    called: Box[str] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: None)

    def fail(future: StreamFuture) -> None:
        raise RuntimeError("from a done-callback")

    future = pair.at_site.send_blob("c", "t", "server", Message({}, b"x"))
    future.add_done_callback(fail)
    future.add_done_callback(lambda _: called.put("second"))
    assert called.get() == "second"
    assert "from a done-callback" in caplog.text
    eventually(lambda: pair.site.stats().callbacks_failed == 1)


def test_done_callback_of_the_receiver(pair: Pair) -> None:
    called: Box[tuple[Any, ...]] = Box()

    def register(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        future.add_done_callback(lambda each, word: called.put((each, word, each.result())), "word")
        drain(future, stream, resume)

    pair.at_server.register_stream_cb("c", "t", register)
    pair.at_site.send_stream("c", "t", "server", Message({}, b"12345")).result(PATIENCE_S)
    assert called.get()[1:] == ("word", 5)


def test_both_futures_name_the_transfer(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    sent = sender.send_stream(receiver, pattern(MIB), headers={"layer": 3})
    received = reader.futures.get()
    for future in (sent, received):
        assert (future.origin, future.target) == (sender.fqcn, receiver.fqcn)
        assert (future.channel, future.topic) == (CHANNEL, TOPIC)
        future.get_headers().clear()
        assert future.get_headers() == {"layer": 3}
        assert future.get_size() == MIB
        assert future.running()
        assert not future.done()
        assert not future.cancelled()
    assert sent.get_stream_id() == received.get_stream_id() > 0
    gate.open()
    assert sent.result(PATIENCE_S) == received.result(PATIENCE_S) == MIB
    for future in (sent, received):
        assert future.done()
        assert not future.running()
        assert future.exception(0) is None
        assert future.get_progress() == MIB
        assert "site->server c/t" in repr(future)
        assert "done" in repr(future)


def test_progress_counts_what_the_target_has_received(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    sent = sender.send_stream(receiver, pattern(8 * MIB))
    received = reader.futures.get()
    eventually(lambda: is_paused(sender, receiver))
    arrived = receiver.stats().protocol.receives[0].received
    assert 0 < arrived < 8 * MIB
    assert received.get_progress() == arrived
    eventually(lambda: sent.get_progress() == arrived)
    assert sent.rate > 0
    eta = sent.eta
    assert eta is None or eta > 0
    gate.open()
    assert sent.result(PATIENCE_S) == 8 * MIB
    assert sent.get_progress() == received.get_progress() == 8 * MIB
    assert sent.eta == 0


def test_progress_counts_little_too(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    receiver.on_stream(lambda future, stream, resume: stream.read(-1))

    def pieces() -> Iterator[bytes]:
        yield b"little"
        gate.pass_through()

    sent = sender.send_stream(receiver, pieces())
    eventually(lambda: sent.get_progress() == 6)
    assert sent.get_size() == 0
    assert sent.eta is None
    gate.open()
    assert sent.result(PATIENCE_S) == 6


def test_progress_never_falls_while_the_target_lives(pair: Pair) -> None:
    sender, receiver = pair
    seen_there = Box[list[int]]()

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        seen = [future.get_progress()]
        while stream.read(100 * KIB):
            seen.append(future.get_progress())
        seen_there.put(seen)

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, pattern(6 * MIB))
    seen = [0]
    while not concurrent.futures.wait([sent], 0.001).done:
        seen.append(sent.get_progress())
    assert sent.result(PATIENCE_S) == sent.get_progress() == 6 * MIB
    assert sent.rate > 0
    assert sent.eta == 0
    there = seen_there.get()
    assert there[-1] == 6 * MIB
    for each in (seen, there):
        assert each == sorted(each)
