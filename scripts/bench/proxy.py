"""A narrow path: a TCP proxy on the loopback interface that lets so many bits a second pass in each direction.

`python -m scripts.bench.proxy PORT BITS_PER_SECOND`. All connections share one line in each direction, which serves
them in the order in which they come, a piece at a time, as a router does that queues fairly. What a connection has not
got through stays in that connection's own buffers, so a full one delays the others by no more than a piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

PIECE_BYTES = 8192
# What an idle moment may be made up for: about what a timer is late.
SLACK_S = 0.002


class Line:
    """One direction of the path."""

    def __init__(self, bits_per_s: int) -> None:
        self._seconds_per_byte = 8 / bits_per_s
        self._free_at = 0.0

    async def pass_through(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - SLACK_S) + size * self._seconds_per_byte
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


async def pump(line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction of one connection to its end."""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(PIECE_BYTES):
            await line.pass_through(len(piece))
            writer.write(piece)
            await writer.drain()
    writer.close()


async def serve(port: int, bits_per_s: int) -> None:
    there, back = Line(bits_per_s), Line(bits_per_s)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, limit=PIECE_BYTES)
        await asyncio.gather(pump(there, reader, far_writer), pump(back, far_reader, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0, limit=PIECE_BYTES)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    # Until the benchmark closes the input.
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
