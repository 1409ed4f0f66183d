"""Every place in which a coroutine may call ``streamcell.aio``, and every public method to be called there."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from streamcell import Message, aio
from tests.adversity.places import LATE_S, Outcome, public_methods
from tests.kit.aio_cells import AioPair
from tests.kit.cells import Carrier
from tests.kit.waiting import PATIENCE_S

Call: TypeAlias = Callable[[], Any]
Act: TypeAlias = Callable[[], Awaitable[None]]


class Scene:
    """Two connected cells of the running loop, and a spare one."""

    def __init__(self, carrier: Carrier, pair: AioPair, spare: aio.CoreCell) -> None:
        self.carrier = carrier
        self.pair = pair
        self.spare = spare
        self.fresh = aio.CoreCell("fresh", network=carrier.network)
        self._streams: asyncio.Queue[aio.ReceivedStream] = asyncio.Queue()
        pair.server.register_request_cb("scene", "echo", self._answer)
        pair.at_server.register_blob_cb("scene", "*", self._take)
        pair.at_server.register_stream_cb("scene", "read", self._read)
        pair.at_server.register_stream_cb("scene", "keep", self._keep)

    async def calls(self) -> list[tuple[str, Call]]:
        """Return every public method, ready to be called with something to wait for."""
        calls = [(f"CoreCell.{name}", self._cell_call(name)) for name in public_methods(aio.CoreCell)]
        calls += [(f"StreamCell.{name}", self._stream_cell_call(name)) for name in public_methods(aio.StreamCell)]
        for name in public_methods(aio.StreamFuture):
            future = await self._send("read")
            arguments: tuple[Any, ...] = (lambda _: None,) if name == "add_done_callback" else ()
            calls.append((f"StreamFuture.{name}", _bound(future, name, arguments)))
        calls.append(("StreamFuture", _waiting(await self._send("read"))))
        for name in public_methods(aio.ReceivedStream):
            await self._send("keep")
            stream = await self._streams.get()
            calls.append((f"ReceivedStream.{name}", _bound(stream, name, (0,) if name == "resume_from" else ())))
        return calls

    async def _send(self, topic: str) -> aio.StreamFuture:
        return await self.pair.at_site.send_stream("scene", topic, "server", Message({}, _late()))

    def _cell_call(self, name: str) -> Call:
        url, message = self.pair.server.listen_urls, Message({}, b"hello")
        arguments: dict[str, tuple[Any, ...]] = {
            "broadcast_request": ("scene", "echo", ["server"], message),
            "connect": (url,),
            "disconnect": (url,),
            "fire_and_forget": ("scene", "echo", ["server"], message),
            "is_cell_connected": ("server",),
            "is_cell_reachable": ("server",),
            "register_request_cb": ("scene", "other", print),
            "send_request": ("scene", "echo", "server", message),
            "set_cell_connected_cb": (print,),
            "set_cell_disconnected_cb": (print,),
            "stop": (0,),
            "trace": ("server",),
            "reload_security": (),
            "wait_connected": (PATIENCE_S,),
        }
        if name == "run_in_loop":
            return lambda: self.pair.site.run_in_loop(asyncio.sleep(0))
        if name == "begin_in_loop":
            return lambda: self.pair.site.begin_in_loop(asyncio.sleep(0))
        cell = {"start": self.fresh, "stop": self.spare}.get(name, self.pair.site)
        return _bound(cell, name, arguments.get(name, ()))

    def _stream_cell_call(self, name: str) -> Call:
        arguments: dict[str, tuple[Any, ...]] = {
            "register_blob_cb": ("scene", "other", print),
            "register_stream_cb": ("scene", "other", print),
            "send_blob": ("scene", "blob", "server", Message({}, b"blob")),
            "send_stream": ("scene", "read", "server", Message({}, iter([b"piece"]))),
            "unregister_blob_cb": ("scene", "other"),
            "unregister_stream_cb": ("scene", "other"),
        }
        return _bound(self.pair.at_site, name, arguments.get(name, ()))

    async def _answer(self, request: Message) -> Message:
        return Message({}, bytes(request.payload))

    async def _take(self, future: aio.StreamFuture) -> None:
        future.result()

    async def _read(self, future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
        await stream.read(-1)

    async def _keep(self, future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
        await self._streams.put(stream)


def _late() -> Iterator[bytes]:
    time.sleep(LATE_S)
    yield b"one\ntwo\n"


def _bound(what: object, name: str, arguments: tuple[Any, ...]) -> Call:
    return lambda: getattr(what, name)(*arguments)


def _waiting(future: aio.StreamFuture) -> Call:
    async def wait() -> object:
        return await future

    return wait


async def make_all(calls: list[tuple[str, Call]]) -> list[Outcome]:
    """Make all calls in this task."""
    return [await _outcome_of(name, call) for name, call in calls]


async def _outcome_of(name: str, call: Call) -> Outcome:
    begun = time.monotonic()
    result: object = None
    error: BaseException | None = None
    try:
        result = call()
        if inspect.isawaitable(result):
            result = await result
        elif isinstance(result, AsyncIterator):
            result = [each async for each in result]
    except Exception as raised:  # noqa: BLE001
        error = raised
    return Outcome(name, time.monotonic() - begun, result, error)


# --- the places: each has ``act`` awaited where its name says


async def in_the_program(_: Scene, act: Act) -> None:
    await act()


async def in_a_stream_callback(on: Scene, act: Act) -> None:
    async def callback(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
        await act()

    on.pair.at_server.register_stream_cb("place", "here", callback)
    await on.pair.at_site.send_stream("place", "here", "server", Message({}, b"piece"))


async def in_a_blob_callback(on: Scene, act: Act) -> None:
    async def callback(future: aio.StreamFuture) -> None:
        await act()

    on.pair.at_server.register_blob_cb("place", "here", callback)
    await on.pair.at_site.send_blob("place", "here", "server", Message({}, b"blob"))


async def in_a_request_callback(on: Scene, act: Act) -> None:
    async def callback(request: Message) -> None:
        await act()

    on.pair.server.register_request_cb("place", "here", callback)
    await on.pair.site.fire_and_forget("place", "here", "server", Message())


async def in_a_connected_callback(on: Scene, act: Act) -> None:
    async def callback(name: str) -> None:
        await act()

    on.pair.server.set_cell_connected_cb(callback)
    late = aio.CoreCell("late", connect=on.pair.server.listen_urls, network=on.carrier.network)
    await late.start()


AIO_PLACES: dict[str, Callable[[Scene, Act], Awaitable[None]]] = {
    name.removeprefix("in_"): place for name, place in list(globals().items()) if name.startswith("in_")
}
