"""Putting a received blob together.

The engine adds the pieces; where the memory comes from is the business of ``buffers``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault, StreamError, StreamRejected
from streamcell.limits import MIB
from streamcell.protocol.wire.frames import Payload

# Lends a writable buffer of that size, with whatever it holds.
Allocate: TypeAlias = Callable[[int], memoryview]

# What is kept of a blob, in the pieces that it came in, while no buffer can be had for it.
KEPT_BYTES = 64 * MIB


class Assembly(Protocol):
    """Where a blob grows."""

    def add(self, piece: Payload) -> None:
        """Append the next bytes.

        Raises:
            StreamRejected: they do not fit.
            StreamError: there is no memory for them.
        """

    def digest(self) -> Digest:
        """Return the digest of all bytes that were added.

        Raises:
            MemoryError: the system refuses the memory now. It may be called again.
        """

    def result(self) -> Any:
        """Return what the application gets, after the last piece. The last thing that is called.

        Raises:
            MemoryError: the system refuses the memory now. It may be called again.
        """


class SizedAssembly:
    """A blob whose size is known: one buffer, made when it turns out to need more than one piece.

    Pieces that come while no memory can be had for the buffer are kept as they are.
    """

    def __init__(self, size: int, allocate: Allocate) -> None:
        self._size = size
        self._allocate = allocate
        self._whole: Payload = b""
        self._buffer: memoryview | None = None
        self._filled = 0
        self._kept: list[Payload] = []

    def add(self, piece: Payload) -> None:
        """Append the next bytes.

        Raises:
            StreamError: there is no memory for them, and much is kept already.
        """
        if not len(piece):
            return
        try:
            if len(piece) == self._size:
                # A copy, because a piece may be a small part of a batch that it would keep alive.
                self._whole = bytes(piece)
                return
            self._make_buffer()
        except MemoryError as error:
            if sum(map(len, self._kept)) > KEPT_BYTES:
                raise no_memory_error("the receiver", self._size) from error
            self._kept.append(piece)
        else:
            self._fill(piece)

    def result(self) -> memoryview:
        """Return a read-only view of all bytes.

        Raises:
            MemoryError: the system refuses the memory now. It may be called again.
        """
        if self._kept:
            self._make_buffer()
        return memoryview(self._whole if self._buffer is None else self._buffer).toreadonly()

    def digest(self) -> Digest:
        """Return the digest of all bytes.

        Raises:
            MemoryError: the system refuses the memory now. It may be called again.
        """
        return Digest.of([self.result()])

    def _make_buffer(self) -> None:
        """Get the buffer, if it is not there, and put what was kept into it."""
        if self._buffer is None:
            self._buffer = self._allocate(self._size)
            for piece in self._kept:
                self._fill(piece)
            self._kept.clear()

    def _fill(self, piece: Payload) -> None:
        if self._buffer is not None:
            end = self._filled + len(piece)
            self._buffer[self._filled : end] = piece
            self._filled = end


class GrowingAssembly:
    """A blob whose size is not known: its pieces, joined at the end."""

    def __init__(self) -> None:
        self._pieces: list[Payload] = []

    def add(self, piece: Payload) -> None:
        """Append the next bytes."""
        self._pieces.append(piece)

    def digest(self) -> Digest:
        """Return the digest of all bytes."""
        return Digest.of(self._pieces)

    def result(self) -> memoryview:
        """Return a read-only view of all bytes.

        Raises:
            MemoryError: the system refuses the memory now. It may be called again.
        """
        return memoryview(b"".join(self._pieces))


class IntoAssembly:
    """A blob that is received into a buffer of the application."""

    def __init__(self, buffer: Any, size: int | None) -> None:
        """Take the buffer that ``into`` has returned.

        Raises:
            StreamRejected: it is none, or read-only, not contiguous or too small.
        """
        self._given = buffer
        self._view = _writable_view(buffer)
        self._filled = 0
        if size is not None and size > len(self._view):
            raise self._too_small(size)

    def add(self, piece: Payload) -> None:
        """Append the next bytes.

        Raises:
            StreamRejected: a blob of unknown size has outgrown the buffer.
        """
        end = self._filled + len(piece)
        if end > len(self._view):
            raise self._too_small(end)
        self._view[self._filled : end] = piece
        self._filled = end

    def digest(self) -> Digest:
        """Return the digest of all bytes. What the buffer has behind them does not count."""
        with self._view[: self._filled] as received:
            return Digest.of([received])

    def result(self) -> Any:
        """Return the application's own buffer."""
        self._view.release()
        return self._given

    def _too_small(self, needed: int) -> StreamRejected:
        return StreamRejected(
            f"the buffer that into() returned has {len(self._view)} bytes, the blob has {needed} or more"
        )


def make_assembly(size: int | None, allocate: Allocate) -> Assembly:
    """Return where a blob of ``size`` bytes (None: not known) is put together."""
    return GrowingAssembly() if size is None else SizedAssembly(size, allocate)


def no_memory_error(fqcn: str, size: int | None) -> StreamError:
    """Return what a transfer fails with for which the system gives no memory."""
    needed = "its size is not known" if size is None else f"{size:,} bytes"
    return StreamError(
        f"{fqcn} has no memory for what was sent ({needed}), the system refuses it: send it as a stream, or later",
        ErrorCode.LIMIT,
        Fault.TARGET,
    )


def _writable_view(buffer: Any) -> memoryview:
    try:
        view = memoryview(buffer)
    except TypeError as error:
        raise StreamRejected(f"into() returned a {type(buffer).__name__}, not a writable buffer") from error
    if view.readonly:
        raise StreamRejected(f"into() returned a read-only {type(buffer).__name__}")
    if not view.c_contiguous:
        raise StreamRejected(f"into() returned a {type(buffer).__name__} that is not contiguous")
    return pickle.PickleBuffer(view).raw()
