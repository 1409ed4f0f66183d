"""Threads that are all in use hold up nothing that does not need them, and are named where something waits for them.

Cases 3.7 and 3.8.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import CellConfig, CellError, CoreCell, Message, ReceivedStream, RequestTimeout, StreamFuture, aio
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import QUICK, Carrier, Pair, connected_pair, running
from tests.kit.fixtures import carrier, pair
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

__all__ = ["carrier", "pair"]

DATA = b"all of it is there"


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


def slow_source(gate: Gate) -> Iterator[bytes]:
    """Give a byte, and the next one when the test says so."""
    yield b"a"
    gate.pass_through()
    yield b"b"


def keep_busy(pair: Pair, gate: Gate) -> list[StreamFuture]:
    """Have all threads for streams at the server wait in a read; return the senders' futures."""
    count = CellConfig().callback_threads
    started: Box[int] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert stream.read(1) == b"a"
        started.put(1)
        assert stream.read(-1) == b"b"

    pair.at_server.register_stream_cb("slow", "t", read)
    sent = [pair.at_site.send_stream("slow", "t", "server", Message({}, slow_source(gate))) for _ in range(count)]
    started.get_all(count)
    eventually(lambda: any(pool.running == count for pool in pair.server.stats().pools))
    return sent


def test_case_3_7_streams_that_wait_hold_up_no_blob(pair: Pair, gate: Gate) -> None:
    got: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "plain", lambda future: got.put(bytes(future.result())))
    pair.at_server.register_blob_cb(
        "c", "into", lambda future: got.put(bytes(future.result())), into=lambda size, headers: bytearray(size or 0)
    )
    slow = keep_busy(pair, gate)
    for topic in ("plain", "into"):
        sent = pair.at_site.send_blob("c", topic, "server", Message({}, DATA), digest="sha256")
        assert sent.result(PATIENCE_S) == len(DATA)
        assert got.get() == DATA
    gate.open()
    assert [future.result(PATIENCE_S) for future in slow] == [2] * len(slow)


def test_case_3_7_a_buffer_may_be_waited_for_until_another_blob_has_done_with_it(carrier: Carrier) -> None:
    """One buffer for all blobs: whoever chooses waits for the callback that gives it back."""
    buffers: Box[bytearray] = Box()
    buffers.put(bytearray(len(DATA)))
    got: Box[bytes] = Box()

    def give_back(future: StreamFuture) -> None:
        buffer = future.result()
        got.put(bytes(buffer))
        buffers.put(bytearray(len(DATA)))

    with connected_pair(carrier, config=dataclasses.replace(QUICK, callback_threads=1)) as pair:
        pair.at_server.register_blob_cb("c", "t", give_back, into=lambda size, headers: buffers.get())
        sent = [pair.at_site.send_blob("c", "t", "server", Message({}, DATA)) for _ in range(5)]
        assert [future.result(PATIENCE_S) for future in sent] == [len(DATA)] * 5
        assert got.get_all(5) == [DATA] * 5


def test_case_3_7_a_done_callback_that_waits_holds_up_no_blob(pair: Pair, gate: Gate) -> None:
    got: Box[bytes] = Box()

    def wait_after(future: StreamFuture) -> None:
        got.put(bytes(future.result()))
        future.add_done_callback(lambda _: gate.pass_through())

    pair.at_server.register_blob_cb("c", "t", wait_after)
    for _ in range(3):
        sent = pair.at_site.send_blob("c", "t", "server", Message({}, DATA))
        sent.add_done_callback(lambda _: gate.pass_through())
        assert sent.result(PATIENCE_S) == len(DATA)
        assert got.get() == DATA


@pytest.mark.parametrize("way", ["send_blob", "send_stream"])
def test_case_3_7_sources_that_wait_hold_up_no_payload(carrier: Carrier, gate: Gate, way: str) -> None:
    got: Box[Any] = Box()
    with connected_pair(carrier, config=dataclasses.replace(QUICK, source_threads=1)) as pair, gate:
        pair.at_server.register_stream_cb("slow", "t", lambda future, stream, resume: stream.read(-1))
        pair.at_server.register_blob_cb("c", "t", lambda future: got.put(bytes(future.result())))
        slow = pair.at_site.send_stream("slow", "t", "server", Message({}, slow_source(gate)))
        gate.wait_arrived()
        send = getattr(pair.at_site, way)
        assert send("c", "t", "server", Message({}, DATA), digest="sha256").result(PATIENCE_S) == len(DATA)
        assert got.get() == DATA
        gate.open()
        assert slow.result(PATIENCE_S) == 2


def test_case_3_7_coroutines_that_wait_hold_up_no_blob(carrier: Carrier, gate: Gate) -> None:
    async def test(cells: AioPair) -> None:
        count = CellConfig().callback_threads
        waiting = asyncio.Semaphore(0)
        got: asyncio.Queue[bytes] = asyncio.Queue()

        async def read(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            assert await stream.read(1) == b"a"
            waiting.release()
            await stream.read()

        async def take(future: aio.StreamFuture) -> None:
            await got.put(bytes(await future))

        cells.at_server.register_stream_cb("slow", "t", read)
        cells.at_server.register_blob_cb("c", "t", take)
        slow = [
            await cells.at_site.send_stream("slow", "t", "server", Message({}, slow_source(gate))) for _ in range(count)
        ]
        for _ in range(count):
            await waiting.acquire()
        assert await (await cells.at_site.send_blob("c", "t", "server", Message({}, DATA))) == len(DATA)
        assert await got.get() == DATA
        gate.open()
        assert [await future for future in slow] == [2] * count

    with_pair(carrier, test)


def test_coroutines_that_wait_hold_no_thread(carrier: Carrier) -> None:
    """So more of them run than there are threads, and plain callbacks beside them have all of these."""

    async def test(cells: AioPair) -> None:
        count = 2 * CellConfig().callback_threads
        begun, released = asyncio.Semaphore(0), asyncio.Event()
        read: Box[bytes] = Box()

        async def wait_in_stream(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            begun.release()
            await released.wait()
            assert await stream.read() == DATA

        async def wait_in_blob(future: aio.StreamFuture) -> None:
            begun.release()
            await released.wait()

        cells.at_server.register_stream_cb("c", "t", wait_in_stream)
        cells.at_server.register_blob_cb("c", "t", wait_in_blob)
        cells.at_server.register_stream_cb("c", "plain", lambda future, stream, resume: read.put(stream.read(-1)))
        waiting = [await cells.at_site.send_stream("c", "t", "server", Message({}, DATA)) for _ in range(count)]
        waiting += [await cells.at_site.send_blob("c", "t", "server", Message({}, DATA)) for _ in range(count)]
        for _ in waiting:
            await begun.acquire()
        assert await (await cells.at_site.send_stream("c", "plain", "server", Message({}, DATA))) == len(DATA)
        assert await asyncio.to_thread(read.get) == DATA
        at_server = cells.server.cell
        await asyncio.to_thread(eventually, lambda: not any(pool.running for pool in at_server.stats().pools))
        released.set()
        assert [await future for future in waiting] == [len(DATA)] * len(waiting)

    with_pair(carrier, test)


class Nest:
    """Two cells whose request callbacks ask each other, one level deeper each time, and wait for the answer."""

    def __init__(self, pair: Pair, timeout_s: float) -> None:
        self._pair = pair
        self._timeout_s = timeout_s
        self.errors: Box[tuple[str, CellError]] = Box()
        for cell in (pair.server, pair.site):
            cell.register_request_cb("c", "nest", self._answer, cell)

    def ask(self, cell: CoreCell, depth: int) -> Message:
        target = "server" if cell is self._pair.site else "site"
        return cell.send_request("c", "nest", target, Message({"depth": depth}), self._timeout_s)

    def _answer(self, request: Message, cell: CoreCell) -> Message:
        depth = request.get_header("depth")
        assert isinstance(depth, int)
        if depth == 0:
            return Message({"reached": True})
        try:
            return self.ask(cell, depth - 1)
        except CellError as error:
            self.errors.put((cell.fqcn, error))
            raise


def test_case_3_8_requests_nested_too_deep_say_that_the_threads_are_in_use(carrier: Carrier) -> None:
    with connected_pair(carrier, config=dataclasses.replace(QUICK, request_threads=2)) as pair:
        nest = Nest(pair, scaled(0.4))
        with pytest.raises(RequestTimeout, match="all 2 request threads of site are in use as well"):
            nest.ask(pair.site, 6)
        # The next one to give up is the server's callback that was called first.
        cell, error = nest.errors.get()
        assert f"all 2 request threads of {cell} are in use as well" in str(error)


def test_case_3_8_requests_nested_as_deep_as_there_are_threads_are_answered(carrier: Carrier) -> None:
    with connected_pair(carrier, config=dataclasses.replace(QUICK, request_threads=4)) as pair:
        nest = Nest(pair, PATIENCE_S)
        assert nest.ask(pair.site, 7).headers == {"reached": True}
        assert nest.errors.is_empty()


def test_case_3_8_a_callback_that_is_slow_is_not_said_to_wait_for_a_thread(pair: Pair, gate: Gate) -> None:
    pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
    with pytest.raises(RequestTimeout, match=r"got the request c/t and did not reply in time$"):
        pair.site.send_request("c", "t", "server", Message(), scaled(0.25))
    gate.open()


def test_case_3_8_of_several_targets_and_through_a_cell_in_the_middle(
    carrier: Carrier, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(QUICK, request_threads=1)
    with connected_pair(carrier, config=config) as pair, gate:
        other = carrier.cell("other", connect=pair.server.listen_urls, config=config)
        other.register_request_cb("c", "t", lambda request: gate.pass_through())
        with running(other):
            other.wait_connected(PATIENCE_S)
            pair.server.fire_and_forget("c", "t", "other", Message())
            gate.wait_arrived()
            replies = pair.site.broadcast_request("c", "t", ["other"], Message(), scaled(0.25))
            assert isinstance(replies["other"], RequestTimeout)
            assert "all request threads of other are in use" in str(replies["other"])
            # Where they are in use, it is said as well.
            eventually(lambda: "was given up before its callback was called: all 1 request threads" in caplog.text)
            gate.open()


def test_case_3_8_a_request_that_waits_for_others_here_says_so(carrier: Carrier, gate: Gate) -> None:
    config = dataclasses.replace(QUICK, request_threads=1, max_requests_per_peer=1)
    with connected_pair(carrier, config=config) as pair, gate:
        pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
        pair.site.fire_and_forget("c", "t", "server", Message())
        gate.wait_arrived()
        # The server has no thread for this one, and the site sends no other before that.
        pair.site.fire_and_forget("c", "t", "server", Message())
        with pytest.raises(RequestTimeout, match="was not sent in time: as many others to server"):
            pair.site.send_request("c", "t", "server", Message(), scaled(0.3))
        gate.open()
