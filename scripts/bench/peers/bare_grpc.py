"""grpc.aio without anything around it: one bidirectional stream of byte messages of 1 MiB.

The yardstick. It has the same allocator settings and the same channel options as streamcell, and nothing of what makes
a transfer reliable: no checksum, no confirmation but one at the end, no flow control but gRPC's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from scripts.bench.peers.base import PIECE, Client
from streamcell.runtime.allocator import tune_allocator
from streamcell.transport.environment import aio, grpc
from streamcell.transport.options import channel_options, server_options

if TYPE_CHECKING:
    from grpc import RpcMethodHandler
    from grpc.aio import Channel, StreamStreamCall

SERVICE, METHOD = "streamcell.bench.Bare", "Discard"
START_S = 20.0
CONFIRMATION = b"all of it"


async def discard(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
    """Read to the end and confirm."""
    async for _ in requests:
        pass
    yield CONFIRMATION


class BareGrpcClient:
    """The sending end."""

    def __init__(self, loop: asyncio.Runner, channel: Channel) -> None:
        self._loop = loop
        self._channel = channel

    def send_stream(self, size_bytes: int) -> None:
        self._loop.run(self._send_stream(size_bytes))

    def send_blob(self, blob: bytearray) -> None:
        raise NotImplementedError

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        raise NotImplementedError

    async def _send_stream(self, size_bytes: int) -> None:
        call: StreamStreamCall[bytes, bytes] = self._channel.stream_stream(f"/{SERVICE}/{METHOD}")()
        for _ in range(size_bytes // len(PIECE)):
            await call.write(PIECE)
        await call.done_writing()
        if await call.read() != CONFIRMATION:
            raise RuntimeError("the other end did not confirm")


class BareGrpcPeer:
    """A server and a channel."""

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        tune_allocator()
        with asyncio.Runner() as loop:
            server = aio.server(options=server_options())
            handler: RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(discard)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
            port = server.add_insecure_port("127.0.0.1:0")
            loop.run(server.start())
            with _running(loop.get_loop()):
                yield f"127.0.0.1:{port}"
            loop.run(server.stop(None))

    @contextlib.contextmanager
    def connect(self, address: str) -> Iterator[Client]:
        tune_allocator()
        with asyncio.Runner() as loop:
            # Created on the loop that uses it.
            channel = loop.run(_open(address))
            yield BareGrpcClient(loop, channel)
            loop.run(channel.close())


async def _open(address: str) -> Channel:
    channel = aio.insecure_channel(address, options=channel_options(local=True, connect_s=START_S))
    await channel.channel_ready()
    return channel


@contextlib.contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Run the loop in a thread, as streamcell does, while the main thread waits for commands."""
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
