"""Streams and blobs for asyncio programs."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, cast

from streamcell import future as blocking
from streamcell import stream_cell
from streamcell.aio.core_cell import CoreCell
from streamcell.aio.coroutines import with_coroutine_functions
from streamcell.aio.sources import AsyncSource
from streamcell.aio.transfers import ReceivedStream, StreamFuture
from streamcell.coats.streams import AnyStreamCell
from streamcell.message import Message
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.receiving.incoming import Incoming, IncomingStream, Into, ReceiveCallback
from streamcell.runtime.sending.advice import is_asynchronous
from streamcell.runtime.sending.specs import check_callback, check_instance, check_message
from streamcell.sending import Sending


@with_coroutine_functions("send_stream", "send_blob")
class StreamCell(AnyStreamCell[Coroutine[Any, Any, StreamFuture], Coroutine[Any, Any, dict[str, StreamFuture]]]):
    """Streams and blobs on a cell; see :class:`streamcell.StreamCell` for what is not said here.

    Args:
        cell: what they travel on.

    Raises:
        UsageError: it is no cell of ``streamcell.aio``.
    """

    def __init__(self, cell: CoreCell) -> None:
        check_instance(cell, CoreCell, "cell")
        super().__init__(cell.__streamcell__)
        self._cell = cell
        #: The same for threads.
        self.stream_cell = stream_cell.StreamCell(cell.cell)

    def register_stream_cb(
        self, channel: str, topic: str, stream_cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Have ``stream_cb(future, stream, resume, *args, **kwargs)`` called for each stream that arrives."""
        if not inspect.iscoroutinefunction(stream_cb):
            self.stream_cell.register_stream_cb(channel, topic, stream_cb, *args, **kwargs)
            return

        def call(incoming: IncomingStream) -> Any:
            return self._cell.begin_in_loop(run(incoming))

        async def run(incoming: IncomingStream) -> Any:
            if incoming.resumption is not None:
                incoming.resumption.enter(asyncio.current_task())
            future, stream = _wrap(incoming), ReceivedStream(incoming)
            return await stream_cb(future, stream, incoming.resume, *args, **kwargs)

        self._runner.callbacks.streams.register(channel, topic, StreamKind.STREAM, ReceiveCallback(call))

    def register_blob_cb(
        self,
        channel: str,
        topic: str,
        blob_cb: Callable[..., Any],
        *args: Any,
        into: Into | None = None,
        **kwargs: Any,
    ) -> None:
        """Have ``blob_cb(future, *args, **kwargs)`` called for each blob; ``into`` is called in a thread."""
        if not inspect.iscoroutinefunction(blob_cb):
            self.stream_cell.register_blob_cb(channel, topic, blob_cb, *args, into=into, **kwargs)
            return
        if into is not None:
            check_callback(into, "into")

        def call(incoming: Incoming) -> Any:
            return self._cell.begin_in_loop(blob_cb(_wrap(incoming), *args, **kwargs))

        self._runner.callbacks.streams.register(channel, topic, StreamKind.BLOB, ReceiveCallback(call, into))

    async def _send(self, sending: Sending, target: str) -> StreamFuture:
        (future,) = _readable(sending).begin(self._runner, target).values()
        return StreamFuture(future)

    async def _send_each(self, sending: Sending, targets: list[str] | tuple[str, ...]) -> dict[str, StreamFuture]:
        futures = _readable(sending).begin(self._runner, targets)
        return {name: StreamFuture(future) for name, future in futures.items()}


def _readable(sending: Sending) -> Sending:
    """Return what is to be sent with a source that threads can read, if it is one that only coroutines can."""
    message = check_message(sending.message)
    if not is_asynchronous(message.payload):
        return sending
    return dataclasses.replace(sending, message=Message(message.headers, AsyncSource(message.payload)))


def _wrap(incoming: Incoming) -> StreamFuture:
    """Return the future of what arrives, for a coroutine."""
    return StreamFuture(cast("blocking.StreamFuture", incoming.future))
