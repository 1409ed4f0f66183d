"""Dialled lanes over gRPC.

A lane is one call of CellService.Exchange on a channel, and so a connection, of its own: gRPC's own
reconnecting never comes into play. The call neither serialises nor parses, it carries bytes.

How a call ends is told in several ways by ``grpc.aio``: as the end of reading, as ``AioRpcError``,
as ``InvalidStateError`` of a write that came too late, and as ``CancelledError`` although nobody
cancelled the task that waits. All of them become ``LaneClosed`` here; a task's own cancellation
passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from streamcell.errors import one_line
from streamcell.logs import get_logger
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Parts
from streamcell.transport.address import Address, Scheme, check_can_be_dialled
from streamcell.transport.base import LaneClosed, check_batch_size
from streamcell.transport.grpc.call_use import CallUse, is_cancelled_itself
from streamcell.transport.grpc.callers import Metadata
from streamcell.transport.grpc.dial_tls import DialTLS
from streamcell.transport.grpc.environment import aio, grpc
from streamcell.transport.grpc.options import channel_options
from streamcell.transport.grpc.proxies import find_proxy
from streamcell.transport.grpc.statuses import lane_closed
from streamcell.transport.grpc.threads import starting_grpc_threads
from streamcell.transport.parts import join

if TYPE_CHECKING:
    from grpc.aio import Channel, StreamStreamCall

EXCHANGE_METHOD = "/streamcell.v1.CellService/Exchange"

# How long closing waits for the other side to take what was sent before.
FLUSH_S = 1.0
# How long a failed write waits for the status that says why.
_STATUS_S = 1.0
# How long a call outlives its connection at most, if that breaks.
_GOAWAY_S = 0.05
# What grpc.aio calls a call after a failed write, until the status that says why arrives.
_WRITE_FAILED = (grpc.StatusCode.INTERNAL, "Internal error from Core")
# In what gRPC says where the other side ends a connection before HTTP/2 is ready.
_HUNG_UP = "Socket closed"
_CLOSED_HERE = "the lane was closed here"

_GRPC_ERRORS = (aio.AioRpcError, aio.BaseError, asyncio.InvalidStateError)

_T = TypeVar("_T")

_logger = get_logger("streamcell.transport")


async def dial(
    address: Address,
    timeout_s: float,
    *,
    record: str = "",
    batch_threads: bool = True,
    tls: DialTLS | None = None,
    metadata: Metadata = (),
) -> GrpcClientCarrier:
    """Return the carrier of a lane to the cell that listens at ``address``, when HTTP/2 is ready there.

    :param record: the address of its host to take; empty: gRPC looks the host up.
    :param batch_threads: see :func:`threads.starting_grpc_threads`.
    :param tls: for an address with TLS.
    :param metadata: what the call says of who makes it.

    :raises LaneClosed: if it cannot be reached within ``timeout_s``, or refuses.
    """
    check_can_be_dialled(address)
    give_up_at = asyncio.get_running_loop().time() + timeout_s
    proxy = None if record else await find_proxy(address, timeout_s)
    # What is said of the address where something fails.
    where = f"{address} ({record})" if record else str(address) if proxy is None else f"{address} through {proxy}"
    options = channel_options(
        proxy_url="" if proxy is None else proxy.url,
        connect_s=timeout_s,
        authority=address.host_and_port if record else "",
    )
    try:
        with starting_grpc_threads(batch=batch_threads):
            if tls is None:
                channel = aio.insecure_channel(_target(address, record), options=options)
            else:
                options = (*options, *tls.options_for(address, record))
                channel = aio.secure_channel(_target(address, record), tls.channel_credentials(), options=options)
    except OSError as error:
        raise LaneClosed(f"{where} cannot be dialled now: {error.strerror}") from error
    try:
        call = await _open_call(channel, give_up_at, metadata)
    except TimeoutError as error:
        await channel.close()
        if tls is not None:
            await tls.explain(address, where, timeout_s)
        raise LaneClosed(f"{where} did not answer within {timeout_s:g} s (connect_timeout_s)") from error
    except aio.AioRpcError as error:
        await channel.close()
        if tls is not None and error.code() is grpc.StatusCode.UNAVAILABLE:
            await tls.explain(address, where, timeout_s)
        details = error.details() or ""
        if tls is None and _HUNG_UP in details:
            details += "; if it wants TLS, use grpcs://"
        raise lane_closed(where, error.code(), details, error.trailing_metadata()) from error
    except BaseException:
        await channel.close()
        raise
    return GrpcClientCarrier(address, where, channel, call)


class GrpcClientCarrier:
    """Carries a lane that was dialled."""

    def __init__(self, address: Address, where: str, channel: Channel, call: StreamStreamCall[bytes, bytes]) -> None:
        self._address = address
        self._where = where
        self._channel = channel
        self._call = call
        self._end: asyncio.Future[LaneClosed] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._closed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        call.add_done_callback(self._on_call_done)
        # Not read(): that stops at a failed write. What had arrived before would be lost, and the
        # call would never end, since it ends after its last message was read.
        self._batches = aiter(call)
        self._use = CallUse(self._read, self._write)

    @property
    def info(self) -> CarrierInfo:
        """That it is gRPC, the address that was dialled, and whose certificate was looked for there, if one cell's."""
        return CarrierInfo("grpc", str(self._address), self._address.cell)

    async def send(self, batch: Parts) -> None:
        """Give a batch to gRPC, joined; returns when it has room for the next one."""
        check_batch_size(batch)
        await self._use.send(batch)

    async def receive(self) -> Parts:
        """Return the next batch, as one part of the receiver's own."""
        return (await self._use.receive(),)

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Have ``on_leaving`` called when the connection gets a GOAWAY."""
        if not self._closing.is_set():
            self._watcher = asyncio.create_task(self._watch(on_leaving))

    async def close(self) -> None:
        """Tell the other side that nothing follows, wait a moment for it to take all, and end."""
        if self._closing.is_set():
            await self._closed.wait()
            return
        self._closing.set()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        self._use.close(_CLOSED_HERE)
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._flush()
        except TimeoutError:
            _logger.debug("%s did not take all that was sent to it before the end", self._address)
        finally:
            self._call.cancel()
            await self._channel.close()
            self._closed.set()
            await self._settle()

    async def _flush(self) -> None:
        await self._use.wait_written()
        try:
            await self._call.done_writing()
        except _GRPC_ERRORS:
            return  # it has ended already
        # The other side's answer to the end of writing comes after what it still had to send.
        await self._use.wait_ended()

    async def _settle(self) -> None:
        """Let what is under way come to the end of the call, which lets go of all that it holds there."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._use.wait_ended()
        except TimeoutError:
            _logger.debug("the call to %s did not end when it was cancelled", self._address)
            self._use.cancel()
            self._let_go(ended=False)
        else:
            self._let_go(ended=True)

    def _let_go(self, *, ended: bool) -> None:
        """Break the circles of references that would keep the connection open until the garbage collector comes.

        :param ended: nothing is under way on the call, which would still need what it is made of.
        """
        self._use.let_go()
        if ended and self._call.done():
            # grpc.aio keeps each done-callback with the call that it is for, inside that call.
            vars(self._call).pop("_cython_call", None)

    async def _watch(self, on_leaving: Callable[[], None]) -> None:
        # gRPC does not tell of a GOAWAY, but the channel is idle from then on, with the call still alive.
        while (state := self._channel.get_state()) is not grpc.ChannelConnectivity.IDLE:
            await self._channel.wait_for_state_change(state)
        # So it is when the connection breaks, only that the call ends with it.
        await asyncio.wait({self._end}, timeout=_GOAWAY_S)
        if not self._end.done() and not self._closing.is_set():
            on_leaving()

    async def _read(self) -> bytes:
        try:
            return await anext(self._batches)
        except StopAsyncIteration as error:
            raise LaneClosed(f"{self._where} ended the lane") from error
        except asyncio.CancelledError as error:
            if is_cancelled_itself():
                raise
            raise LaneClosed(_CLOSED_HERE) from error
        except _GRPC_ERRORS as error:
            raise await self._why_it_ended(error) from error

    async def _write(self, batch: Parts) -> None:
        try:
            await self._call.write(join(batch))
        except asyncio.CancelledError as error:
            if is_cancelled_itself():
                raise
            raise LaneClosed(_CLOSED_HERE) from error
        except _GRPC_ERRORS as error:
            raise await self._why_it_ended(error) from error

    async def _why_it_ended(self, error: Exception) -> LaneClosed:
        await asyncio.wait({self._end}, timeout=_STATUS_S)
        if self._end.done():
            return self._end.result()
        return LaneClosed(f"{self._where}: {one_line(str(error))}")

    def _on_call_done(self, call: aio.Call) -> None:
        # grpc.aio calls this for each status that it gives the call. After a failed write one is
        # made up, before or after the peer's own, which is the one that counts.
        if self._end.done():
            return
        code = _result_of(call.code())
        details = _result_of(call.details())
        if (code, details) != _WRITE_FAILED:
            metadata = _result_of(call.trailing_metadata())
            self._end.set_result(lane_closed(self._where, code, details, metadata))


async def _open_call(channel: Channel, give_up_at: float, metadata: Metadata) -> StreamStreamCall[bytes, bytes]:
    async with asyncio.timeout_at(give_up_at):
        call: StreamStreamCall[bytes, bytes] = channel.stream_stream(EXCHANGE_METHOD)(metadata=metadata)
        await call.wait_for_connection()
    return call


def _target(address: Address, record: str) -> str:
    if record:
        # The zone of an address of one network only is encoded as in a URL.
        return f"ipv6:[{quote(record, safe=':')}]:{address.port}" if ":" in record else f"ipv4:{record}:{address.port}"
    if address.scheme is Scheme.UNIX:
        return f"unix:{quote(address.name)}"
    return address.host_and_port


def _result_of(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    raise RuntimeError("a call that is done has no status")
