"""``streamcell.aio``: streams and blobs that arrive, and coroutines as callbacks."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import pytest

from streamcell import (
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
from tests.api.aio_cells import AioPair, with_pair
from tests.cells import PATIENCE_S, Carrier, pattern, running

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
    """The loop has gone, the cell has not been stopped: what arrives is refused, and no coroutine is left unawaited."""

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

    server = asyncio.run(start()).cell
    try:
        with running(carrier.cell("site", connect=server.listen_urls)) as site:
            site.wait_connected(PATIENCE_S)
            future = StreamCell(site).send_stream("c", "t", "server", Message({}, DATA))
            with pytest.raises(StreamRejected, match="loop is closed"):
                future.result(PATIENCE_S)
            with pytest.raises(RequestFailed, match="loop is closed"):
                site.send_request("c", "t", "server", Message(), PATIENCE_S)
    finally:
        server.stop(0)
