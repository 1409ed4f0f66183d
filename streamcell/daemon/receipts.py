"""Receipts: how a transfer that is begun again finds the file that it has brought before.

A receipt proves nothing. It names a file that may be what the sender has, or its beginning; what the two have in common
is found by comparing digests.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO, Self

from streamcell.daemon.folder import Folder

RECEIPT_SUFFIX = ".done"
# Of a receipt: a name of many parts, and some numbers.
_RECEIPT_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """Where a complete transfer has gone (or to that name with a number), and how to know its file again."""

    parts: tuple[str, ...]
    size_bytes: int
    mtime_ns: int
    inode: int

    @staticmethod
    def of(parts: tuple[str, ...], status: os.stat_result) -> Receipt:
        """Return the receipt for a file."""
        return Receipt(parts, status.st_size, status.st_mtime_ns, status.st_ino)

    def agrees(self, status: os.stat_result) -> bool:
        """Return whether a file is still the one that arrived."""
        return Receipt.of(self.parts, status) == self

    def resembles(self, status: os.stat_result) -> bool:
        """Return whether it may be, on a file system that numbers its files anew whenever it likes (exFAT, FUSE)."""
        return (status.st_size, status.st_mtime_ns) == (self.size_bytes, self.mtime_ns)

    def write(self, work: Folder, name: str) -> None:
        """Keep the receipt in the place of an earlier one.

        Raises:
            OSError: it cannot be written.
        """
        work.remove(name)
        with os.fdopen(work.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(json.dumps(dataclasses.asdict(self)).encode())

    @staticmethod
    def read(work: Folder, name: str) -> Receipt | None:
        """Return the receipt that was kept; None if there is none that can be read."""
        try:
            with os.fdopen(work.open_file(name, os.O_RDONLY), "rb") as file:
                kept: Any = json.loads(file.read(_RECEIPT_BYTES))
            return Receipt(tuple(kept["parts"]), kept["size_bytes"], kept["mtime_ns"], kept["inode"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def find(self, origin_folder: Folder) -> Kept | None:
        """Return its file, open; None if it is not there any more, or was changed."""
        *folders, name = self.parts
        try:
            with origin_folder.enter(folders) as folder:
                found = folder.find_numbered(name, self.agrees) or folder.find_numbered(name, self.resembles)
                if found is None:
                    return None
                return Kept((*folders, found), os.fdopen(folder.open_file(found, os.O_RDONLY), "rb"))
        except OSError:
            return None


class Kept:
    """A file that has arrived before, open for reading. A context manager, which closes it.

    Attributes:
        parts: its path below the origin's folder.
        size_bytes: how long it is.
    """

    def __init__(self, parts: tuple[str, ...], file: BinaryIO) -> None:
        self.parts = parts
        self.file = file
        self.size_bytes = os.fstat(file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()


class Prefix:
    """A file whose beginning is compared with what a sender has: what ``resume_from`` reads as ``have``.

    A file that cannot be read any more is one that has nothing to offer: it seems to end there.

    Args:
        file: the file.
        copy: gets all that is read of it, or None.
        on_copied: is told of each number of bytes that the copy has got.
    """

    def __init__(
        self, file: BinaryIO, copy: BinaryIO | None = None, on_copied: Callable[[int], None] = lambda _: None
    ) -> None:
        self._file = file
        self._copy = copy
        self._on_copied = on_copied

    def seek(self, offset: int) -> int:
        """Go to ``offset``, with the copy."""
        if self._copy is not None:
            self._copy.seek(offset)
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """Return the next bytes, when they are in the copy.

        Raises:
            OSError: the copy cannot be written.
        """
        try:
            piece = self._file.read(size)
        except OSError:
            return b""
        if self._copy is not None:
            write_all(self._copy, piece)
            self._on_copied(len(piece))
        return piece


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write everything to an unbuffered file.

    Raises:
        OSError: it cannot be written.
    """
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
