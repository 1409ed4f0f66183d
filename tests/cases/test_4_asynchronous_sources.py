"""Asynchronous sources: what they give is sent as it comes, and they end with the transfer."""

from __future__ import annotations

import asyncio
import contextvars
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamcell import Message, StreamError, StreamUsageError, UsageError, aio
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import Carrier, Pair
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate

MIB = 1 << 20
DATA = pattern(2 * MIB + 54_321)


async def numbers(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"" if number == 7 else b"%d " % number


class Upload:
    """What web frameworks give for a file: ``read`` is a coroutine, and nothing is iterated."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        await asyncio.sleep(0)
        return self._file.read(size)


async def arriving(pair: AioPair) -> asyncio.Queue[bytes]:
    """Have the server read what comes on c/t, and return where it puts it."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
        await arrived.put(await stream.read())

    pair.at_server.register_stream_cb("c", "t", read)
    return arrived


def test_case_4_3_an_asynchronous_generator(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        arrived = await arriving(pair)
        future = await pair.at_site.send_stream("c", "t", "server", Message({}, numbers(100)), digest="sha256")
        sent = b"".join([piece async for piece in numbers(100)])
        assert await future == len(sent)
        assert await arrived.get() == sent

    with_pair(carrier, test)


def test_case_4_3_a_stream_reader(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        arrived = await arriving(pair)
        reader = asyncio.StreamReader()
        future = await pair.at_site.send_stream("c", "t", "server", Message({}, reader))
        # One line, longer than what a StreamReader can iterate.
        reader.feed_data(DATA)
        reader.feed_eof()
        assert await future == len(DATA)
        assert await arrived.get() == DATA

    with_pair(carrier, test)


def test_case_4_3_an_upload_for_several_targets(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        arrived = await arriving(pair)
        futures = await pair.at_site.send_stream("c", "t", ["server"], Message({}, Upload(DATA)))
        assert await futures["server"] == len(DATA)
        assert await arrived.get() == DATA

    with_pair(carrier, test)


def test_case_4_3_a_received_stream_is_sent_on(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        arrived = await arriving(pair)

        async def pass_on(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            await (await pair.at_server.send_stream("c", "t", "server", Message({}, stream)))

        pair.at_server.register_stream_cb("c", "on", pass_on)
        assert await (await pair.at_site.send_stream("c", "on", "server", Message({}, DATA))) == len(DATA)
        assert await arrived.get() == DATA

    with_pair(carrier, test)


def test_case_4_3_no_more_is_read_than_the_transfer_can_take(carrier: Carrier) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield bytes(64 << 10)

    async def test(pair: AioPair) -> None:
        with Gate() as gate:
            pair.at_server.stream_cell.register_stream_cb("c", "t", lambda *_: gate.pass_through())
            future = await pair.at_site.send_stream("c", "t", "server", Message({}, endless()))
            await asyncio.to_thread(gate.wait_arrived)
            # Another transfer over the same link has to pass: by then what may be read ahead has been read.
            await (await pair.at_site.send_stream("d", "t", "server", Message({}, DATA)))
            assert 0 < given * (64 << 10) < 64 * MIB
            future.cancel()

    async def with_other(pair: AioPair) -> None:
        pair.at_server.stream_cell.register_stream_cb("d", "t", lambda _, stream, __: stream.readall())
        await test(pair)

    with_pair(carrier, with_other)


def test_case_4_3_cancelling_the_task_cancels_the_transfer_and_the_source(carrier: Carrier) -> None:
    closed: Box[str] = Box()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.put("source")

    async def test(pair: AioPair) -> None:
        begun = asyncio.Event()
        failed: asyncio.Queue[BaseException] = asyncio.Queue()

        async def read(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            assert await stream.read(5) == b"first"
            begun.set()
            try:
                await stream.read(1)
            except StreamError as error:
                await failed.put(error)

        pair.at_server.register_stream_cb("c", "t", read)

        async def transfer() -> None:
            await (await pair.at_site.send_stream("c", "t", "server", Message({}, waiting())))

        task = asyncio.create_task(transfer())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await failed.get()
        assert await asyncio.to_thread(closed.get) == "source"

    with_pair(carrier, test)


def test_case_4_3_what_the_source_raises_fails_the_transfer(carrier: Carrier) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"good"
        raise OSError("the network is down")

    async def texts() -> AsyncIterator[Any]:
        yield "text"

    async def test(pair: AioPair) -> None:
        await arriving(pair)
        with pytest.raises(StreamError, match="the network is down"):
            await (await pair.at_site.send_stream("c", "t", "server", Message({}, broken())))
        with pytest.raises(UsageError, match=r"payload\.encode\(\)"):
            await (await pair.at_site.send_stream("c", "t", "server", Message({}, texts())))

    with_pair(carrier, test)


def test_case_4_3_the_source_runs_in_one_task_with_the_callers_context(carrier: Carrier) -> None:
    word: contextvars.ContextVar[str] = contextvars.ContextVar("word")
    tasks = set()

    async def words() -> AsyncIterator[bytes]:
        for _ in range(5):
            tasks.add(asyncio.current_task())
            async with asyncio.timeout(PATIENCE_S):
                yield word.get().encode()

    async def test(pair: AioPair) -> None:
        arrived = await arriving(pair)
        word.set("word ")
        future = await pair.at_site.send_stream("c", "t", "server", Message({}, words()))
        word.set("other")
        await future
        assert await arrived.get() == b"word " * 5
        assert len(tasks) == 1

    with_pair(carrier, test)


def test_case_4_3_a_source_without_a_target_is_left_alone(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        with pytest.raises(UsageError):
            await pair.at_site.send_stream("c", "t", "no name", Message({}, numbers(3)))
        with pytest.raises(StreamError):
            await (await pair.at_site.send_stream("c", "t", "nobody", Message({}, numbers(3)), optional=True))

    with_pair(carrier, test)


def test_case_4_3_threads_are_told_where_it_can_be_sent(pair: Pair) -> None:
    async def ask() -> None:
        for payload in (numbers(3), asyncio.StreamReader(), Upload(b"")):
            for call in (pair.at_site.send_stream, pair.at_site.send_blob):
                with pytest.raises(StreamUsageError, match=r"streamcell\.aio"):
                    call("c", "t", "server", Message({}, payload))

    asyncio.run(ask())
