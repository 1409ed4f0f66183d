"""Byte streams: what is sent from, and what is received."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from streamcell.errors import Fault, StreamIntegrityError, StreamUsageError
from streamcell.limits import MIB
from streamcell.message import HeaderValue
from streamcell.runtime.receiving.resuming import begin_resume, check_placed
from streamcell.runtime.sending.advice import holds_data, is_asynchronous, refusal
from streamcell.runtime.sending.payloads import flatten_buffer
from streamcell.runtime.threads.waiting import check_may_wait
from streamcell.runtime.transfers import AboutTransfer

if TYPE_CHECKING:
    from streamcell.runtime.receiving.incoming import IncomingStream

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

    # For subclasses that do not call __init__.
    _size: int = 0
    _pos: int = 0
    _headers: dict[str, HeaderValue] | None = None

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
        if self._headers is None:
            self._headers = {}
        return self._headers

    def get_stamp(self) -> bytes:
        """Return what is the same as long as the bytes are, across restarts: at most 256 bytes; empty if not known."""
        return b""

    def seek(self, offset: int) -> Any:
        """Go to ``offset``: before the transfer starts, and later when the target was restarted. May block.

        Raises:
            io.UnsupportedOperation: this stream cannot.
        """
        raise io.UnsupportedOperation(f"{type(self).__name__} cannot seek to {offset}")

    def close(self) -> None:
        """Release what the stream holds."""


class FileStream(Stream):
    """A file as a source, opened now and closed when the transfer ends.

    A regular file must not change while it is sent: at the end, and when it has to be read again, its size, its time of
    modification and its inode are compared with those at the start; if they differ the transfer fails with
    StreamIntegrityError. The same three are its stamp.

    Anything else that can be read, such as a named pipe or a terminal, is read to its end: its size is not known, it
    has no stamp, and it cannot seek.

    Args:
        path: the file. Opening a named pipe waits until somebody writes to it.
        headers: sent along.

    Raises:
        OSError: it cannot be opened.
        StreamUsageError: the path is empty.
    """

    def __init__(self, path: str | os.PathLike[str], headers: Mapping[str, HeaderValue] | None = None) -> None:
        if path == "":
            raise StreamUsageError("'' is no path: FileStream needs that of a file")
        self._file: BinaryIO = Path(path).open("rb", buffering=0)  # noqa: SIM115
        self._path = os.fspath(path)
        # None: nothing that could be compared, because writing to a pipe is how it is used.
        self._state = _file_state(self._file)
        super().__init__(self._state[0] if self._state else 0, headers)

    def read(self, size: int) -> bytes:
        """Return the next bytes of the file."""
        piece = self._file.read(size)
        ended = not piece and size > 0
        # More than there was says the same as a change: that is what the application has to be told.
        if self._state is not None and (ended or 0 < self._state[0] < self._pos + len(piece)):
            self._check_unchanged()
        self._pos += len(piece)
        return piece

    def get_stamp(self) -> bytes:
        """Return size, time of modification, inode and device of the file, and where it is read from; else nothing."""
        return ":".join(map(str, (*self._state, self._pos))).encode() if self._state else b""

    def seek(self, offset: int) -> int:
        """Go to ``offset``.

        Raises:
            OSError: it is no regular file.
            StreamIntegrityError: it was changed.
        """
        self._check_unchanged()
        self._pos = self._file.seek(offset)
        return self._pos

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check_unchanged(self) -> None:
        if _file_state(self._file) != self._state:
            raise StreamIntegrityError(
                f"{self._path} was changed while it was sent: send a copy that nothing writes to", fault=Fault.ORIGIN
            )


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
        size, self._start = _remaining(file)
        super().__init__(size)
        self._file = file
        # What arrives slowly is sent as it arrives: ``read`` of a buffered pipe waits until it has all that was asked
        # for. What lies on a disk does not, and comes in larger pieces.
        self._read_some: Callable[[int], Any] | None = None if _is_on_disk(file) else getattr(file, "read1", None)

    def read(self, size: int) -> Any:
        piece = self._read_what_is_there(size)
        if piece is None:
            raise StreamUsageError(
                f"read() of a {type(self._file).__name__} returned None: it is in non-blocking mode, which "
                "cannot be sent from"
            )
        return piece

    def _read_what_is_there(self, size: int) -> Any:
        if self._read_some is None:
            return self._file.read(size)
        try:
            # Nothing may mean that it does not block: ``read`` tells that from the end, by None.
            return self._read_some(size) or self._file.read(1)
        except io.UnsupportedOperation:
            self._read_some = None
            return self._file.read(size)

    def seek(self, offset: int) -> Any:
        if self._start is None:
            return super().seek(offset)
        return self._file.seek(self._start + offset)


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
    if isinstance(payload, type) or is_asynchronous(payload) or holds_data(payload):
        raise StreamUsageError(refusal(payload))
    if callable(getattr(payload, "read", None)):
        return _OpenFile(payload)
    if isinstance(payload, Iterable) and not isinstance(payload, str | Mapping | Set):
        return IterStream(payload)
    raise StreamUsageError(refusal(payload))


def _file_state(file: BinaryIO) -> tuple[int, int, int, int] | None:
    """Return what changes when somebody writes to a regular file, the size first; None for anything else."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def _is_on_disk(file: BinaryIO) -> bool:
    """Return whether a file object reads a regular file, by itself or through what unpacks it."""
    try:
        return _file_state(file) is not None
    except (AttributeError, OSError, TypeError, ValueError):
        return False


def _remaining(file: BinaryIO) -> tuple[int, int | None]:
    """Return the number of bytes from where ``file`` stands to its end, and where it stands; 0, None if not known."""
    try:
        if not file.seekable():
            return 0, None
        position = file.tell()
        if _makes_its_bytes(file):
            return 0, position
        end = file.seek(0, io.SEEK_END)
        file.seek(position)
    except (AttributeError, OSError, ValueError):
        return 0, None
    return max(0, end - position), position


def _makes_its_bytes(file: BinaryIO) -> bool:
    """Return whether ``file`` gets its bytes out of others, as what unpacks does: its end is known by reading all."""
    return isinstance(file, io.BufferedIOBase) and not isinstance(
        file, io.BufferedReader | io.BufferedRandom | io.BytesIO
    )


class ReceivedStream(AboutTransfer, io.RawIOBase, Stream):
    """A stream that arrives, as a raw binary file and as a :class:`Stream`, which may be sent on.

    ``read`` returns what there is as soon as there is anything. What arrived before a failure can still be read, then
    the failure is raised. Closing before the end, or dropping the last reference, tells the sender that nobody reads
    on. One thread may read at a time; any may close.

    You get it as an argument of a stream callback; never make one.
    """

    def __init__(self, incoming: IncomingStream) -> None:
        info = incoming.info
        io.RawIOBase.__init__(self)
        Stream.__init__(self, info.size or 0, dict(info.description.headers))
        self._queue = incoming.queue
        self.__streamcell__ = info
        self._resumption = incoming.resumption

    @property
    def headers(self) -> dict[str, HeaderValue]:
        """The headers that were sent along."""
        return self.get_headers()

    @property
    def digest_checked(self) -> bool:
        """Whether the end was reached and the bytes of the whole stream have the digest that the sender gives.

        False if the sender gives none, and if the stream went on at an offset without ``have`` in :meth:`resume_from`:
        then the bytes below were not seen here.
        """
        return self._queue.digest_checked

    def get_size(self) -> int:
        """Return the number of bytes of the whole stream, or 0 while it is not known."""
        return self.__streamcell__.size or 0

    def get_pos(self) -> int:
        """Return the offset of the next byte: how many have been read, or lie below where the stream went on."""
        return self._queue.position

    def tell(self) -> int:
        """Return the same as :meth:`get_pos`."""
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
        self._choose_by_reading()
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
        self._choose_by_reading()
        piece = self._queue.take(len(view)) or b""
        view[: len(piece)] = piece
        return len(piece)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, with its newline; at most ``size`` bytes of it if that is not negative."""
        self._choose_by_reading()
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
        self._choose_by_reading()
        while piece := self._queue.take(MIB * 4):
            yield piece

    def seek(self, _offset: int, _whence: int = io.SEEK_SET, /) -> int:
        """Raise: what was read is gone."""
        raise io.UnsupportedOperation("a received stream cannot seek")

    def resume_from(self, offset: int, have: BinaryIO | None = None) -> None:
        """Have the origin go on at ``offset``, before the first read; returns when it has agreed to that.

        For a stream that goes on after a restart: one whose callback has got ``resume=True``, or one with a
        ``resume_id``. Any other starts at 0. May be called once. Then ``get_pos()`` is ``offset``.

        Args:
            offset: how many bytes of the stream are there already. More than were ever acknowledged is fine.
            have: a seekable binary file with these bytes at its start; it is read up to ``offset``, and stands there
                then. The origin compares their digest with its own before it agrees, and a digest of the whole stream
                can be checked at the end. Without it nothing is compared, and ``digest_checked`` stays False.

        Raises:
            StreamResumeError: the origin cannot go on there, because it has other bytes below, or fewer: it goes on at
                0, where reading begins now. Or: reading has begun, another offset was chosen before, ``have`` is
                shorter, or the stream is none that goes on; then nothing has changed.
            CellError: the stream has failed.
            UsageError: ``offset`` is negative, not a whole number, or larger than what can travel; or ``have`` is no
                file that can be read and can seek.
        """
        check_may_wait()
        placed = begin_resume(self._resumption, self._queue.position, self.origin, offset, have)
        if placed is not None:
            check_placed(offset, placed.result(), self.origin)

    def _choose_by_reading(self) -> None:
        if self._resumption is not None:
            self._resumption.before_read(threading.get_ident())

    def close(self) -> None:
        """Read no further. At the end, or at the size that was declared, this completes the transfer.

        Before that the sender fails with StreamCancelled.
        """
        if not self.closed:
            self._queue.close()
            super().close()

    def __repr__(self) -> str:
        info = self.__streamcell__
        return (
            f"<ReceivedStream {info.stream_id} {info.channel}/{info.topic} from {info.origin} "
            f"{'closed' if self.closed else 'open'} {self.get_pos()}/{info.size} bytes>"
        )
