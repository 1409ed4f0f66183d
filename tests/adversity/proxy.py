"""A TCP proxy between two cells, which a test can cut or stop at any byte."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.cells import PATIENCE_S

T = TypeVar("T")

_READ_BYTES = 64 * 1024


class Way(enum.Enum):
    """Which way bytes go."""

    UP = "to the listener"
    DOWN = "to the dialler"


class Proxy:
    """Forwards connections to one address. Runs on a loop of its own; all methods are for the test's thread."""

    def __init__(self, target_url: str) -> None:
        target = urlsplit(target_url)
        self._target = target.hostname, target.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._cut_at = dict.fromkeys(Way, math.inf)
        self._following = dict.fromkeys(Way, math.inf)
        #: Bytes forwarded so far.
        self.passed = dict.fromkeys(Way, 0)
        #: Connections taken so far.
        self.connections = 0
        #: How often connections were cut.
        self.cuts = 0
        self.url = ""

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def cut(self) -> None:
        """Break all connections."""
        self._call(self._cut())

    def cut_after(self, way: Way, size: int) -> None:
        """Break all connections when ``size`` more bytes have passed that way; once."""
        self._call(self._arm(way, size))

    def cut_every(self, way: Way, size: int) -> None:
        """Break all connections each time when ``size`` more bytes have passed that way."""
        self._call(self._arm(way, size, size))

    def disarm(self) -> None:
        """Take back the cuts that have not happened."""
        for way in Way:
            self._call(self._arm(way, math.inf))

    def stall(self) -> None:
        """Let nothing pass, in any connection, old or new."""
        self._call(self._set_flowing(False))

    def release(self) -> None:
        """Let everything pass again, in order."""
        self._call(self._set_flowing(True))

    def abandon(self) -> None:
        """Let nothing pass in the connections that there are, for ever; new ones work."""
        self._call(self._abandon())

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _start(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"grpc://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _arm(self, way: Way, size: float, following: float = math.inf) -> None:
        self._cut_at[way] = self.passed[way] + size
        self._following[way] = following

    async def _set_flowing(self, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _abandon(self) -> None:
        # Those that flow now wait for this event, which nobody sets.
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        flowing = self._flowing
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection(*self._target)
            self._writers.add(there_writer)
            for task in (
                self._loop.create_task(self._forward(Way.UP, reader, there_writer, flowing)),
                self._loop.create_task(self._forward(Way.DOWN, there_reader, writer, flowing)),
            ):
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _forward(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                await flowing.wait()
                left = self._cut_at[way] - self.passed[way]
                if len(data) >= left:
                    writer.write(data[: int(left)])
                    self._cut_at[way] = self.passed[way] + self._following[way]
                    self.cuts += 1
                    self._end_all()
                    return
                self.passed[way] += len(data)
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _end_all(self) -> None:
        """End all connections after what was forwarded has gone out."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@contextlib.contextmanager
def proxy_to(url: str) -> Iterator[Proxy]:
    """Run a proxy to the cell that listens at ``url``."""
    with Proxy(url) as proxy:
        yield proxy
