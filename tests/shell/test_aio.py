import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamcell import CellError, LinkError, Message, RequestFailed, StreamCancelled, StreamRejected, UsageError, aio
from streamcell.transport.memory.network import MemoryNetwork
from tests.kit.timing import scaled


class World:
    """Two connected cells."""

    def __init__(self, server: aio.CoreCell, site: aio.CoreCell) -> None:
        self.server, self.site = server, site
        self.receiving, self.sending = aio.StreamCell(server), aio.StreamCell(site)

    async def send_stream(self, payload: Any, **more: Any) -> aio.StreamFuture:
        return await self.sending.send_stream("channel", "topic", "server", Message(payload=payload), **more)

    async def send_blob(self, payload: Any) -> aio.StreamFuture:
        return await self.sending.send_blob("channel", "topic", "server", Message({"a": 1}, payload))


@asynccontextmanager
async def two_cells() -> AsyncIterator[World]:
    network = MemoryNetwork()
    async with (
        aio.CoreCell("server", listen="memory://server", network=network) as server,
        aio.CoreCell("site-1", connect=server.listen_urls, network=network) as site,
    ):
        await site.wait_connected(scaled(5))
        yield World(server, site)


def run(test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with two_cells() as world:
            await asyncio.wait_for(test(world), scaled(20))

    asyncio.run(main())


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 1000


def test_a_stream_is_read_by_a_coroutine_on_the_loop() -> None:
    async def check(world: World) -> None:
        seen: list[Any] = []

        async def receive(
            future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool, *args: Any, **kwargs: Any
        ) -> None:
            pieces = [bytes(piece) async for piece in stream]
            seen.append((b"".join(pieces), await future, resume, args, kwargs, stream.origin, stream.get_pos()))
            seen.append(threading.current_thread())

        world.receiving.register_stream_cb("channel", "topic", receive, 5, word="word")
        future = await world.send_stream(iter([b"abc", b"de"]))
        assert await future == await future == future.result() == 5
        assert seen == [(b"abcde", 5, False, (5,), {"word": "word"}, "site-1", 5), threading.current_thread()]

    run(check)


def test_a_stream_may_be_read_in_steps() -> None:
    async def check(world: World) -> None:
        parts: list[bytes] = []

        async def receive(_future: aio.StreamFuture, stream: aio.ReceivedStream, _resume: bool) -> None:
            async with stream:
                parts.extend([await stream.read(0), await stream.read(2), await stream.read(), await stream.read(1)])

        world.receiving.register_stream_cb("channel", "topic", receive)
        await (await world.send_stream(b"abcdef"))
        assert parts == [b"", b"ab", b"cdef", b""]

    run(check)


def test_what_a_coroutine_raises_rejects_the_stream() -> None:
    async def check(world: World) -> None:
        async def receive(_future: aio.StreamFuture, stream: aio.ReceivedStream, _resume: bool) -> None:
            await stream.read(1)
            raise LookupError("not here")

        world.receiving.register_stream_cb("channel", "topic", receive)
        with pytest.raises(StreamRejected, match="LookupError: not here"):
            await (await world.send_stream(endless()))

    run(check)


def test_plain_callbacks_run_in_threads_with_plain_streams() -> None:
    async def check(world: World) -> None:
        threads: list[threading.Thread] = []

        def receive(_future: Any, stream: Any, _resume: bool) -> None:
            threads.append(threading.current_thread())
            stream.read()

        world.receiving.register_stream_cb("channel", "topic", receive)
        assert await (await world.send_stream(b"abc")) == 3
        assert threads != [threading.current_thread()]
        world.receiving.unregister_stream_cb("channel", "topic")
        with pytest.raises(StreamRejected):
            await (await world.send_stream(b"abc"))

    run(check)


def test_blobs() -> None:
    async def check(world: World) -> None:
        arrived: asyncio.Queue[tuple[bytes, dict[str, Any], int]] = asyncio.Queue()
        buffer = bytearray(3)

        async def receive(future: aio.StreamFuture) -> None:
            arrived.put_nowait((bytes(await future), future.get_headers(), future.get_size()))

        world.receiving.register_blob_cb("channel", "topic", receive)
        assert await (await world.send_blob(b"abc")) == 3
        assert await arrived.get() == (b"abc", {"a": 1}, 3)
        world.receiving.register_blob_cb("channel", "topic", receive, into=lambda size, headers: buffer)
        await (await world.send_blob(b"def"))
        assert (await arrived.get())[0] == b"def"
        assert buffer == b"def"

    run(check)


def test_requests() -> None:
    async def check(world: World) -> None:
        async def answer(request: Message, suffix: bytes) -> Message:
            if not request.payload:
                raise LookupError("nothing asked")
            return Message(payload=bytes(request.payload) + suffix)

        world.server.register_request_cb("channel", "topic", answer, b"!")
        reply = await world.site.send_request("channel", "topic", "server", Message(payload=b"abc"))
        assert (bytes(reply.payload), reply.origin) == (b"abc!", "server")
        with pytest.raises(RequestFailed, match="nothing asked"):
            await world.site.send_request("channel", "topic", "server", Message())
        replies = await world.site.broadcast_request(
            "channel", "topic", ["server", "no name"], Message(payload=b"x"), optional=True
        )
        assert isinstance(replies["server"], Message)
        assert isinstance(replies["no name"], UsageError)
        outcomes = await world.site.fire_and_forget("channel", "topic", "server", Message(payload=b"x"))
        assert outcomes == {"server": None}

    run(check)


def test_cancelling_a_coroutine_cancels_its_transfer() -> None:
    async def check(world: World) -> None:
        failed: asyncio.Queue[CellError] = asyncio.Queue()
        begun = asyncio.Event()

        async def receive(_future: aio.StreamFuture, stream: aio.ReceivedStream, _resume: bool) -> None:
            begun.set()
            try:
                async for _ in stream:
                    pass
            except CellError as error:
                failed.put_nowait(error)

        world.receiving.register_stream_cb("channel", "topic", receive)
        future = await world.send_stream(endless())

        async def wait() -> None:
            await future

        waiting = asyncio.ensure_future(wait())
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert future.cancelled()
        assert isinstance(await failed.get(), StreamCancelled)

    run(check)


def test_the_methods_of_a_future_that_do_not_wait() -> None:
    async def check(world: World) -> None:
        settled: asyncio.Queue[tuple[aio.StreamFuture, int]] = asyncio.Queue()
        refused = asyncio.Event()

        async def refuse(_future: aio.StreamFuture, _stream: aio.ReceivedStream, _resume: bool) -> None:
            await refused.wait()
            raise ValueError("not wanted")

        world.receiving.register_stream_cb("channel", "topic", refuse)
        future = await world.send_stream(endless())
        assert (future.done(), future.running(), future.cancelled()) == (False, True, False)
        with pytest.raises(asyncio.InvalidStateError):
            future.result()
        with pytest.raises(asyncio.InvalidStateError):
            future.exception()
        future.add_done_callback(lambda future, number: settled.put_nowait((future, number)), 5)
        refused.set()
        assert await settled.get() == (future, 5)
        assert isinstance(future.exception(), StreamRejected)
        assert not future.cancel()
        assert (future.origin, future.target, future.channel, future.topic) == ("site-1", "server", "channel", "topic")

    run(check)


def test_connections_and_snapshots() -> None:
    async def check(world: World) -> None:
        gone = asyncio.Event()

        async def disconnected(name: str) -> None:
            assert name == "site-1"
            gone.set()

        world.server.set_cell_disconnected_cb(disconnected)
        assert await world.site.is_cell_connected("server")
        assert await world.site.is_cell_reachable("server")
        assert (await world.site.stats()).protocol.fqcn == "site-1"
        await world.site.stop()
        await gone.wait()

    run(check)


def test_waiting_for_an_uplink_that_is_not_there() -> None:
    async def main() -> None:
        async with aio.CoreCell("site-1", connect="memory://nowhere", network=MemoryNetwork()) as site:
            with pytest.raises(LinkError, match="has no link"):
                await site.wait_connected(0.05)

    asyncio.run(main())


def test_a_cell_that_was_not_started_has_no_loop() -> None:
    cell = aio.CoreCell("site-1", network=MemoryNetwork())
    assert (cell.fqcn, cell.listen_urls, repr(cell)) == ("site-1", [], "<aio.CoreCell site-1 has not been started>")
    with pytest.raises(UsageError, match="has not been started"):
        _ = cell.loop
