"""Standard output and error that never fail.

What a command does must not end because of what it says: a disk may be full, the reader may have gone, the terminal may
have closed, a name may have characters that the encoding has not. So nothing that is written here raises; characters
are shown with escapes where need be, and the first error is kept for those whose output is all that they do.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from streamcell.errors import UsageError

INPUT = 0
OUTPUT = 1
ERRORS = 2


class SteadyStream(io.TextIOWrapper):
    """Text that goes to a descriptor, line by line. See the top of the module.

    Args:
        descriptor: where it goes; None: it was closed before the program began.
        encoding: of the text.
    """

    def __init__(self, descriptor: int | None, encoding: str) -> None:
        self._sink = _Sink(descriptor)
        super().__init__(self._sink, encoding=encoding, errors="backslashreplace", line_buffering=True)

    @property
    def lost(self) -> OSError | None:
        """Why something that was written has not arrived; None if all has."""
        return self._sink.lost

    @property
    def was_closed(self) -> bool:
        """Whether it was closed before the program began."""
        return self._sink.is_closed


class _Sink(io.RawIOBase):
    def __init__(self, descriptor: int | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.lost: OSError | None = None

    @property
    def name(self) -> str:
        """For those who show where they write."""
        return "closed" if self._descriptor is None else str(self._descriptor)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed before the program began."""
        return self._descriptor is None

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    def fileno(self) -> int:
        if self._descriptor is None:
            raise io.UnsupportedOperation("the stream is closed")
        return self._descriptor

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write all of it, or take note of why that cannot be."""
        try:
            if self._descriptor is None:
                raise OSError(errno.EBADF, "it is closed")
            write_all(self._descriptor, data)
        except OSError as error:
            self.lost = self.lost or error
        return len(data)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it, waiting for as long as there is no room.

    Raises:
        OSError: it cannot be written.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Another program with the same pipe or terminal has made it so.
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            room.poll()


@contextlib.contextmanager
def steady_streams() -> Iterator[None]:
    """Have standard output and error never fail while this is entered. To be entered before anything is opened.

    A descriptor that is closed is given something else first: or else the next file or socket would get its number, and
    whatever writes there (gRPC does, too) would write into it.
    """
    before = sys.stdout, sys.stderr
    _fill_descriptors()
    sys.stdout, sys.stderr = _steady(sys.stdout, OUTPUT), _steady(sys.stderr, ERRORS)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def lost_output() -> OSError | None:
    """Return why standard output has not taken everything; None if it has."""
    return sys.stdout.lost if isinstance(sys.stdout, SteadyStream) else None


def check_output() -> None:
    """See that there is something that bytes can be written to.

    Raises:
        UsageError: standard output is closed.
    """
    if isinstance(sys.stdout, SteadyStream) and sys.stdout.was_closed:
        raise UsageError("standard output is closed: send it to a file or a program, or receive into a folder")


def check_input() -> None:
    """See that there is something that can be read.

    Raises:
        UsageError: standard input is closed.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed: give it a file or a program to read from")


def is_closed_input(path: Path) -> bool:
    """Return whether a path (``/dev/stdin``) leads to a standard input that was closed before the program began."""
    if sys.stdin is not None:
        return False
    try:
        return os.path.samestat(path.stat(), os.fstat(INPUT))
    except OSError:
        return False


def _fill_descriptors() -> None:
    # What is opened gets the lowest number that is free, which is the one that is looked at.
    for descriptor in (INPUT, OUTPUT, ERRORS):
        try:
            os.fstat(descriptor)
        except OSError:
            if descriptor == INPUT:
                # Other than the null device it is like nothing else, and cannot be opened by a path that leads to it.
                socket.socket(socket.AF_UNIX).detach()
            else:
                os.open(os.devnull, os.O_WRONLY)


def _steady(stream: TextIO | None, descriptor: int) -> SteadyStream:
    # Python has none where the descriptor was closed.
    if stream is None:
        return SteadyStream(None, "utf-8")
    return SteadyStream(descriptor, stream.encoding)
