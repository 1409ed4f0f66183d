"""``streamcell.aio``: streams and blobs that arrive, and coroutines as callbacks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import threading
from typing import Any

import pytest

import streamcell
from streamcell import (
    CellError,
    IterStream,
    Message,
    ReceivedStream,
    RequestFailed,
    StreamCancelled,
    StreamCell,
    StreamError,
    StreamFuture,
    StreamRejected,
    aio,
)
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import Carrier, running
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, eventually

DATA = pattern(3_000_000)


def endless() -> IterStream:
    return IterStream(itertools.repeat(bytes(1 << 20)))


@pytest.mark.parametrize("how", ["async for", "pieces", "read", "read all"])
def test_reading(carrier: Carrier, how: str) -> None:
    async def read(stream: aio.ReceivedStream) -> bytes:
        if how == "async for":
            return b"".join([bytes(piece) async for piece in stream])
        if how == "pieces":
            return b"".join([bytes(piece) async for piece in stream.pieces()])
        if how == "read all":
            return await stream.read()
        parts = []
        while part := await stream.read(10_000):
            assert type(part) is bytes
            assert len(part) <= 10_000
            parts.append(part)
        return b"".join(parts)

    async def test(pair: AioPair) -> None:
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        async def stream_cb(
            future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool, *args: Any, **kwargs: Any
        ) -> None:
            assert (resume, args, kwargs) == (False, (1,), {"two": 2})
            assert (stream.origin, stream.channel, stream.topic, stream.resume_id) == ("site", "c", "t", "")
            assert (stream.headers, stream.get_size(), stream.get_pos()) == ({"a": 1}, len(DATA), 0)
            async with stream:
                await arrived.put(await read(stream))
                assert stream.get_pos() == len(DATA)
                assert await future == len(DATA)

        pair.at_server.register_stream_cb("c", "t", stream_cb, 1, two=2)
        future = await pair.at_site.send_stream("c", "t", "server", Message({"a": 1}, DATA))
        assert await future == len(DATA)
        assert await arrived.get() == DATA

    with_pair(carrier, test)


def test_many_streams_are_read_on_one_loop(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        lengths: list[int] = []

        async def stream_cb(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            lengths.append(sum([len(piece) async for piece in stream]))

        pair.at_server.register_stream_cb("c", "t", stream_cb)
        futures = [
            await pair.at_site.send_stream("c", "t", "server", Message({}, bytes(number * 1000)))
            for number in range(50)
        ]
        await asyncio.gather(*futures)
        assert sorted(lengths) == [number * 1000 for number in range(50)]

    with_pair(carrier, test)


def test_closing_early(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        async def stream_cb(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            async with stream:
                await stream.read(1000)
            with pytest.raises(ValueError, match="closed"):
                await stream.read(1)

        pair.at_server.register_stream_cb("c", "t", stream_cb)
        future = await pair.at_site.send_stream("c", "t", "server", Message({}, endless()))
        error = None
        try:
            await future
        except StreamCancelled as cancelled:
            error = cancelled
        assert "server" in str(error)
        assert not future.cancelled()

    with_pair(carrier, test)


def test_a_coroutine_callback_that_raises(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        async def stream_cb(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            raise KeyError("no such thing")

        async def answer(request: Message) -> Message:
            raise KeyError("no such answer")

        pair.at_server.register_stream_cb("c", "t", stream_cb)
        pair.server.register_request_cb("c", "t", answer)
        with pytest.raises(StreamRejected, match=r"KeyError.*no such thing"):
            await (await pair.at_site.send_stream("c", "t", "server", Message({}, DATA)))
        with pytest.raises(RequestFailed, match=r"KeyError.*no such answer"):
            await pair.site.send_request("c", "t", "server", Message())

    with_pair(carrier, test)


def test_plain_callbacks_run_in_threads_with_the_plain_classes(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        kinds: list[tuple[type, type, bool]] = []

        def stream_cb(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            here = threading.current_thread() is threading.main_thread()
            kinds.append((type(future), type(stream), here))
            stream.read(-1)

        pair.at_server.register_stream_cb("c", "t", stream_cb)
        await (await pair.at_site.send_stream("c", "t", "server", Message({}, DATA)))
        assert kinds == [(StreamFuture, ReceivedStream, False)]
        pair.at_server.unregister_stream_cb("c", "t")
        with pytest.raises(StreamError):
            await (await pair.at_site.send_stream("c", "t", "server", Message({}, DATA)))

    with_pair(carrier, test)


def test_blob_into(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        results: asyncio.Queue[Any] = asyncio.Queue()

        async def blob_cb(future: aio.StreamFuture) -> None:
            await results.put(await future)

        pair.at_server.register_blob_cb("c", "t", blob_cb, into=lambda size, headers: bytearray(size or 0))
        await (await pair.at_site.send_blob("c", "t", "server", Message({}, DATA)))
        result = await results.get()
        assert type(result) is bytearray
        assert result == DATA
        pair.at_server.unregister_blob_cb("c", "t")

    with_pair(carrier, test)


def test_coroutine_callbacks_after_the_end_of_their_loop(carrier: Carrier) -> None:
    """The loop was closed, the cell not stopped: what arrives is refused, and no coroutine is left unawaited."""

    async def stream_cb(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
        await stream.read()

    async def answer(request: Message) -> None:
        await asyncio.sleep(0)

    async def start() -> aio.CoreCell:
        cell = aio.CoreCell("server", listen=carrier.url, network=carrier.network)
        aio.StreamCell(cell).register_stream_cb("c", "t", stream_cb)
        cell.register_request_cb("c", "t", answer)
        await cell.start()
        return cell

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(start()).cell
    try:
        with running(carrier.cell("site", connect=server.listen_urls)) as site:
            site.wait_connected(PATIENCE_S)
            loop.close()
            # Refused, or ended by the end of the cell.
            future = StreamCell(site).send_stream("c", "t", "server", Message({}, DATA), optional=True)
            assert isinstance(future.exception(PATIENCE_S), StreamError)
            with pytest.raises(CellError):
                site.send_request("c", "t", "server", Message(), PATIENCE_S, optional=True)
            eventually(lambda: server not in streamcell.running_cells())
    finally:
        server.stop(0)


def test_a_callback_that_only_its_cell_knows_goes_on_until_its_loop_ends(carrier: Carrier) -> None:
    """An event loop refers to its tasks weakly; what a callback awaits may refer to nothing but its task."""
    begun = threading.Event()
    ends: list[type[BaseException]] = []

    async def wait_for_ever(request: Message) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            ends.append(type(error))
            raise

    with running(carrier.cell("server", listen=carrier.url)) as server:

        async def main() -> None:
            site = aio.CoreCell("site", connect=server.listen_urls, network=carrier.network)
            site.register_request_cb("c", "t", wait_for_ever)
            async with site:
                await site.wait_connected(PATIENCE_S)
                server.fire_and_forget("c", "t", "site", Message(), optional=True)
                assert await asyncio.to_thread(begun.wait, PATIENCE_S)
                await site.stop(0)
                gc.collect()
                assert ends == []

        asyncio.run(main())
    assert ends == [asyncio.CancelledError]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_program_that_leaves_while_callbacks_await_is_quiet(
    carrier: Carrier, stopped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of the loop cancels what awaits; that is nobody's failure, and the other side is told nothing else."""
    begun = threading.Semaphore(0)

    async def wait_for_ever(*_: Any) -> None:
        begun.release()
        await asyncio.Event().wait()

    with running(carrier.cell("server", listen=carrier.url)) as server:

        async def main() -> aio.CoreCell:
            site = aio.CoreCell("site", connect=server.listen_urls, network=carrier.network)
            streams = aio.StreamCell(site)
            streams.register_stream_cb("c", "t", wait_for_ever)
            streams.register_blob_cb("c", "b", wait_for_ever)
            site.register_request_cb("c", "t", wait_for_ever)
            await site.start()
            await site.wait_connected(PATIENCE_S)
            StreamCell(server).send_stream("c", "t", "site", Message({}, b"1"), optional=True)
            StreamCell(server).send_blob("c", "b", "site", Message({}, b"1"), optional=True)
            server.fire_and_forget("c", "t", "site", Message(), optional=True)
            for _ in range(3):
                assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_S)
            if stopped:
                await site.stop(0)
            return site

        caplog.set_level(logging.DEBUG)
        site = asyncio.run(main())
        eventually(lambda: sum("CallbackCancelled" in each.getMessage() for each in caplog.records) == 2)
        eventually(lambda: any("the future returned by" in each.getMessage() for each in caplog.records))
        site.cell.stop(0)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR and each.name.startswith("stream")] == []


def test_coroutine_callbacks_of_a_stopped_cell_after_the_end_of_their_loop(carrier: Carrier) -> None:
    async def main() -> aio.CoreCell:
        async with aio.CoreCell("server", listen=carrier.url, network=carrier.network) as cell:
            return cell

    async def never() -> None:
        raise AssertionError("called")

    with pytest.raises(StreamRejected, match="the event loop of cell server has ended"):
        asyncio.run(main()).run_in_loop(never())
