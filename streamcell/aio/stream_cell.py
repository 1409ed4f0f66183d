"""Streams and blobs for asyncio programs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Unpack, cast, overload

from streamcell import future as blocking
from streamcell import stream_cell
from streamcell.aio.core_cell import CoreCell
from streamcell.aio.sources import AsyncSource
from streamcell.aio.transfers import ReceivedStream, StreamFuture
from streamcell.message import Message
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.receiving.incoming import Incoming, IncomingStream, Into, ReceiveCallback
from streamcell.runtime.sending.advice import is_asynchronous
from streamcell.runtime.sending.specs import check_callback, check_instance, check_message
from streamcell.sending import SendMore


class StreamCell:
    """Streams and blobs on a cell; see :class:`streamcell.StreamCell` for what is not said here.

    Args:
        cell: what they travel on.

    Raises:
        UsageError: it is no cell of ``streamcell.aio``.
    """

    def __init__(self, cell: CoreCell) -> None:
        check_instance(cell, CoreCell, "cell")
        self._cell = cell
        #: The same for threads.
        self.stream_cell = stream_cell.StreamCell(cell.cell)

    def get_chunk_size(self) -> int:
        """Return the size in bytes of the chunks that streams are cut into."""
        return self.stream_cell.get_chunk_size()

    @overload
    async def send_stream(
        self,
        channel: str,
        topic: str,
        target: str,
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture: ...

    @overload
    async def send_stream(
        self,
        channel: str,
        topic: str,
        target: list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> dict[str, StreamFuture]: ...

    async def send_stream(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture | dict[str, StreamFuture]:
        """Send a stream; see :meth:`streamcell.StreamCell.send_stream`.

        The payload may also be asynchronous: any ``AsyncIterable`` of bytes, such as the body of a request to a web
        framework, and whatever has a ``read(size)`` that is a coroutine, such as an ``asyncio.StreamReader`` or another
        received stream. It is read on the running loop when the transfer can take more, to its end, and cannot go back.
        Any other source is read in a thread.
        """
        payload = check_message(message).payload
        if is_asynchronous(payload):
            message = Message(message.headers, AsyncSource(payload))
        return _wrap_sent(self.stream_cell.send_stream(channel, topic, target, message, secure, optional, **more))

    @overload
    async def send_blob(
        self,
        channel: str,
        topic: str,
        target: str,
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture: ...

    @overload
    async def send_blob(
        self,
        channel: str,
        topic: str,
        target: list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> dict[str, StreamFuture]: ...

    async def send_blob(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture | dict[str, StreamFuture]:
        """Send bytes that the target gets as a whole; see :meth:`streamcell.StreamCell.send_blob`."""
        return _wrap_sent(self.stream_cell.send_blob(channel, topic, target, message, secure, optional, **more))

    def register_stream_cb(
        self, channel: str, topic: str, stream_cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Have ``stream_cb(future, stream, resume, *args, **kwargs)`` called for each stream that arrives."""
        if not inspect.iscoroutinefunction(stream_cb):
            self.stream_cell.register_stream_cb(channel, topic, stream_cb, *args, **kwargs)
            return

        def call(incoming: IncomingStream) -> Any:
            return self._cell.run_in_loop(run(incoming))

        async def run(incoming: IncomingStream) -> Any:
            if incoming.resumption is not None:
                incoming.resumption.enter(asyncio.current_task())
            future, stream = _wrap(incoming), ReceivedStream(incoming)
            return await stream_cb(future, stream, incoming.resume, *args, **kwargs)

        registry = self._cell.cell.runner.callbacks.streams
        registry.register(channel, topic, StreamKind.STREAM, ReceiveCallback(call))

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
            return self._cell.run_in_loop(blob_cb(_wrap(incoming), *args, **kwargs))

        registry = self._cell.cell.runner.callbacks.streams
        registry.register(channel, topic, StreamKind.BLOB, ReceiveCallback(call, into))

    def unregister_stream_cb(self, channel: str, topic: str) -> None:
        """Forget a stream callback; streams that have begun go on."""
        self.stream_cell.unregister_stream_cb(channel, topic)

    def unregister_blob_cb(self, channel: str, topic: str) -> None:
        """Forget a blob callback; blobs that have begun go on."""
        self.stream_cell.unregister_blob_cb(channel, topic)


def _wrap_sent(
    sent: blocking.StreamFuture | dict[str, blocking.StreamFuture],
) -> StreamFuture | dict[str, StreamFuture]:
    """Return one future, or several by name, for a coroutine."""
    if isinstance(sent, dict):
        return {name: StreamFuture(future) for name, future in sent.items()}
    return StreamFuture(sent)


def _wrap(incoming: Incoming) -> StreamFuture:
    """Return the future of what arrives, for a coroutine."""
    return StreamFuture(cast("blocking.StreamFuture", incoming.future))
