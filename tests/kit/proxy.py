"""A TCP proxy between two cells, which a test can cut, stop or disturb at any byte."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import math
import random
import socket
import struct
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.kit.waiting import PATIENCE_S

T = TypeVar("T")
# Something that talks on a connection instead of forwarding it.
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_READ_BYTES = 64 * 1024
# A close with this linger throws away what was not sent, and sends a reset.
_RESET = struct.pack("ii", 1, 0)


class Way(enum.Enum):
    """Which way bytes go."""

    UP = "to the listener"
    DOWN = "to the dialler"


@dataclasses.dataclass(slots=True)
class Path:
    """What the path is like. Times in seconds, of each piece that passes; ``limit_bytes``: of each connection."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = math.inf
    slice_bytes: int = _READ_BYTES
    limit_bytes: float = math.inf
    idle_s: float = math.inf
    slow_close_s: float = 0.0
    refuses: bool = False


class _Connection:
    """The two sockets of one connection, and what is open between them. ``writers``: towards each way's end."""

    def __init__(self, flows: dict[Way, bool]) -> None:
        self.writers: dict[Way, asyncio.StreamWriter] = {}
        self.open = {way: asyncio.Event() for way in Way}
        self.abandoned: set[Way] = set()
        self.passed = 0
        self.used_at = time.monotonic()
        for way, flowing in flows.items():
            if flowing:
                self.open[way].set()


class Proxy:
    """Forwards connections to one address. Runs on a loop of its own; all methods are for the test's thread.

    Except those that end in ``_now``: they are for faults (see ``strike``), which run on the loop.
    """

    def __init__(self, target_url: str, seed: int = 0) -> None:
        target = urlsplit(target_url)
        self._target = target.hostname, target.port
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: dict[_Connection, None] = {}
        # All that are open, also those that are closed later, or when what is left to write was taken.
        self._open: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = dict.fromkeys(Way, True)
        self._strike_at = dict.fromkeys(Way, math.inf)
        self._strikes: dict[Way, Callable[[Proxy], None]] = {}
        self._every = dict.fromkeys(Way, math.inf)
        #: What the path is like.
        self.path = Path()
        #: Bytes forwarded so far.
        self.passed = dict.fromkeys(Way, 0)
        #: Connections taken so far.
        self.connections = 0
        #: How often connections were cut, or a fault struck.
        self.cuts = 0
        #: When the path was last whole again after a fault (as ``time.monotonic``), or None.
        self.healed_at: float | None = None
        self.url = ""
        self._answer: Answer | None = None

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    # For the test.

    def cut(self) -> None:
        """Break all connections."""
        self._do(self.reset_now)

    def cut_after(self, way: Way, size: int) -> None:
        """Break all connections when ``size`` more bytes have passed that way; once."""
        self.strike(way, size, Proxy.end_now)

    def cut_every(self, way: Way, size: int) -> None:
        """Break all connections each time when ``size`` more bytes have passed that way."""
        self._do(self._arm, way, size, Proxy.end_now, size)

    def strike(self, way: Way, size: int, fault: Callable[[Proxy], None]) -> None:
        """Let a fault happen when ``size`` more bytes have passed that way; once."""
        self._do(self._arm, way, size, fault)

    def strike_at_once(self, fault: Callable[[Proxy], None]) -> None:
        """Let a fault happen now."""
        self._do(fault, self)

    def disarm(self) -> None:
        """Take back the cuts and faults that have not happened."""
        for way in Way:
            self._do(self._arm, way, math.inf, Proxy.end_now)

    def heal(self) -> None:
        """Take back what has not happened, and make the path as it was at first; abandoned connections stay so."""
        self.disarm()
        self._do(self._heal_now)

    def stall(self) -> None:
        """Let nothing pass, in any connection, old or new."""
        self._do(self.flow_now, False)

    def release(self) -> None:
        """Let everything pass again, in order."""
        self._do(self.flow_now, True)

    def abandon(self) -> None:
        """Let nothing pass in the connections that there are, for ever; new ones work."""
        self._do(self.abandon_now)

    def answer(self, answer: Answer | None) -> None:
        """Break all connections; from now on talk on new ones in place of the listener, or forward them again."""
        self._do(self._answer_now, answer)

    def _do(self, action: Callable[..., None], *arguments: Any) -> None:
        async def act() -> None:
            action(*arguments)

        self._call(act())

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    # For faults, on the loop.

    def end_now(self) -> None:
        """End all connections after what was forwarded has gone out."""
        self._drop_all(asyncio.StreamWriter.close)

    def reset_now(self) -> None:
        """Reset all connections: what was not sent is lost."""
        self._drop_all(_reset)

    def end_in_turn_now(self, pause_s: float) -> None:
        """End all connections, towards the dialler ``pause_s`` later than towards the listener."""
        for connection in self._connections:
            for way, writer in connection.writers.items():
                self.later(0.0 if way is Way.UP else pause_s, writer.close)
        self._connections.clear()
        self.later(pause_s, self.healed_now)

    def flow_now(self, flowing: bool, *ways: Way) -> None:
        """Let bytes pass or not, in those ways (default: both), in any connection, old or new."""
        for way in ways or Way:
            self._flows[way] = flowing
            for connection in self._connections:
                if flowing and way not in connection.abandoned:
                    connection.open[way].set()
                else:
                    connection.open[way].clear()

    def abandon_now(self, *ways: Way) -> None:
        """Let nothing pass in those ways (default: both) in the connections that there are, for ever."""
        for connection in self._connections:
            connection.abandoned.update(ways or Way)
            for way in connection.abandoned:
                connection.open[way].clear()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self._loop.call_later(seconds, action)

    def healed_now(self) -> None:
        """Take note that the path is whole again."""
        self.healed_at = time.monotonic()

    def forget_healing(self) -> None:
        """Take it that the path was never whole again."""
        self.healed_at = None

    def _answer_now(self, answer: Answer | None) -> None:
        self._answer = answer
        self.reset_now()

    def _heal_now(self) -> None:
        self.path = Path()
        self.flow_now(True)

    def _arm(self, way: Way, size: float, fault: Callable[[Proxy], None], every: float = math.inf) -> None:
        self._strike_at[way] = self.passed[way] + size
        self._strikes[way] = fault
        self._every[way] = every

    def _drop_all(self, drop: Callable[[asyncio.StreamWriter], None]) -> None:
        for connection in self._connections:
            for writer in connection.writers.values():
                drop(writer)
        self._connections.clear()

    # Forwarding.

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"grpc://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        # What is being accepted now is still to come here. It would be lost, not closed, if the server closed first.
        self.path = Path(refuses=True)
        self.reset_now()
        for task in self._tasks:
            task.cancel()
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(rest)
        for transport in list(self._open):
            transport.abort()
        if self._server is not None:
            self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer.transport)
        if self.path.refuses:
            _reset(writer)
            return
        connection = _Connection(self._flows)
        connection.writers[Way.DOWN] = writer
        self._connections[connection] = None
        if self._answer is not None:
            self._begin(self._talk(self._answer, connection, reader, writer))
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            self._connections.pop(connection, None)
            _reset(writer)
            return
        self._open.add(there_writer.transport)
        connection.writers[Way.UP] = there_writer
        if connection not in self._connections:
            # It was dropped meanwhile.
            _reset(there_writer)
            return
        self._begin(self._forward(Way.UP, connection, reader))
        self._begin(self._forward(Way.DOWN, connection, there_reader))
        if self.path.idle_s < math.inf:
            self._begin(self._end_when_idle(connection, self.path.idle_s))

    async def _talk(
        self, answer: Answer, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()
        self._connections.pop(connection, None)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, way: Way, connection: _Connection, reader: asyncio.StreamReader) -> None:
        writer = connection.writers[way]
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                while data and connection in self._connections:
                    await connection.open[way].wait()
                    data = data[await self._pass(way, connection, writer, data) :]
        if self.path.slow_close_s and connection in self._connections:
            await asyncio.sleep(self.path.slow_close_s)
        writer.close()
        if all(each.is_closing() for each in connection.writers.values()):
            self._connections.pop(connection, None)

    async def _pass(self, way: Way, connection: _Connection, writer: asyncio.StreamWriter, data: bytes) -> int:
        """Let some of ``data`` pass, as the path is, and return how much."""
        path = self.path
        pause_s = path.latency_s + path.jitter_s * self._random.random()
        left = self._strike_at[way] - self.passed[way]
        size = int(max(0, min(len(data), left, path.slice_bytes, path.limit_bytes - connection.passed)))
        if path.bytes_per_s < math.inf:
            # So that a slow path is slow evenly.
            size = min(size, max(1, int(path.bytes_per_s * 0.02)))
            pause_s += size / path.bytes_per_s
        if pause_s > 0:
            await asyncio.sleep(pause_s)
            # Another connection may have come first.
            size = int(max(0, min(size, self._strike_at[way] - self.passed[way])))
        self.passed[way] += size
        connection.passed += size
        connection.used_at = time.monotonic()
        writer.write(data[:size])
        await writer.drain()
        if self.passed[way] >= self._strike_at[way]:
            self.cuts += 1
            self._strike_at[way] = self.passed[way] + self._every[way]
            self._strikes[way](self)
        elif connection.passed >= path.limit_bytes:
            self.cuts += 1
            self._connections.pop(connection, None)
            for each in connection.writers.values():
                each.close()
        return size

    async def _end_when_idle(self, connection: _Connection, idle_s: float) -> None:
        while connection in self._connections:
            left_s = connection.used_at + idle_s - time.monotonic()
            if left_s > 0:
                await asyncio.sleep(left_s)
                continue
            self.cuts += 1
            self._connections.pop(connection, None)
            for writer in connection.writers.values():
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, with a reset instead of an end."""
    connected: socket.socket | None = writer.get_extra_info("socket")
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextlib.contextmanager
def proxy_to(url: str, seed: int = 0) -> Iterator[Proxy]:
    """Run a proxy to the cell that listens at ``url``."""
    with Proxy(url, seed) as proxy:
        yield proxy
