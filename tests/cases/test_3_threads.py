"""Threads that are all in use hold up nothing that does not need them, and are named where something waits for them.

Cases 3.7 and 3.8.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import CellConfig, Message, ReceivedStream, StreamFuture, aio
from tests.api.aio_cells import AioPair, with_pair
from tests.carried import carrier, pair
from tests.cells import PATIENCE_S, QUICK, Box, Carrier, Gate, Pair, connected_pair, eventually

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
