"""grpc.aio without anything around it: bidirectional streams of 1 MiB byte messages, on a connection each.

The yardstick. It has the same channel options as streamcell, and nothing of what makes a transfer reliable: no
checksum, no confirmation but one at the end, no flow control but gRPC's.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from scripts.bench.peers.base import WAIT_S, Client, Pieces, StreamOnlyClient, Tally
from streamcell.transport.grpc.environment import aio, grpc
from streamcell.transport.grpc.options import channel_options, server_options

if TYPE_CHECKING:
    from grpc import RpcMethodHandler
    from grpc.aio import Channel, StreamStreamCall

SERVICE, METHOD = "streamcell.bench.Bare", "Discard"
START_S = 20.0


class Loop:
    """An event loop in a thread of its own, as streamcell has one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="bench-loop", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)


class BareGrpcClient(StreamOnlyClient):
    """The sending end."""

    def __init__(self, loop: Loop, channels: list[Channel]) -> None:
        self._loop = loop
        self._channels = channels

    def send_stream(self, pieces: Pieces) -> None:
        self._loop.run(self._send_all(pieces))

    async def _send_all(self, pieces: Pieces) -> None:
        """Let the calls take turns: whichever can write takes the next piece."""
        confirmed = await asyncio.gather(*(self._send_on(channel, pieces) for channel in self._channels))
        if sum(confirmed) != pieces.size:
            raise RuntimeError("the other end did not confirm all")

    async def _send_on(self, channel: Channel, pieces: Pieces) -> int:
        call = begin_call(channel)
        while piece := pieces.take():
            await call.write(piece)
        await call.done_writing()
        return int.from_bytes(await read_confirmation(call), "big")


def begin_call(channel: Channel) -> StreamStreamCall[bytes, bytes]:
    call: StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
    return call


async def read_confirmation(call: StreamStreamCall[bytes, bytes]) -> bytes:
    confirmation = await call.read()
    if not isinstance(confirmation, bytes):
        raise RuntimeError("the other end did not confirm")
    return confirmation


class BareGrpcPeer:
    """A server, and so many channels with a call each; between them perhaps a relay, which has both."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._loop = Loop()
        self._turns = itertools.count()

    def serve(self, tally: Tally) -> str:
        async def discard(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
            """Read to the end and confirm."""
            size = 0
            async for piece in requests:
                size += len(piece)
            tally.add(size)
            yield size.to_bytes(8, "big")

        return f"127.0.0.1:{self._loop.run(self._serve(discard))}"

    def relay(self, address: str) -> str:
        channels = self._open_all(address)

        async def forward(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
            """Pass on each piece as it came, on a call of its own, and the confirmation back."""
            call = begin_call(channels[next(self._turns) % len(channels)])
            async for piece in requests:
                await call.write(piece)
            await call.done_writing()
            yield await read_confirmation(call)

        return f"127.0.0.1:{self._loop.run(self._serve(forward))}"

    def connect(self, address: str) -> Client:
        return BareGrpcClient(self._loop, self._open_all(address))

    def _open_all(self, address: str) -> list[Channel]:
        return [self._loop.run(self._open(address)) for _ in range(self._calls)]

    async def _serve(self, answer: Callable[[AsyncIterator[bytes], object], AsyncIterator[bytes]]) -> int:
        self._server = aio.server(options=server_options())
        handler: RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(answer)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        port: int = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def _open(self, address: str) -> Channel:
        channel = aio.insecure_channel(address, options=channel_options(proxy_url="", connect_s=START_S))
        await channel.channel_ready()
        return channel


make = BareGrpcPeer
