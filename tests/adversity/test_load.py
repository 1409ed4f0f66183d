"""Much at once, and application code that does not behave: everything ends, whole or with an error that is true."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import (
    CellError,
    IterStream,
    Message,
    ReceivedStream,
    StreamCell,
    StreamFuture,
    StreamRejected,
)
from tests.kit.cells import Pair
from tests.kit.payloads import pattern
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

MIB = 1 << 20


def digest(data: Any) -> bytes:
    return hashlib.sha256(data).digest()


# --- many at once


def test_a_thousand_small_streams(pair: Pair) -> None:
    arrived: Box[tuple[int, bytes]] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        arrived.put((int(stream.headers["n"]), digest(stream.read(-1))))

    pair.at_server.register_stream_cb("c", "t", read)
    sent = {number: pattern(number, number) for number in range(1000)}
    futures = [pair.at_site.send_stream("c", "t", "server", Message({"n": n}, data)) for n, data in sent.items()]
    assert [future.result(PATIENCE_S) for future in futures] == list(range(1000))
    assert dict(arrived.get_all(1000)) == {number: digest(data) for number, data in sent.items()}
    assert arrived.is_empty()


def test_two_hundred_blobs_both_ways(pair: Pair) -> None:
    arrived: Box[tuple[str, int, bytes]] = Box()

    def take(future: StreamFuture) -> None:
        arrived.put((future.origin, int(future.get_headers()["n"]), digest(future.result())))

    blobs = [pattern(100_000 + 1000 * number, number) for number in range(200)]
    futures = []
    pair.at_site.register_blob_cb("c", "t", take)
    pair.at_server.register_blob_cb("c", "t", take)
    for here, there in ((pair.at_site, "server"), (pair.at_server, "site")):
        futures += [here.send_blob("c", "t", there, Message({"n": n}, blob)) for n, blob in enumerate(blobs)]
    assert [future.result(PATIENCE_S) for future in futures] == [len(blob) for blob in blobs] * 2
    assert sorted(arrived.get_all(400)) == sorted(
        (origin, number, digest(blob)) for origin in ("site", "server") for number, blob in enumerate(blobs)
    )


def test_everything_from_many_threads(pair: Pair) -> None:
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    pair.at_server.register_stream_cb("c", "s", lambda future, stream, resume: stream.read(-1))
    pair.server.register_request_cb("c", "r", lambda request: Message({}, request.payload))
    data = pattern(50_000)

    def work(number: int) -> int:
        streams = StreamCell(pair.site)
        done = 0
        for _ in range(10):
            done += int(streams.send_blob("c", "t", "server", Message({}, data)).result(PATIENCE_S))
            source = IterStream(data[at : at + 7000] for at in range(0, len(data), 7000))
            done += int(streams.send_stream("c", "s", "server", Message({}, source)).result(PATIENCE_S))
            done += len(pair.site.send_request("c", "r", "server", Message({}, data), PATIENCE_S).payload)
            cancelled = streams.send_stream("c", "s", "server", Message({}, IterStream(itertools.repeat(data))))
            assert cancelled.cancel()
        return done

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [30 * len(data)] * 8
    eventually(lambda: not pair.site.stats().protocol.sends)
    eventually(lambda: not pair.server.stats().protocol.receives)


def test_a_long_chain_of_done_callbacks(pair: Pair) -> None:
    """Each send is begun in the done-callback of the one before: no stack grows."""
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    ended: Box[int] = Box()

    def send_next(future: StreamFuture | None, number: int) -> None:
        if future is not None and future.exception(0) is not None:
            ended.put(-number)
        elif number == 2000:
            ended.put(number)
        else:
            following = pair.at_site.send_blob("c", "t", "server", Message({}, b"%d" % number))
            following.add_done_callback(send_next, number + 1)

    send_next(None, 0)
    assert ended.get() == 2000


def test_done_callbacks_that_are_all_past(pair: Pair) -> None:
    """The same with futures that have ended already."""
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    future = pair.at_site.send_blob("c", "t", "server", Message({}, b""))
    future.result(PATIENCE_S)
    ended: Box[int] = Box()

    def again(same: StreamFuture, number: int) -> None:
        if number == 2000:
            ended.put(number)
        else:
            same.add_done_callback(again, number + 1)

    future.add_done_callback(again, 0)
    assert ended.get() == 2000


# --- code that does not behave


def test_a_thread_that_never_rests(pair: Pair) -> None:
    arrived: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: arrived.put(digest(future.result())))
    data = pattern(16 * MIB)
    stop = threading.Event()

    def compute() -> None:
        number = 1
        while not stop.is_set():
            number = (number * 48_271) % 0x7FFF_FFFF

    threads = [threading.Thread(target=compute, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert pair.at_site.send_blob("c", "t", "server", Message({}, data)).result(2 * PATIENCE_S) == len(data)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert arrived.get() == digest(data)


def test_a_full_disk(pair: Pair) -> None:
    """The callback raises in the middle: the sender learns what and where, and others go on."""

    def write(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for _ in stream.pieces():
            if stream.get_pos() > 2 * MIB:
                raise OSError(errno.ENOSPC, "No space left on device", "/data/model.bin")

    pair.at_server.register_stream_cb("c", "t", write)
    pair.at_server.register_blob_cb("c", "other", lambda future: None)
    source = IterStream(itertools.repeat(bytes(MIB)))
    future = pair.at_site.send_stream("c", "t", "server", Message({}, source))
    beside = pair.at_site.send_blob("c", "other", "server", Message({}, bytes(5 * MIB)))
    with pytest.raises(StreamRejected, match=r"c/t at server.*No space left on device.*model\.bin"):
        future.result(PATIENCE_S)
    assert beside.result(PATIENCE_S) == 5 * MIB
    assert pair.server.stats().callbacks_failed == 1


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), RecursionError("too deep"), MemoryError()])
def test_exceptions_that_are_no_errors(pair: Pair, raised: BaseException) -> None:
    def fail(*_: Any) -> None:
        raise raised

    pair.at_server.register_stream_cb("c", "t", fail)
    pair.server.register_request_cb("c", "t", fail)
    with pytest.raises(StreamRejected, match=type(raised).__name__):
        pair.at_site.send_stream("c", "t", "server", Message({}, b"x")).result(PATIENCE_S)
    with pytest.raises(CellError, match=type(raised).__name__):
        pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)
    called: Box[str] = Box()
    pair.at_server.register_blob_cb("c", "b", lambda future: None)
    future = pair.at_site.send_blob("c", "b", "server", Message({}, b"x"))
    future.add_done_callback(fail)
    future.add_done_callback(lambda _: called.put("next"))
    assert called.get() == "next"


# --- stopping under load


@contextlib.contextmanager
def load(pair: Pair) -> Iterator[list[concurrent.futures.Future[Any]]]:
    """Have transfers of all sorts under way, none of which can end, and return their futures."""
    with Gate() as gate, concurrent.futures.ThreadPoolExecutor(4) as pool:
        reading = threading.Semaphore(0)

        def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            reading.release()
            with contextlib.suppress(CellError):
                for _ in stream.pieces():
                    pass

        pair.at_server.register_stream_cb("c", "read", read)
        pair.at_server.register_stream_cb("c", "blocked", lambda future, stream, resume: gate.pass_through())
        pair.server.register_request_cb("c", "blocked", lambda request: gate.pass_through())
        futures: list[concurrent.futures.Future[Any]] = []
        for _ in range(10):
            endless = IterStream(itertools.repeat(bytes(MIB)))
            futures.append(pair.at_site.send_stream("c", "read", "server", Message({}, endless)))
            futures.append(pair.at_site.send_stream("c", "blocked", "server", Message({}, bytes(3 * MIB))))
            futures.append(pair.at_site.send_blob("c", "blob", "missing", Message({}, bytes(3 * MIB))))
        futures += [
            pool.submit(pair.site.send_request, "c", "blocked", "server", Message(), 10 * PATIENCE_S) for _ in range(4)
        ]
        for _ in range(10):
            assert reading.acquire(timeout=PATIENCE_S)
        gate.wait_arrived(14)
        yield futures


@pytest.mark.parametrize("grace", [0.0, 0.3])
def test_stop_of_the_sender_under_load(pair: Pair, grace: float) -> None:
    with load(pair) as futures:
        settled: Box[object] = Box()
        for future in futures:
            future.add_done_callback(settled.put)
        began = time.monotonic()
        pair.site.stop(grace)
        took = time.monotonic() - began
        done, not_done = concurrent.futures.wait(futures, 1)
        assert not not_done
        assert all(isinstance(future.exception(0), CellError) for future in done)
        settled.get_all(len(futures))
        assert grace <= took < grace + scaled(5.0)
        # The other side knows it too, and is at rest.
        eventually(lambda: not pair.server.stats().protocol.receives)


def test_stop_of_the_receiver_under_load(pair: Pair) -> None:
    with load(pair) as futures:
        pair.server.stop(0)
        # What was sent to it fails at once, because it says so, and so do requests that it does not reply to any more;
        # who was never there is waited for.
        absent = [each for each in futures if isinstance(each, StreamFuture) and each.target != "server"]
        done, not_done = concurrent.futures.wait(set(futures) - set(absent), PATIENCE_S)
        assert not not_done
        assert all(isinstance(future.exception(0), CellError) for future in done)
        assert not any(future.done() for future in absent)
        pair.site.stop(0)
        assert not concurrent.futures.wait(futures, PATIENCE_S).not_done


def test_both_stop_at_once(pair: Pair) -> None:
    with load(pair) as futures:
        threads = [threading.Thread(target=cell.stop, args=(0,)) for cell in (pair.site, pair.server)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        assert not concurrent.futures.wait(futures, PATIENCE_S).not_done
