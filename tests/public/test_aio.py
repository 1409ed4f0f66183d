"""``streamcell.aio``: the same cells as coroutines on the application's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import Any

import pytest

from streamcell import (
    CellError,
    IterStream,
    LinkError,
    Message,
    ReceivedStream,
    StreamCancelled,
    StreamFuture,
    StreamRejected,
    StreamTargetUnreachable,
    UsageError,
    aio,
)
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import QUICK, Carrier
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Gate, eventually

DATA = pattern(3_000_000)


def endless() -> IterStream:
    return IterStream(itertools.repeat(bytes(1 << 20)))


# --- sending


def test_await_a_future(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def blob_cb(future: aio.StreamFuture, word: str) -> None:
            assert asyncio.get_running_loop() is loop
            assert future.done()
            await arrived.put(bytes(await future))
            assert word == "word"

        pair.at_server.register_blob_cb("c", "t", blob_cb, "word")
        future = await pair.at_site.send_blob("c", "t", "server", Message({"a": 1}, DATA), digest="sha256")
        assert isinstance(future, aio.StreamFuture)
        assert await future == len(DATA)
        assert await future == len(DATA)
        assert await arrived.get() == DATA
        assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
        assert (future.result(), future.exception(), future.eta) == (len(DATA), None, 0)
        assert (future.origin, future.target, future.channel, future.topic) == ("site", "server", "c", "t")
        assert (future.get_headers(), future.get_size(), future.get_progress()) == ({"a": 1}, len(DATA), len(DATA))
        assert future.get_stream_id() > 0
        assert "aio.StreamFuture" in repr(future)

    with_pair(carrier, test)


def test_a_future_that_fails(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        future = await pair.at_site.send_blob("c", "nobody", "server", Message({}, b""))
        with pytest.raises(StreamRejected):
            await future
        assert isinstance(future.exception(), StreamRejected)
        with pytest.raises(StreamRejected):
            future.result()
        with pytest.raises(UsageError):
            await pair.at_site.send_blob("c", "t", "bad name!", Message({}, b""))

    with_pair(carrier, test)


def test_a_future_that_has_not_ended(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        future = await pair.at_site.send_blob("c", "t", "missing", Message({}, b""))
        for ask in (future.result, future.exception):
            with pytest.raises(asyncio.InvalidStateError):
                ask()
        assert future.running()
        assert future.cancel()
        assert future.cancelled()
        with pytest.raises(asyncio.CancelledError):
            await future

    with_pair(carrier, test)


def test_many_at_once(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        arrived: set[bytes] = set()

        async def blob_cb(future: aio.StreamFuture) -> None:
            arrived.add(bytes(future.result()))

        pair.at_server.register_blob_cb("c", "t", blob_cb)
        payloads = [b"%d" % number for number in range(200)]
        futures = [await pair.at_site.send_blob("c", "t", "server", Message({}, each)) for each in payloads]
        assert await asyncio.gather(*futures) == [len(each) for each in payloads]
        pair.server.register_request_cb("c", "barrier", lambda request: None)
        while len(arrived) < len(payloads):
            await pair.site.send_request("c", "barrier", "server", Message())
        assert arrived == set(payloads)

    with_pair(carrier, test)


def test_done_callbacks_run_on_the_loop(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        loop = asyncio.get_running_loop()
        called: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

        def note(future: aio.StreamFuture, *args: Any, **kwargs: Any) -> None:
            called.put_nowait((future, args, kwargs, asyncio.get_running_loop() is loop, threading.current_thread()))

        pair.at_server.register_blob_cb("c", "t", lambda future: None)
        future = await pair.at_site.send_blob("c", "t", "server", Message({}, b""))
        future.add_done_callback(note, 1, two=2)
        expected = (future, (1,), {"two": 2}, True, threading.current_thread())
        assert await called.get() == expected
        future.add_done_callback(note, 1, two=2)
        assert await called.get() == expected

    with_pair(carrier, test)


# --- cancelling


def test_a_cancelled_coroutine_cancels_its_transfer(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        reading = asyncio.Event()
        ended: asyncio.Queue[BaseException] = asyncio.Queue()

        async def stream_cb(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            reading.set()
            try:
                async for _ in stream:
                    pass
            except StreamCancelled as error:
                await ended.put(error)

        pair.at_server.register_stream_cb("c", "t", stream_cb)
        future = await pair.at_site.send_stream("c", "t", "server", Message({}, endless()))

        async def wait() -> None:
            await future

        task = asyncio.create_task(wait())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(await ended.get(), StreamCancelled)
        assert future.cancelled()

    with_pair(carrier, test)


def test_a_timeout_cancels_and_a_shield_prevents_it(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        with Gate() as gate:

            def read_late(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
                gate.pass_through()
                stream.read(-1)

            pair.at_server.register_stream_cb("c", "t", read_late)
            kept, lost = [await pair.at_site.send_stream("c", "t", "server", Message({}, b"123")) for _ in range(2)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(wait_for(kept))), 0.01)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(wait_for(lost), 0.01)
            assert kept.running()
        assert await kept == 3
        with pytest.raises(asyncio.CancelledError):
            await lost

    with_pair(carrier, test)


async def wait_for(future: aio.StreamFuture) -> Any:
    return await future


def test_a_cancelled_request_is_given_up(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        with Gate() as gate:
            pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
            task = asyncio.create_task(pair.site.send_request("c", "t", "server", Message()))
            await asyncio.to_thread(gate.wait_arrived)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        pair.server.register_request_cb("c", "t", lambda request: Message({"fine": True}))
        assert (await pair.site.send_request("c", "t", "server", Message())).headers == {"fine": True}

    with_pair(carrier, test)


def test_a_cancelled_request_of_a_cell_that_stops_is_given_up(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        with Gate() as gate:
            pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
            asking = asyncio.create_task(pair.site.send_request("c", "t", "server", Message()))
            await asyncio.to_thread(gate.wait_arrived)
            # It waits for the request, unless nobody waits for that any more.
            stopping = asyncio.create_task(pair.site.stop(10 * PATIENCE_S))
            await asyncio.to_thread(eventually, lambda: "is being stopped" in repr(pair.site))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await stopping
        # It may have a reply for a cell that is gone.
        await pair.server.stop(0)

    with_pair(carrier, test)


@pytest.mark.parametrize("begun", [True, False])
def test_a_cancelled_broadcast_is_given_up(carrier: Carrier, begun: bool) -> None:
    async def test(pair: AioPair) -> None:
        with Gate() as gate:
            pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
            asking = asyncio.create_task(pair.site.broadcast_request("c", "t", ["server", "nobody"], Message()))
            if begun:
                await asyncio.to_thread(gate.wait_arrived)
            else:
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            # Would wait for them.
            await pair.site.stop(10 * PATIENCE_S)
        # It may have a reply for a cell that is gone.
        await pair.server.stop(0)

    with_pair(carrier, test)


# --- requests and the cell


def test_requests(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        fired: asyncio.Queue[bytes] = asyncio.Queue()

        async def answer(request: Message, factor: int) -> Message:
            await asyncio.sleep(0)
            await fired.put(bytes(request.payload))
            return Message({"answer": int(request.headers["n"]) * factor}, request.payload)

        pair.server.register_request_cb("c", "t", answer, factor=6)
        reply = await pair.site.send_request("c", "t", "server", Message({"n": 7}, DATA))
        assert (reply.headers, bytes(reply.payload)) == ({"answer": 42}, DATA)
        assert await fired.get() == DATA
        replies = await pair.site.broadcast_request("c", "t", ["server", "missing"], Message({"n": 1}), optional=True)
        assert list(replies) == ["server", "missing"]
        assert isinstance(replies["server"], Message)
        assert isinstance(replies["missing"], StreamTargetUnreachable)
        await fired.get()
        assert await pair.site.fire_and_forget("c", "t", "server", Message({"n": 1}, b"!")) == {"server": None}
        assert await fired.get() == b"!"

    with_pair(carrier, test)


def test_the_cell(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        assert (pair.server.fqcn, pair.at_server.get_chunk_size()) == ("server", 1 << 20)
        assert pair.server.loop is asyncio.get_running_loop()
        assert await pair.server.is_cell_connected("site")
        assert await pair.server.is_cell_reachable("site")
        assert (await pair.server.stats()).protocol.fqcn == "server"
        assert [cell.fqcn for cell in await pair.site.cells()] == ["server", "site"]
        assert [hop.fqcn for hop in await pair.site.trace("server")] == ["server"]
        pair.server.connect(pair.server.listen_urls)
        assert await pair.server.disconnect(pair.server.listen_urls)
        assert not await pair.server.disconnect(pair.server.listen_urls)
        events: asyncio.Queue[str] = asyncio.Queue()

        async def connected(name: str, word: str) -> None:
            await events.put(f"{name} {word}")

        async def disconnected(name: str) -> None:
            await events.put(f"{name} gone")

        pair.server.set_cell_connected_cb(connected, "there")
        pair.server.set_cell_disconnected_cb(disconnected)
        url = pair.server.listen_urls
        async with aio.CoreCell("third", connect=url, network=carrier.network) as third:
            assert await events.get() == "third there"
            assert "third" in repr(third)
        assert await events.get() == "third gone"

    with_pair(carrier, test)


def test_a_callback_for_links_may_await_a_transfer(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        sent: asyncio.Queue[int] = asyncio.Queue()

        async def greet(name: str) -> None:
            await sent.put(await (await pair.at_server.send_blob("c", "t", name, Message({}, b"hello"))))

        pair.server.set_cell_connected_cb(greet)
        third = aio.CoreCell("third", connect=pair.server.listen_urls, network=carrier.network)
        aio.StreamCell(third).register_blob_cb("c", "t", lambda future: None)
        async with third:
            assert await sent.get() == len(b"hello")

    with_pair(carrier, test)


def test_wait_connected_only_looks(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        for _ in range(50):
            await pair.site.wait_connected(0)

    with_pair(carrier, test)


@pytest.mark.parametrize("turns", range(12))
def test_a_cancelled_start_leaves_nothing_that_runs(carrier: Carrier, turns: int) -> None:
    async def main() -> None:
        cell = aio.CoreCell("server", listen=carrier.url, network=carrier.network, config=QUICK)
        starting = asyncio.create_task(cell.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if starting.cancelled():
            assert "is running" not in repr(cell)
        await cell.stop(0)
        assert "is running" not in repr(cell)

    asyncio.run(main())


def test_start_and_stop(carrier: Carrier) -> None:
    async def main() -> None:
        cell = aio.CoreCell("site", connect=carrier.nobody, network=carrier.network)
        with pytest.raises(UsageError, match="await start"):
            _ = cell.loop
        await cell.start()
        with pytest.raises(UsageError, match="new CoreCell"):
            await cell.start()
        with pytest.raises(LinkError):
            await cell.wait_connected(0.05)
        with pytest.raises(LinkError, match="has no link"):
            await cell.wait_connected(0)
        nonsense: list[Any] = [-1, "1", [], float("nan"), float("inf"), 10**400]
        for timeout in nonsense:
            with pytest.raises(UsageError, match="timeout must be a number of seconds"):
                await cell.wait_connected(timeout)
        waiting = asyncio.create_task(cell.wait_connected())
        future = await aio.StreamCell(cell).send_blob("c", "t", "server", Message({}, b""))
        await cell.stop(0)
        await cell.stop()
        with pytest.raises(CellError):
            await waiting
        with pytest.raises(CellError):
            await future

    asyncio.run(main())
