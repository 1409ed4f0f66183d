"""Sending and receiving streams and blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamcell.coats.streams import AnyStreamCell
from streamcell.core_cell import CoreCell
from streamcell.future import StreamFuture
from streamcell.message import HeaderValue
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.receiving.incoming import Incoming, IncomingStream, ReceiveCallback
from streamcell.runtime.sending.specs import check_callback, check_instance
from streamcell.sending import Sending
from streamcell.stream import ReceivedStream


class StreamCell(AnyStreamCell[StreamFuture, dict[str, StreamFuture]]):
    """Streams and blobs on a cell. Any number of these may be made on one cell; they share its callbacks.

    All methods may be called in any thread, callbacks included.

    Args:
        cell: what they travel on.

    Raises:
        UsageError: it is no cell.
    """

    def __init__(self, cell: CoreCell) -> None:
        check_instance(cell, CoreCell, "cell")
        super().__init__(cell.__streamcell__)

    def register_stream_cb(
        self, channel: str, topic: str, stream_cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Have ``stream_cb(future, stream, resume, *args, **kwargs)`` called for each stream that arrives.

        It is called when the stream starts, in a thread that it may block. It reads the stream, or hands it to another
        thread and returns. ``future`` succeeds with the number of bytes when the end was read, and fails as soon as the
        stream failed. ``stream`` is a :class:`ReceivedStream`. What the callback raises before it closed the stream
        reaches the sender as StreamRejected; a StreamRejected that it raises itself keeps its sentence and code, and is
        logged at DEBUG only: who refuses knows.

        ``resume`` tells whether an earlier life of this cell had acknowledged part of the stream. Then, and when
        ``stream.resume_id`` is set, the sender waits to be told where to go on: by ``stream.resume_from(offset)``
        before the first read; or by the offset that the callback returns, if it has handed the stream to a thread of
        its own (reads by that thread wait until then). If the callback reads first, or returns None, that means 0; what
        it returns without having chosen, and that is no offset, rejects the stream.

        Args:
            channel: the channel, or ``*`` for any.
            topic: the topic, or ``*`` for any.
            stream_cb: replaces an earlier one of this name.
            *args: passed on.
            **kwargs: passed on.
        """
        check_callback(stream_cb, "a stream callback")

        def call(incoming: IncomingStream) -> Any:
            stream = ReceivedStream(incoming)
            return stream_cb(incoming.future, stream, incoming.resume, *args, **kwargs)

        registry = self._runner.callbacks.streams
        registry.register(channel, topic, StreamKind.STREAM, ReceiveCallback(call))

    def register_blob_cb(
        self,
        channel: str,
        topic: str,
        blob_cb: Callable[..., Any],
        *args: Any,
        into: Callable[[int | None, dict[str, HeaderValue]], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Have ``blob_cb(future, *args, **kwargs)`` called for each blob that has arrived and was checked.

        ``future.result()`` is a read-only memoryview of its bytes, valid as long as it is held. The callback runs in a
        thread that it may block. The sender has its answer already, so what the callback raises is only logged.

        Args:
            channel: the channel, or ``*`` for any.
            topic: the topic, or ``*`` for any.
            blob_cb: replaces an earlier one of this name.
            *args: passed on.
            into: called as ``into(size, headers)`` before the blob arrives (size None: not known); returns a writable
                buffer to receive into, which is then the future's result.
            **kwargs: passed on.
        """
        check_callback(blob_cb, "a blob callback")
        if into is not None:
            check_callback(into, "into")

        def call(incoming: Incoming) -> Any:
            return blob_cb(incoming.future, *args, **kwargs)

        registry = self._runner.callbacks.streams
        registry.register(channel, topic, StreamKind.BLOB, ReceiveCallback(call, into))

    def _send(self, sending: Sending, target: str) -> StreamFuture:
        (future,) = sending.begin(self._runner, target).values()
        return future

    def _send_each(self, sending: Sending, targets: list[str] | tuple[str, ...]) -> dict[str, StreamFuture]:
        return sending.begin(self._runner, targets)
