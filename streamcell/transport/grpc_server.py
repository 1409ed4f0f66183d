"""Listening for lanes over gRPC. Imports grpc (through ``environment``), ``base`` and values.

Each call of CellService.Exchange becomes a lane. The handler of the call only waits until the lane
is closed: who reads and writes are tasks of the lane's user. After the handler has returned, or was
cancelled because the caller has gone, ``grpc.aio`` may free the call at any time, so the lane never
begins anything on it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from streamcell.errors import ErrorCode, LinkError, UsageError, one_line
from streamcell.logs import get_logger
from streamcell.transport.address import Address
from streamcell.transport.base import Lane, LaneClosed, PeerInfo, check_batch_size
from streamcell.transport.binding import Binding, bind
from streamcell.transport.call_use import CallUse
from streamcell.transport.environment import aio, grpc
from streamcell.transport.options import server_options
from streamcell.transport.threads import starting_grpc_threads

if TYPE_CHECKING:
    from grpc import RpcMethodHandler
    from grpc.aio import Server, ServicerContext

    from streamcell.transport.services import Service

SERVICE = "streamcell.v1.CellService"
METHOD = "Exchange"

# How long closing waits for the other side to take what was sent before.
FLUSH_S = 1.0
# Lanes of one listener: as many as LINKS links with a control and a bulk lane each.
_LANES = 8192
_CLOSED_HERE = "the lane was closed here"
_CLOSED_THERE = "the other side ended the lane"

_logger = get_logger("streamcell.transport")


class GrpcServerLane:
    """A lane that arrived."""

    def __init__(self, context: ServicerContext[bytes, bytes], peer: PeerInfo) -> None:
        self._context = context
        self._peer = peer
        self._ended = ""
        self._released = asyncio.Event()
        self._finished = asyncio.Event()
        # The type stubs take a class of their own instead of any callable.
        context.add_done_callback(lambda _: self._finished.set())  # type: ignore[arg-type]
        self._use = CallUse(self._read, self._write)

    @property
    def peer(self) -> PeerInfo:
        """The other side, as the connection tells."""
        return self._peer

    async def send(self, batch: bytes) -> None:
        """Give a batch to gRPC; returns when it has room for the next one."""
        check_batch_size(batch)
        await self._use.send(batch)

    async def receive(self) -> bytes:
        """Return the next batch."""
        return await self._use.receive()

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """A server decides itself when a connection ends, and does not tell the calls on it."""

    async def close(self) -> None:
        """End the call after what was sent, and wait a moment for the other side to take it."""
        self._use.close(_CLOSED_HERE)
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._use.wait_written()
                self._released.set()
                await self._finished.wait()
                await self._use.wait_ended()
        except TimeoutError:
            _logger.debug("%s did not take all that was sent to it before the end", self._peer)
        finally:
            self._released.set()

    async def wait_closed(self) -> None:
        """Wait until close() is called. For the handler of the call."""
        await self._released.wait()

    def end(self, reason: str) -> None:
        """Begin nothing more on the call. What is under way ends by itself, since the call does."""
        self._ended = reason
        self._use.close(reason)

    async def _read(self) -> bytes:
        self._check_call()
        try:
            batch: object = await self._context.read()
        except aio.BaseError as error:
            raise LaneClosed(_broken(error)) from error
        if isinstance(batch, bytes):
            return batch
        raise LaneClosed(_CLOSED_THERE)

    async def _write(self, batch: bytes) -> None:
        self._check_call()
        try:
            await self._context.write(batch)
        except aio.BaseError as error:
            raise LaneClosed(_broken(error)) from error

    def _check_call(self) -> None:
        if self._ended:
            raise LaneClosed(self._ended)


def _broken(error: Exception) -> str:
    return f"the connection broke: {one_line(str(error))}"


class _NoFailedGoodbyes(logging.Filter):
    """Drops what grpc.aio logs as an error when a caller has gone before it was told the end."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(f"ExecuteBatchError raised in core by servicer method [/{SERVICE}/")


_no_failed_goodbyes = _NoFailedGoodbyes()


class GrpcListener:
    """A gRPC server and the lanes that have arrived at it. Made by :func:`listen`."""

    def __init__(
        self, on_lane: Callable[[Lane], None], services: Sequence[Service] = (), *, batch_threads: bool = True
    ) -> None:
        self._on_lane = on_lane
        self._lanes: set[GrpcServerLane] = set()
        self._closing = False
        self._binding: Binding | None = None
        with starting_grpc_threads(batch=batch_threads):
            self._server: Server = aio.server(options=server_options(), maximum_concurrent_rpcs=_LANES)
        exchange: RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._exchange)
        service = grpc.method_handlers_generic_handler(SERVICE, {METHOD: exchange})
        self._server.add_generic_rpc_handlers((service,))
        names = (SERVICE, *(name for each in services for name in each.names))
        for each in services:
            each.add_to(self._server, names)

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        return str(self._binding.address) if self._binding else ""

    async def start(self, address: Address) -> None:
        """Listen. To be called once.

        :raises LinkError: if the address is busy or cannot be used.
        """
        logging.getLogger("grpc._cython.cygrpc").addFilter(_no_failed_goodbyes)
        try:
            self._binding = await bind(self._server, address)
        finally:
            # Also if binding failed: only a server that was started can let go of what it holds.
            await self._server.start()
            if self._binding is None:
                await self._server.stop(None)

    async def close(self) -> None:
        """Stop listening and end all lanes that arrived here."""
        self._closing = True
        await asyncio.gather(self._server.stop(FLUSH_S), *(lane.close() for lane in tuple(self._lanes)))
        if self._binding is not None:
            self._binding.release()

    async def _exchange(self, _requests: object, context: ServicerContext[bytes, bytes]) -> None:
        if self._closing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the cell is stopping")
        # Otherwise grpc.aio sends them with the first batch, and again with the end of the call if
        # that comes while the first batch still waits; which fails.
        await context.send_initial_metadata(())
        lane = GrpcServerLane(context, PeerInfo(_peer_address(context.peer())))
        self._lanes.add(lane)
        try:
            self._on_lane(lane)
            await lane.wait_closed()
        finally:
            self._lanes.discard(lane)
            lane.end(_CLOSED_THERE)


async def listen(
    address: Address,
    on_lane: Callable[[Lane], None],
    *,
    insecure: bool,
    services: Sequence[Service] = (),
    batch_threads: bool = True,
) -> GrpcListener:
    """Listen at ``address`` and call ``on_lane`` for each lane that arrives.

    :param services: what is offered there beside lanes.
    :param batch_threads: see :func:`threads.starting_grpc_threads`.
    :param insecure: allow it though other machines can reach it, and nothing is encrypted.
    :raises UsageError: if it is not allowed.
    :raises LinkError: if the address is busy or cannot be used.
    """
    if not address.is_loopback:
        if not insecure:
            raise UsageError(
                f"{address} can be reached from other machines and is not encrypted: "
                "use grpcs:// with certificates, or allow it with insecure=True"
            )
        _logger.warning("listening at %s without encryption: everybody can read it", address)
    try:
        listener = GrpcListener(on_lane, services, batch_threads=batch_threads)
    except OSError as error:
        raise LinkError(f"cannot listen at {address} now: {error.strerror}", ErrorCode.LIMIT) from error
    await listener.start(address)
    return listener


def _peer_address(peer: str) -> str:
    """Return the address in what gRPC calls the peer, for example ``ipv6:%5B::1%5D:80``."""
    return unquote(peer).removeprefix("ipv4:").removeprefix("ipv6:")
