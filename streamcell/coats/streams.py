"""What both sorts of StreamCell are: how streams and blobs are sent."""

from __future__ import annotations

import abc
from typing import Generic, TypeVar, Unpack, overload

from streamcell.message import Message
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.sending.specs import SendMore
from streamcell.sending import Sending

One_co = TypeVar("One_co", covariant=True)
Each_co = TypeVar("Each_co", covariant=True)


class AnyStreamCell(abc.ABC, Generic[One_co, Each_co]):
    """Streams and blobs on a cell of either coat, which says what a call gives for one target, and for several.

    Args:
        runner: the cell.
    """

    def __init__(self, runner: CellRunner) -> None:
        self._runner = runner

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
    ) -> One_co: ...

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
    ) -> Each_co: ...

    def send_stream(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> One_co | Each_co:
        """Send a stream of bytes, to one cell or to several. Returns at once and never blocks.

        Several cells are served each at its own pace from one reading of the source. One that falls more than a window
        behind has a source that can seek read again for it; a source that cannot goes at the pace of the slowest.

        Args:
            channel: the channel that the target's callback is registered for.
            topic: the topic that it is registered for.
            target: the name of the cell, or a list of names.
            message: headers, and as payload a :class:`Stream`, a binary file object (read from where it stands, not
                closed), an iterable of things with bytes, or bytes. Bytes that are more than a chunk must not change
                until the future settles, unless ``copy`` is true. For a cell of ``streamcell.aio`` the payload may also
                be asynchronous: any ``AsyncIterable`` of bytes, such as the body of a request to a web framework, and
                whatever has a ``read(size)`` that is a coroutine, such as an ``asyncio.StreamReader`` or another
                received stream. It is read on the running loop when the transfer can take more, to its end, and cannot
                go back. Any other source is read in a thread.
            secure: seal it from end to end. Both ends need certificates: ``TLSConfig(ca=..., cert=..., key=...)``.
            optional: failing is normal: log it at DEBUG, and fail at once if the target is not reachable now.
            **more: what a transfer may have beside: keywords that are explained at
                :class:`~streamcell.runtime.sending.specs.SendMore`.

        Returns:
            A future, or for a list of names a dictionary of them. It succeeds with the number of bytes when the target
            has read to the end **and** its callback has returned or closed the stream. Progress counts what the target
            has received.

        Raises:
            UsageError: an argument is wrong (then it is also a StreamError), or the cell is not running. Nothing was
                sent to anybody.
        """
        sending = Sending(StreamKind.STREAM, channel, topic, message, secure, optional, more)
        return self._send(sending, target) if isinstance(target, str) else self._send_each(sending, target)

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
    ) -> One_co: ...

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
    ) -> Each_co: ...

    def send_blob(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> One_co | Each_co:
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
        sending = Sending(StreamKind.BLOB, channel, topic, message, secure, optional, more)
        return self._send(sending, target) if isinstance(target, str) else self._send_each(sending, target)

    def unregister_stream_cb(self, channel: str, topic: str) -> None:
        """Forget a stream callback; streams that have begun go on."""
        self._runner.callbacks.streams.unregister(channel, topic, StreamKind.STREAM)

    def unregister_blob_cb(self, channel: str, topic: str) -> None:
        """Forget a blob callback; blobs that have begun go on."""
        self._runner.callbacks.streams.unregister(channel, topic, StreamKind.BLOB)

    @abc.abstractmethod
    def _send(self, sending: Sending, target: str) -> One_co:
        """Begin a transfer."""

    @abc.abstractmethod
    def _send_each(self, sending: Sending, targets: list[str] | tuple[str, ...]) -> Each_co:
        """Begin a transfer to each."""
