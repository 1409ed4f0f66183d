"""Byte streams: what is sent from, and what is received. Imports ``errors``, ``message`` and the runtime's queue."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from streamcell.errors import StreamResumeError, StreamUsageError
from streamcell.limits import MIB
from streamcell.message import HeaderValue
from streamcell.runtime.payloads import flatten_buffer

if TYPE_CHECKING:
    from streamcell.runtime.incoming import IncomingStream

# How much ``read(-1)`` asks for at a time; pieces are not larger than a chunk anyway.
_ALL = 1 << 62


class Stream:
    """A source of bytes: subclass it and give it a ``read`` to send whatever you can produce.

    While a stream is sent, ``read`` is called in a thread of its own that it may block, by one thread at a time, and
    ``close`` exactly once when the transfer ends in whatever way.

    Args:
        size: the number of bytes from the start to the end; 0 if it is not known.
        headers: sent along; those of the message win.
    """

    def __init__(self, size: int = 0, headers: Mapping[str, HeaderValue] | None = None) -> None:
        self._size = size
        self._headers = dict(headers) if headers else {}
        self._pos = 0

    def read(self, size: int) -> Any:
        """Return the next 1 to ``size`` bytes, as anything with the buffer protocol; empty at the end.

        The buffer may be reused for the next read. May block, and may raise: then the transfer fails with its text.
        """
        raise NotImplementedError

    def get_size(self) -> int:
        """Return the number of bytes from the start to the end, or 0 if it is not known."""
        return self._size

    def get_pos(self) -> int:
        """Return how many bytes lie before what ``read`` returns next."""
        return self._pos

    def get_headers(self) -> dict[str, HeaderValue]:
        """Return the headers."""
        return self._headers

    def seek(self, offset: int) -> Any:
        """Go to ``offset``, before the transfer starts.

        Raises:
            io.UnsupportedOperation: this stream cannot.
        """
        raise io.UnsupportedOperation(f"{type(self).__name__} cannot seek to {offset}")

    def close(self) -> None:
        """Release what the stream holds."""


class FileStream(Stream):
    """A file as a source, opened now and closed when the transfer ends.

    Args:
        path: the file.
        headers: sent along.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], headers: Mapping[str, HeaderValue] | None = None) -> None:
        self._file: BinaryIO = Path(path).open("rb", buffering=0)  # noqa: SIM115
        super().__init__(os.fstat(self._file.fileno()).st_size, headers)

    def read(self, size: int) -> bytes:
        """Return the next bytes of the file."""
        piece = self._file.read(size)
        self._pos += len(piece)
        return piece

    def seek(self, offset: int) -> int:
        """Go to ``offset``."""
        self._pos = self._file.seek(offset)
        return self._pos

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BytesStream(Stream):
    """Bytes in memory as a source. They must not change before the transfer has ended.

    Args:
        data: anything with the buffer protocol.
        headers: sent along.

    Raises:
        StreamUsageError: ``data`` is something else.
    """

    def __init__(self, data: Any, headers: Mapping[str, HeaderValue] | None = None) -> None:
        self._view = memoryview(flatten_buffer(data))
        super().__init__(len(self._view), headers)

    def read(self, size: int) -> memoryview:
        """Return the next bytes."""
        piece = self._view[self._pos : self._pos + size]
        self._pos += len(piece)
        return piece

    def seek(self, offset: int) -> int:
        """Go to ``offset``."""
        self._pos = min(offset, len(self._view))
        return self._pos


class IterStream(Stream):
    """The items of an iterable, which are anything with the buffer protocol, as a source.

    Items may be of any length, empty ones included; each is sent when it comes.

    Args:
        iterable: gives the items. If it has a ``close`` method, as generators do, that is called at the end.
        size: the number of bytes of all items; 0 if it is not known.
        headers: sent along.
    """

    def __init__(
        self,
        iterable: Iterable[Any],
        size: int = 0,
        headers: Mapping[str, HeaderValue] | None = None,
    ) -> None:
        super().__init__(size, headers)
        self._iterator = iter(iterable)
        self._rest = memoryview(b"")

    def read(self, size: int) -> memoryview:
        """Return what is left of the present item, or the next one."""
        while not self._rest:
            try:
                item = next(self._iterator)
            except StopIteration:
                return memoryview(b"")
            self._rest = memoryview(flatten_buffer(item))
        piece, self._rest = self._rest[:size], self._rest[size:]
        self._pos += len(piece)
        return piece

    def close(self) -> None:
        """Close the iterator, if it can be."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _OpenFile(Stream):
    """A binary file object of the application as a source: read from where it stands, and left open."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(_remaining(file))
        self._file = file

    def read(self, size: int) -> Any:
        piece = self._file.read(size)
        if piece is None:
            raise StreamUsageError(
                f"read() of a {type(self._file).__name__} returned None: it is in non-blocking mode, which "
                "cannot be sent from"
            )
        return piece


def is_bytes(payload: Any) -> bool:
    """Return whether all bytes of ``payload`` are there already: something with the buffer protocol, or a list."""
    if isinstance(payload, list | tuple):
        return True
    try:
        memoryview(payload).release()
    except (TypeError, ValueError, BufferError):
        return False
    return not callable(getattr(payload, "read", None))


def as_stream(payload: Any) -> Stream:
    """Return ``payload`` as a stream: a Stream, a binary file object, or an iterable of things with bytes.

    Raises:
        StreamUsageError: it is none of these.
    """
    if isinstance(payload, Stream):
        return payload
    if isinstance(payload, io.TextIOBase):
        raise StreamUsageError("a text file cannot be sent: open it in binary mode ('rb')")
    if callable(getattr(payload, "read", None)):
        return _OpenFile(payload)
    if isinstance(payload, Iterable) and not isinstance(payload, str | Mapping):
        return IterStream(payload)
    raise StreamUsageError(
        f"a {type(payload).__name__} cannot be sent as a stream: use a Stream, a binary file object, an "
        "iterable of bytes, or bytes"
    )


def _remaining(file: BinaryIO) -> int:
    """Return the number of bytes from where ``file`` stands to its end; 0 if that cannot be known."""
    try:
        if not file.seekable():
            return 0
        position = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(position)
    except (AttributeError, OSError, ValueError):
        return 0
    return max(0, end - position)


class ReceivedStream(io.RawIOBase, Stream):
    """A stream that arrives, as a raw binary file and as a :class:`Stream`, which may be sent on.

    ``read`` returns what there is as soon as there is anything. What arrived before a failure can still be read, then
    the failure is raised. Closing before the end, or dropping the last reference, tells the sender that nobody reads
    on. One thread may read at a time; any may close.

    You get it as an argument of a stream callback; never make one.
    """

    def __init__(self, incoming: IncomingStream) -> None:
        info = incoming.info
        io.RawIOBase.__init__(self)
        Stream.__init__(self, info.size or 0, dict(info.headers))
        self._queue = incoming.queue
        self._info = info
        self._resume_id = incoming.resume_id

    @property
    def headers(self) -> dict[str, HeaderValue]:
        """The headers that were sent along."""
        return self._headers

    @property
    def origin(self) -> str:
        """The cell that sends."""
        return self._info.origin

    @property
    def channel(self) -> str:
        """The channel that it was sent on."""
        return self._info.channel

    @property
    def topic(self) -> str:
        """The topic that it was sent on."""
        return self._info.topic

    @property
    def resume_id(self) -> str:
        """The name that the sender gave to the transfer across restarts, or empty."""
        return self._resume_id

    def get_size(self) -> int:
        """Return the number of bytes, or 0 while it is not known."""
        return self._info.size or 0

    def get_pos(self) -> int:
        """Return how many bytes have been read."""
        return self._queue.position

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._queue.position

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return 1 to ``size`` bytes as soon as there are any, empty at the end; all that follow for -1 or None.

        Raises:
            CellError: the stream failed, and what arrived before has been read.
            ValueError: the stream is closed.
        """
        if size is None or size < 0:
            return self.readall()
        if size == 0:
            return b""
        piece = self._queue.take(size)
        return piece if isinstance(piece, bytes) else bytes(piece or b"")

    def readall(self) -> bytes:
        """Return everything up to the end."""
        return b"".join(self.pieces())

    def readinto(self, buffer: Any) -> int:
        """Read into ``buffer``, which saves a copy; return how many bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        piece = self._queue.take(len(view)) or b""
        view[: len(piece)] = piece
        return len(piece)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, with its newline; at most ``size`` bytes of it if that is not negative."""
        left = _ALL if size is None or size < 0 else size
        parts: list[bytes] = []
        while left > 0:
            part = self._queue.take_line_part(left)
            parts.append(part)
            left -= len(part)
            if not part or part.endswith(b"\n"):
                break
        return b"".join(parts)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Return an iterator over what is left, in the pieces in which it arrives, without copying."""
        while piece := self._queue.take(MIB * 4):
            yield piece

    def seek(self, _offset: int, _whence: int = io.SEEK_SET, /) -> int:
        """Raise: what was read is gone."""
        raise io.UnsupportedOperation("a received stream cannot seek")

    def resume_from(self, offset: int, have: BinaryIO | None = None) -> None:
        """Say, before the first read, where the origin is to go on after a restart.

        Raises:
            StreamResumeError: there is nothing agreed to go on from, so that only 0 is possible; or reading has begun.
        """
        if self._queue.position:
            raise StreamResumeError("resume_from() comes before the first read")
        if offset or have is not None:
            raise StreamResumeError(f"the stream from {self.origin} starts at 0: the origin has agreed to nothing else")

    def close(self) -> None:
        """Read no further: at the end this completes the transfer, before it the sender fails with StreamCancelled."""
        if not self.closed:
            self._queue.close()
            super().close()

    def __repr__(self) -> str:
        info = self._info
        return (
            f"<ReceivedStream {info.stream_id} {info.channel}/{info.topic} from {info.origin} "
            f"{'closed' if self.closed else 'open'} {self.get_pos()}/{info.size} bytes>"
        )
