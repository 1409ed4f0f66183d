"""StreamFuture: a future of the standard library, with progress, done-callbacks in order and cancelling at any time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import (
    BytesStream,
    IterStream,
    Message,
    ReceivedStream,
    StreamFuture,
    StreamRejected,
)
from tests.kit.cells import Pair
from tests.kit.payloads import MIB
from tests.kit.transfers import assert_cancelled, blocked_stream, drain
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as one:
        yield one


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


def test_names_and_headers(pair: Pair) -> None:
    there: Box[StreamFuture] = Box()
    pair.at_server.register_blob_cb("c", "t", there.put)
    here = pair.at_site.send_blob("c", "t", "server", Message({"round": 7}, b"123"))
    here.result(PATIENCE_S)
    for future in (here, there.get()):
        assert (future.origin, future.target, future.channel, future.topic) == ("site", "server", "c", "t")
        assert future.get_headers() == {"round": 7}
        assert (future.get_size(), future.get_progress()) == (3, 3)
        assert future.get_stream_id() == here.get_stream_id()
        future.get_headers().clear()
        assert future.get_headers() == {"round": 7}
        assert "site->server c/t" in repr(future)
        assert "done" in repr(future)


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


def test_sender_waits_for_the_callback_to_return(pair: Pair, gate: Gate) -> None:
    read = threading.Event()

    def read_and_wait(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        drain(future, stream, resume)
        read.set()
        gate.pass_through()

    pair.at_server.register_stream_cb("c", "t", read_and_wait)
    future = pair.at_site.send_stream("c", "t", "server", Message({}, b"123"))
    assert read.wait(PATIENCE_S)
    gate.wait_arrived()
    assert not future.done()
    gate.open()
    assert future.result(PATIENCE_S) == 3


def test_receivers_future_ends_with_the_last_byte(pair: Pair, gate: Gate) -> None:
    results: Box[int] = Box()

    def read_exactly(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        left = 100_000
        while left:
            left -= len(stream.read(left))
        # The end was not read as b"".
        results.put(future.result(PATIENCE_S))

    pair.at_server.register_stream_cb("c", "t", read_exactly)
    future = pair.at_site.send_stream("c", "t", "server", Message({}, bytes(100_000)))
    assert results.get() == 100_000
    assert future.result(PATIENCE_S) == 100_000


# --- progress


def test_progress_of_a_stream_that_is_read_slowly(pair: Pair) -> None:
    steps: Box[int] = Box()
    total = 3 * MIB

    def read_in_steps(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        seen = [future.get_progress()]
        while stream.read(steps.get()):
            seen.append(future.get_progress())
        assert seen == sorted(seen)
        assert future.get_progress() == total

    pair.at_server.register_stream_cb("c", "t", read_in_steps)
    future = pair.at_site.send_stream("c", "t", "server", Message({}, BytesStream(bytes(total))))
    assert future.get_size() == total
    eventually(lambda: future.get_progress() > 0)
    assert future.get_progress() <= total
    assert future.eta is None or future.eta >= 0
    assert future.rate >= 0
    while not future.done():
        steps.put(MIB)
        concurrent.futures.wait([future], 0.01)
    assert future.result(0) == future.get_progress() == total
    assert future.rate > 0
    assert future.eta == 0


def test_size_is_known_when_it_is_declared(pair: Pair) -> None:
    sizes: Box[int] = Box()

    def note_size(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        sizes.put(future.get_size())
        sizes.put(stream.get_size())
        drain(future, stream, resume)
        sizes.put(future.get_size())

    pair.at_server.register_stream_cb("c", "t", note_size)
    assert pair.at_site.send_stream("c", "t", "server", Message({}, b"12345")).get_size() == 5
    assert sizes.get_all(3) == [5, 5, 5]
    with Gate() as gate:

        def waits() -> Iterator[bytes]:
            yield b"123"
            gate.pass_through()
            yield b"45"

        future = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream(waits())))
        assert future.get_size() == 0
        assert future.eta is None
        assert sizes.get_all(2) == [0, 0]
    assert sizes.get() == 5


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


def test_done_callbacks_run_in_the_order_of_settling(pair: Pair) -> None:
    gates = [Gate() for _ in range(5)]
    order: Box[int] = Box()
    threads: Box[threading.Thread] = Box()

    def read_at_gate(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        gates[int(future.get_headers()["number"])].pass_through()
        drain(future, stream, resume)

    def note(future: StreamFuture, number: int) -> None:
        order.put(number)
        threads.put(threading.current_thread())

    pair.at_server.register_stream_cb("c", "t", read_at_gate)
    futures = [pair.at_site.send_stream("c", "t", "server", Message({"number": n}, b"x")) for n in range(5)]
    for number, future in enumerate(futures):
        future.add_done_callback(note, number)
    for number in (3, 1, 4, 0, 2):
        gates[number].open()
        assert order.get() == number


def test_done_callback_after_the_end(pair: Pair) -> None:
    called: Box[threading.Thread] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    future = pair.at_site.send_blob("c", "t", "server", Message({}, b"x"))
    future.add_done_callback(lambda _: called.put(threading.current_thread()))
    future.result(PATIENCE_S)
    first = called.get()
    future.add_done_callback(lambda _: called.put(threading.current_thread()))
    assert called.get() is first is not threading.current_thread()


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
