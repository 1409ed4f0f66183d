"""Sending and receiving streams and blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack, overload

from streamcell.core_cell import CoreCell
from streamcell.future import StreamFuture
from streamcell.message import HeaderValue, Message
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.receiving.incoming import Incoming, IncomingStream, ReceiveCallback
from streamcell.runtime.sending.specs import check_callback, check_instance
from streamcell.sending import Sending, SendMore
from streamcell.stream import ReceivedStream


class StreamCell:
    """Streams and blobs on a cell. Any number of these may be made on one cell; they share its callbacks.

    All methods may be called in any thread, callbacks included.

    Args:
        cell: what they travel on.

    Raises:
        UsageError: it is no cell.
    """

    def __init__(self, cell: CoreCell) -> None:
        check_instance(cell, CoreCell, "cell")
        self._runner = cell.runner

    def get_chunk_size(self) -> int:
        """Return the size in bytes of the chunks that streams are cut into."""
        return self._runner.settings.config.chunk_bytes

    @overload
    def send_stream(
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
    def send_stream(
        self,
        channel: str,
        topic: str,
        target: list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> dict[str, StreamFuture]: ...

    def send_stream(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture | dict[str, StreamFuture]:
        """Send a stream of bytes, to one cell or to several. Returns at once and never blocks.

        Several cells are served each at its own pace from one reading of the source. One that falls more than a window
        behind has a source that can seek read again for it; a source that cannot goes at the pace of the slowest.

        Args:
            channel: the channel that the target's callback is registered for.
            topic: the topic that it is registered for.
            target: the name of the cell, or a list of names.
            message: headers, and as payload a :class:`Stream`, a binary file object (read from where it stands, not
                closed), an iterable of things with bytes, or bytes. Bytes that are more than a chunk must not change
                until the future settles, unless ``copy`` is true.
            secure: seal end to end; needs certificates, which this version does not have.
            optional: failing is normal: log it at DEBUG, and fail at once if the target is not reachable now.
            **more: ``resume_id`` names the transfer across restarts of this cell: sent again under the same name it
                goes on where the target stands, if the source is provably the same. ``idle_timeout``: seconds of
                silence of the other end after which it fails; 0 never, None as configured. ``unreachable_timeout``:
                seconds to wait for the target's first sign of life; 0 for ever, None as configured. ``digest``:
                ``sha256`` to have it computed and checked, or ``sha256:HEX`` if it is known. ``retry_unknown``: send
                again if it cannot be known whether it was delivered. ``copy``: take a copy of the payload, which must
                be bytes, at the call. ``reliable`` is ignored; every send is.

        Returns:
            A future, or for a list of names a dictionary of them. It succeeds with the number of bytes when the target
            has read to the end **and** its callback has returned or closed the stream. Progress counts what the target
            has received.

        Raises:
            UsageError: an argument is wrong (then it is also a StreamError), or the cell is not running. Nothing was
                sent to anybody.
        """
        return self._sending(channel, topic, message, secure, optional, more).send_stream(target)

    @overload
    def send_blob(
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
    def send_blob(
        self,
        channel: str,
        topic: str,
        target: list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> dict[str, StreamFuture]: ...

    def send_blob(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture | dict[str, StreamFuture]:
        """Send bytes that the target gets as a whole, to one cell or to several. Returns at once and never blocks.

        Args:
            channel: as for :meth:`send_stream`, and so are all the others except the message.
            topic: see there.
            target: see there.
            message: headers, and as payload bytes, bytearray, memoryview, anything else with the buffer protocol such
                as arrays, a list of these, or None. What is more than a chunk must not change until the future
                settles, unless ``copy`` is true.
            secure: see there.
            optional: see there.
            **more: see there.

        Returns:
            A future, or for a list of names a dictionary of them. It succeeds with the number of bytes when the target
            holds the whole blob, checked, and has started the callback.

        Raises:
            UsageError: an argument is wrong (then it is also a StreamError), or the cell is not running. Nothing was
                sent to anybody.
        """
        return self._sending(channel, topic, message, secure, optional, more).send_blob(target)

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

    def unregister_stream_cb(self, channel: str, topic: str) -> None:
        """Forget a stream callback; streams that have begun go on."""
        self._runner.callbacks.streams.unregister(channel, topic, StreamKind.STREAM)

    def unregister_blob_cb(self, channel: str, topic: str) -> None:
        """Forget a blob callback; blobs that have begun go on."""
        self._runner.callbacks.streams.unregister(channel, topic, StreamKind.BLOB)

    def _sending(
        self, channel: str, topic: str, message: Message, secure: bool, optional: bool, more: SendMore
    ) -> Sending:
        return Sending(self._runner, channel, topic, message, secure=secure, optional=optional, more=more)
