"""A long or narrow path between two cells: a TCP proxy that delays what passes, or lets so much of it pass."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

from tests.cells import PATIENCE_S

# Read at a time: on a narrow path connections take turns of this size.
_READ_BYTES = 8 * 1024
_WIDE_READ_BYTES = 64 * 1024
# What is on its way in one direction of one connection, at most: far more than any window needs.
_PIECES_UNDER_WAY = 4096


@dataclasses.dataclass(frozen=True)
class Path:
    """What the path is like.

    Args:
        round_trip_s: from one end to the other and back, half of it in each direction.
        bits_per_s: how much passes in each direction, of all connections together; 0: as much as there is.
    """

    round_trip_s: float = 0.0
    bits_per_s: int = 0


class Distance:
    """Forwards connections to one address, over a path. Runs on a loop of its own; for the test's thread."""

    def __init__(self, target_url: str, path: Path) -> None:
        target = urlsplit(target_url)
        self._target = target.hostname, target.port
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="distance", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._read_bytes = _READ_BYTES if path.bits_per_s else _WIDE_READ_BYTES
        self.url = ""

    def __enter__(self) -> Distance:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _start(self) -> None:
        self._lines = _Line(self._path), _Line(self._path)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=self._read_bytes)
        self.url = f"grpc://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            host, port = self._target
            far_reader, far_writer = await asyncio.open_connection(host, port, limit=self._read_bytes)
            writers.append(far_writer)
            up, down = self._lines
            await asyncio.gather(
                up.carry(reader, far_writer, self._read_bytes), down.carry(far_reader, writer, self._read_bytes)
            )
        except OSError:
            pass  # One end is gone: so is the connection, for both.
        finally:
            for each in writers:
                each.transport.abort()


class _Line:
    """One direction of the path, for all connections."""

    def __init__(self, path: Path) -> None:
        self._delay_s = path.round_trip_s / 2
        self._seconds_per_byte = 8 / path.bits_per_s if path.bits_per_s else 0.0
        self._free_at = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, read_bytes: int) -> None:
        """Carry one connection's bytes to their end."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)
        delivering = asyncio.ensure_future(self._deliver(under_way, writer))
        try:
            piece = b" "
            while piece:
                piece = await reader.read(read_bytes)
                await self._pass(len(piece))
                await under_way.put((self._loop_time() + self._delay_s, piece))
            await delivering
        finally:
            delivering.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await delivering

    async def _pass(self, size: int) -> None:
        """Wait for the line's turn and until so many bytes have entered it."""
        now = self._loop_time()
        self._free_at = max(self._free_at, now) + size * self._seconds_per_byte
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)

    async def _deliver(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - self._loop_time()))
            if not piece:
                writer.write_eof()
                return
            writer.write(piece)
            await writer.drain()

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()
