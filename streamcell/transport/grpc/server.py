"""Listening for lanes over gRPC.

Each call of CellService.Exchange becomes a lane. The handler of the call only waits until the lane
is closed: who reads and writes are tasks of the lane's user. After the handler has returned, or was
cancelled because the caller has gone, ``grpc.aio`` may free the call at any time, so the lane never
begins anything on it again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from streamcell.errors import AuthenticationError, ErrorCode, LinkError, UsageError, one_line
from streamcell.lines import NeighbourLog
from streamcell.logs import get_logger
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Parts
from streamcell.security.credentials import Credentials
from streamcell.security.identity import Identity
from streamcell.security.tokens import proof_of
from streamcell.transport.address import Address, origin_of
from streamcell.transport.base import Carrier, LaneClosed, check_batch_size
from streamcell.transport.grpc.accepting import can_open, close_copies
from streamcell.transport.grpc.binding import Binding, bind
from streamcell.transport.grpc.call_use import CallUse
from streamcell.transport.grpc.callers import Tokens, shown_in
from streamcell.transport.grpc.environment import aio, grpc
from streamcell.transport.grpc.guard import ReflectionGuard
from streamcell.transport.grpc.newcomers import Newcomers
from streamcell.transport.grpc.options import server_options
from streamcell.transport.grpc.serving import CELL_SERVICE, Service
from streamcell.transport.grpc.threads import starting_grpc_threads
from streamcell.transport.grpc.tls import certificates_of, server_credentials
from streamcell.transport.parts import join

if TYPE_CHECKING:
    from grpc import RpcMethodHandler
    from grpc.aio import Server, ServicerContext


_METHOD = "Exchange"

# How long closing waits for the other side to take what was sent before.
FLUSH_S = 1.0
# How often it is looked whether connections wait that gRPC does not accept, and how many times in a row that may be so.
# It tries again after a second when it is short of descriptors.
CHECK_S = 1.0
DEAF_AFTER = 3
# How long lanes of a server that was left may take to move to the new one.
MOVE_S = 30.0
_CLOSED_HERE = "the lane was closed here"
_STOPPING = "the cell is stopping"
_CLOSED_THERE = "the other side ended the lane"
# For how long who comes while many tokens are looked at is to stay away, and up to twice as long.
_TOKENS_AGAIN_S = 1.0
_SENT_AWAY = "more cells come than can be answered: come again later"
# By which a caller that is sent away is told for how many milliseconds, in decimal.
RETRY_AFTER_KEY = "streamcell-retry-after-ms"

_logger = get_logger("streamcell.transport")


class GrpcServerCarrier:
    """Carries a lane that arrived."""

    def __init__(
        self, context: ServicerContext[bytes, bytes], info: CarrierInfo, origin: str, newcomers: Newcomers
    ) -> None:
        self._context = context
        self._info = info
        #: The address that it comes from, without the port, of IPv6 the network of 64 bits; empty: one of this machine.
        self.origin = origin
        self._newcomers = newcomers
        # Whether the first batch has come, and whether it was answered.
        self._heard = self._answered = False
        #: How long to stay away, if that is what it is told.
        self.retry_after_s: float | None = None
        self._ended = ""
        self._released = asyncio.Event()
        self._finished = asyncio.Event()
        # The type stubs take a class of their own instead of any callable.
        context.add_done_callback(lambda _: self._finished.set())  # type: ignore[arg-type]
        self._use = CallUse(self._read, self._write)

    @property
    def info(self) -> CarrierInfo:
        """That it is gRPC, and the other side, as the connection tells."""
        return self._info

    async def send(self, batch: Parts) -> None:
        """Give a batch to gRPC, joined; returns when it has room for the next one."""
        check_batch_size(batch)
        await self._use.send(batch)
        if not self._answered:
            self._answered = True
            self._newcomers.on_end(self)

    async def receive(self) -> Parts:
        """Return the next batch, as one part of the receiver's own. The first one when there is time to answer it."""
        batch = await self._use.receive()
        if not self._heard:
            self._heard = True
            await self._newcomers.wait_turn(self)
            self._use.check_readable()
        return (batch,)

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """A server decides itself when a connection ends, and does not tell the calls on it."""

    async def close(self) -> None:
        """End the call after what was sent, and wait a moment for the other side to take it."""
        self._use.close(_CLOSED_HERE)
        self._newcomers.on_end(self)
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._use.wait_written()
                self._released.set()
                await self._finished.wait()
                await self._use.wait_ended()
                self._use.let_go()
        except TimeoutError:
            _logger.debug("%s did not take all that was sent to it before the end", self._info.address)
        finally:
            self._released.set()

    async def wait_closed(self) -> None:
        """Wait until close() is called. For the handler of the call."""
        await self._released.wait()

    def end(self, reason: str) -> None:
        """Begin nothing more on the call. What is under way ends by itself, since the call does."""
        self._ended = reason
        self._use.close(reason)
        self._newcomers.on_end(self)

    def send_away(self, retry_after_s: float) -> None:
        """Have the call end with the answer to come again later."""
        self.retry_after_s = retry_after_s
        self._use.close(_SENT_AWAY)
        self._released.set()

    async def _read(self) -> bytes:
        self._check_call()
        try:
            batch: object = await self._context.read()
        except aio.BaseError as error:
            raise LaneClosed(_broken(error)) from error
        if isinstance(batch, bytes):
            return batch
        raise LaneClosed(_CLOSED_THERE)

    async def _write(self, batch: Parts) -> None:
        self._check_call()
        try:
            await self._context.write(join(batch))
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
        return not record.getMessage().startswith(
            f"ExecuteBatchError raised in core by servicer method [/{CELL_SERVICE}/"
        )


_no_failed_goodbyes = _NoFailedGoodbyes()


class GrpcListener:
    """A gRPC server and the lanes that have arrived at it. Made by :func:`listen`."""

    def __init__(
        self,
        on_lane: Callable[[Carrier], None],
        services: Sequence[Service] = (),
        *,
        batch_threads: bool = True,
        credentials: Credentials | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._on_lane = on_lane
        self._credentials = credentials
        self._tokens = tokens if tokens is not None and tokens.are_asked_for else None
        self._services = tuple(services)
        self._lanes: set[GrpcServerCarrier] = set()
        self._newcomers = Newcomers(lambda: self.url)
        # Anybody who reaches the port can have lines written here.
        self._refusals = NeighbourLog(_logger)
        # All that have ever arrived.
        self._arrived = 0
        self._closing = False
        self._binding: Binding | None = None
        self._watching: asyncio.Task[None] | None = None
        # Servers whose place another has taken, on their way to their end.
        self._leaving: set[asyncio.Task[None]] = set()
        with starting_grpc_threads(batch=batch_threads):
            self._server = self._make_server()

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
            self._binding = await _bind_and_start(self._server, address, self._server_credentials())
        except LinkError:
            await self._server.stop(None)
            raise
        self._watching = asyncio.get_running_loop().create_task(self._watch(self._binding), name=f"watch {self.url}")

    async def close(self) -> None:
        """Stop listening and end all lanes that arrived here."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
        ending = [lane.close() for lane in tuple(self._lanes)]
        await asyncio.gather(self._server.stop(FLUSH_S), *ending, *self._leaving)
        if self._binding is not None:
            self._binding.release()

    def leave_to_parent(self) -> None:
        """Close, in a forked child, what listens here and what was accepted here."""
        if self._binding is not None:
            close_copies(self._binding.sockets)

    def _make_server(self) -> Server:
        guards = [] if self._tokens is None else [ReflectionGuard(self._identify)]
        server: Server = aio.server(options=server_options(), interceptors=guards)
        exchange: RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._exchange)
        service = grpc.method_handlers_generic_handler(CELL_SERVICE, {_METHOD: exchange})
        server.add_generic_rpc_handlers((service,))
        names = (CELL_SERVICE, *(name for each in self._services for name in each.names))
        for each in self._services:
            each.add_to(server, names)
        return server

    def _server_credentials(self) -> grpc.ServerCredentials | None:
        credentials = self._credentials
        if credentials is None:
            return None
        return server_credentials(
            lambda: credentials.material, require_client_cert=credentials.config.require_client_cert
        )

    async def _watch(self, binding: Binding) -> None:
        """Listen anew when gRPC has stopped accepting, as it does when the system has refused it something once."""
        unanswered = 0
        while True:
            arrived = self._arrived
            await asyncio.sleep(CHECK_S)
            waiting = any(each.is_waited_at for each in binding.sockets)
            # While there are no descriptors gRPC tries again by itself.
            unanswered = unanswered + 1 if waiting and arrived == self._arrived and can_open() else 0
            if unanswered == DEAF_AFTER:
                unanswered = 0
                _logger.warning("%s is not accepting connections any more: listening there anew", self.url)
                binding = await self._listen_anew(binding)
                _logger.info("%s accepts connections again", self.url)

    async def _listen_anew(self, binding: Binding) -> Binding:
        """Have another server take the place of the present one, whose lanes are told to move."""
        leaving = asyncio.get_running_loop().create_task(self._server.stop(MOVE_S))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        while True:
            await asyncio.sleep(CHECK_S)
            if any(each.is_open for each in binding.sockets):
                continue
            server = self._make_server()
            try:
                self._binding = await _bind_and_start(server, binding.address, self._server_credentials())
            except LinkError as error:
                _logger.warning("%s; trying again", error)
                await server.stop(None)
                continue
            self._server = server
            return self._binding

    async def _exchange(self, _requests: object, context: ServicerContext[bytes, bytes]) -> None:
        await self._check_open(context)
        self._arrived += 1
        address = _peer_address(context.peer())
        origin = origin_of(address)
        await _send_away(context, self._newcomers.refuse(origin))
        if self._tokens is not None and self._tokens.are_many:
            await _send_away(context, _TOKENS_AGAIN_S * (1.0 + random.random()))
        try:
            info = await self._info_of(context, address)
        except AuthenticationError as error:
            now = asyncio.get_running_loop().time()
            self._refusals.log(origin, now, logging.WARNING, "%s was refused: %s", address, error.sentence)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.sentence)
        # Looking at a token takes its time.
        await self._check_open(context)
        lane = GrpcServerCarrier(context, info, origin, self._newcomers)
        self._newcomers.on_arrival(lane)
        self._lanes.add(lane)
        try:
            # Otherwise grpc.aio sends them with the first batch, and again with the end of the call if
            # that comes while the first batch still waits; which fails.
            await context.send_initial_metadata(())
            self._on_lane(lane)
            await lane.wait_closed()
            await _send_away(context, lane.retry_after_s)
        finally:
            self._lanes.discard(lane)
            lane.end(_CLOSED_THERE)

    async def _check_open(self, context: ServicerContext[bytes, bytes]) -> None:
        """End a call that comes while this ends."""
        if self._closing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _STOPPING)

    async def _info_of(self, context: ServicerContext[bytes, bytes], address: str) -> CarrierInfo:
        """Return who has dialled.

        :raises AuthenticationError: if what it has shown proves no name.
        """
        identity, proof = await self._identify(context, address)
        asks = self._credentials is not None or self._tokens is not None
        if identity is None:
            return CarrierInfo("grpc", address, "", asks, proof, origin_of(address))
        return CarrierInfo("grpc", address, identity.name, asks, proof, origin_of(address), identity.fingerprint)

    async def _identify(self, context: ServicerContext[bytes, bytes], address: str) -> tuple[Identity | None, bytes]:
        """Return what a caller has proved to be called, and what proves it; None if it need not prove anything.

        :raises AuthenticationError: if what it has shown proves no name.
        """
        proof, identity = b"", None
        if self._credentials is not None:
            proof = certificates_of(context.auth_context())
            identity = self._credentials.identify(proof, address) if proof else None
        if self._tokens is None:
            return identity, proof
        token, fqcn = shown_in(context.invocation_metadata())
        proved = await self._tokens.identify(token, fqcn, address, identity)
        return proved, proof or proof_of(token)


async def _send_away(context: ServicerContext[bytes, bytes], retry_after_s: float | None) -> None:
    """End a call with the answer to come again later, if that is to be said."""
    if retry_after_s is not None:
        metadata = ((RETRY_AFTER_KEY, str(math.ceil(1000 * retry_after_s))),)
        await context.abort(grpc.StatusCode.UNAVAILABLE, _SENT_AWAY, metadata)


async def _bind_and_start(server: Server, address: Address, credentials: grpc.ServerCredentials | None) -> Binding:
    """Have a server listen. Also if that fails it is to be stopped.

    :raises LinkError: if the address is busy or cannot be used.
    """
    try:
        return await bind(server, address, credentials)
    finally:
        # Also if binding failed: only a server that was started can let go of what it holds.
        await server.start()


async def listen(
    address: Address,
    on_lane: Callable[[Carrier], None],
    *,
    insecure: bool,
    services: Sequence[Service] = (),
    batch_threads: bool = True,
    credentials: Credentials | None = None,
    tokens: Tokens | None = None,
) -> GrpcListener:
    """Listen at ``address`` and call ``on_lane`` for each lane that arrives.

    :param services: what is offered there beside lanes.
    :param batch_threads: see :func:`threads.starting_grpc_threads`.
    :param insecure: allow it though other machines can reach it, and nothing is encrypted.
    :param credentials: for an address with TLS.
    :param tokens: what judges those that callers show.
    :raises UsageError: if it is not allowed.
    :raises LinkError: if the address is busy or cannot be used.
    """
    if credentials is None and not address.is_loopback:
        if tokens is not None and tokens.are_asked_for:
            raise UsageError(
                f"{address} is not encrypted, and everybody could read tokens there: use grpcs:// with tls="
            )
        if not insecure:
            raise UsageError(
                f"{address} can be reached from other machines and is not encrypted: allow that with insecure=True, on "
                "a network that you trust"
            )
        _logger.warning("listening at %s without encryption: everybody can read it", address)
    try:
        listener = GrpcListener(on_lane, services, batch_threads=batch_threads, credentials=credentials, tokens=tokens)
    except OSError as error:
        raise LinkError(f"cannot listen at {address} now: {error.strerror}", ErrorCode.LIMIT) from error
    await listener.start(address)
    return listener


def _peer_address(peer: str) -> str:
    """Return the address in what gRPC calls the peer, for example ``ipv6:%5B::1%5D:80``."""
    return unquote(peer).removeprefix("ipv4:").removeprefix("ipv6:")
