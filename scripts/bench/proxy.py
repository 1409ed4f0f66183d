"""A network path: a TCP proxy on the loopback interface that makes it as narrow and as long as it is told.

`python -m scripts.bench.proxy PORT BITS_PER_SECOND ROUND_TRIP_S`; 0 bits a second: as much as there is. All connections
share one line in each direction, which serves them in the order in which they come, a piece at a time, as a router does
that queues fairly. What a connection has not got through stays in that connection's own buffers, so a full one delays
the others by no more than a piece. What has got through arrives half a round trip later.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
from typing import TypeAlias

# On a narrow path; on one that is only long, larger ones spare time.
PIECE_BYTES, WIDE_PIECE_BYTES = 8 * 1024, 256 * 1024
# What is on its way in a direction of a connection at most. No window of what is measured is larger.
PIECES_UNDER_WAY = 256
# What an idle moment may be made up for: about what a timer is late.
SLACK_S = 0.002

# When it arrives, and what; None at the end.
UnderWay: TypeAlias = asyncio.Queue[tuple[float, bytes] | None]


@dataclasses.dataclass(frozen=True)
class NetworkPath:
    """What a path is like.

    Args:
        bits_per_s: how much passes in each direction, of all connections together; 0: as much as there is.
        round_trip_s: from one end to the other and back, half of it in each direction.
    """

    bits_per_s: int = 0
    round_trip_s: float = 0.0


class Line:
    """One direction of the path."""

    def __init__(self, path: NetworkPath) -> None:
        self._seconds_per_byte = 8 / path.bits_per_s if path.bits_per_s else 0.0
        self._delay_s = path.round_trip_s / 2
        self._free_at = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece_bytes: int) -> None:
        """Carry this direction of one connection to its end."""
        under_way: UnderWay = asyncio.Queue(PIECES_UNDER_WAY)
        await asyncio.gather(self._take_in(reader, under_way, piece_bytes), self._give_out(under_way, writer))

    async def _take_in(self, reader: asyncio.StreamReader, under_way: UnderWay, piece_bytes: int) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(piece_bytes):
                await self._pass_through(len(piece))
                await under_way.put((_now() + self._delay_s, piece))
        await under_way.put(None)

    async def _pass_through(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        now = _now()
        self._free_at = max(self._free_at, now - SLACK_S) + size * self._seconds_per_byte
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)

    async def _give_out(self, under_way: UnderWay, writer: asyncio.StreamWriter) -> None:
        while (entry := await under_way.get()) is not None:
            due, piece = entry
            if due > _now():
                await asyncio.sleep(due - _now())
            # What comes for a connection that has ended is nobody's.
            with contextlib.suppress(OSError):
                writer.write(piece)
                await writer.drain()
        writer.close()


class Proxy:
    """Forwards connections to a port of this machine. On the running loop."""

    def __init__(self, port: int, path: NetworkPath) -> None:
        self._port = port
        self._up, self._down = Line(path), Line(path)
        self._piece_bytes = PIECE_BYTES if path.bits_per_s else WIDE_PIECE_BYTES
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Begin to accept connections, and return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=self._piece_bytes)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Break all connections."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port, limit=self._piece_bytes)
            writers.append(far_writer)
            await asyncio.gather(
                self._up.carry(reader, far_writer, self._piece_bytes),
                self._down.carry(far_reader, writer, self._piece_bytes),
            )
        except asyncio.CancelledError:
            for each in writers:
                each.transport.abort()
            raise
        except OSError:
            writer.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def serve(port: int, path: NetworkPath) -> None:
    """Forward until the benchmark closes the input."""
    proxy = Proxy(port, path)
    print(json.dumps({"port": await proxy.start()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), NetworkPath(int(sys.argv[2]), float(sys.argv[3]))))
