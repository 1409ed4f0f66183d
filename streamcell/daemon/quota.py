"""How much of an inbox the files of one origin may take.

What an origin has is counted by looking through its folder, and what arrives is added to that; others may take files
away. So the sum is hardly ever too low, and before a file is refused for it the folder is looked through again, though
not all the time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Iterator

from streamcell.daemon.folder import Folder
from streamcell.daemon.names import WORK_FOLDER
from streamcell.daemon.receipts import RECEIPT_SUFFIX
from streamcell.errors import StreamRejected

# A folder is looked through at most so often, and a tenth of the time: one of a hundred thousand files takes a second.
_LOOK_S = 1.0
_LOOK_PART = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one origin may have. 0: no limit.

    Attributes:
        most_bytes: in all of its files, partial ones included.
        most_files: files, partial ones included, and folders.
    """

    most_bytes: int = 0
    most_files: int = 0


class Held:
    """What one origin has, and what is still to come of its files that arrive. Safe for use by several threads."""

    def __init__(self, origin: str, limits: Limits) -> None:
        self._origin = origin
        self._limits = limits
        self._lock = threading.Lock()
        self._bytes = 0
        self._coming_bytes = 0
        self._files = 0
        # When the folder may be looked through again.
        self._look_at: float | None = None

    def begin_files(self, folder: Folder, files: int) -> None:
        """Count files and folders that are about to be made.

        Raises:
            StreamRejected: there are too many.
        """
        with self._lock:
            self._check(folder, 0, files)
            self._files += files

    def begin_bytes(self, folder: Folder, size_bytes: int) -> None:
        """Count what a file needs.

        Raises:
            StreamRejected: it is too much.
        """
        with self._lock:
            self._check(folder, size_bytes, 0)
            self._coming_bytes += size_bytes

    def on_written(self, expected_bytes: int, size_bytes: int) -> None:
        """So much was written, and so much of that was expected.

        Raises:
            StreamRejected: what was not is too much.
        """
        with self._lock:
            self._coming_bytes -= expected_bytes
            self._bytes += size_bytes
            too_much = self._excess(0, 0) if size_bytes > expected_bytes else ""
        if too_much:
            raise self._refusal(too_much)

    def end_bytes(self, expected_bytes: int) -> None:
        """So much of what was expected does not come."""
        with self._lock:
            self._coming_bytes -= expected_bytes

    def _check(self, folder: Folder, size_bytes: int, files: int) -> None:
        too_much = self._excess(size_bytes, files)
        if self._look_at is None or (too_much and time.monotonic() >= self._look_at):
            self._look(folder)
            too_much = self._excess(size_bytes, files)
        if too_much:
            raise self._refusal(too_much)

    def _excess(self, size_bytes: int, files: int) -> str:
        """Return which limit is passed with so much more, in words."""
        limits = self._limits
        if limits.most_files and files and self._files + files > limits.most_files:
            return f"{limits.most_files:,} files and folders (quota_files)"
        if limits.most_bytes and self._bytes + self._coming_bytes + size_bytes > limits.most_bytes:
            return f"{limits.most_bytes:,} bytes (quota_bytes)"
        return ""

    def _refusal(self, limit: str) -> StreamRejected:
        return StreamRejected(
            f"the inbox keeps no more than {limit} of {self._origin}: have some taken out there, and send it again"
        )

    def _look(self, folder: Folder) -> None:
        began_at = time.monotonic()
        self._bytes = self._files = 0
        work = f"./{WORK_FOLDER}"
        for where, folders, files, descriptor in os.fwalk(".", dir_fd=folder.descriptor, follow_symlinks=False):
            kept = [name for name in files if where != work or not name.endswith(RECEIPT_SUFFIX)]
            self._files += len(kept) + len(folders) - (where == "." and WORK_FOLDER in folders)
            for name in kept:
                with contextlib.suppress(OSError):
                    self._bytes += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
        now = time.monotonic()
        self._look_at = now + max(_LOOK_S, _LOOK_PART * (now - began_at))


class Share:
    """What one file may take. Written by the thread that receives the file."""

    def __init__(self, held: Held | None, expected_bytes: int) -> None:
        self._held = held
        self._expected_bytes = expected_bytes

    def use(self, size_bytes: int) -> None:
        """Take note that so much was written.

        Raises:
            StreamRejected: it is more than was expected, and too much.
        """
        if self._held is not None:
            expected = min(self._expected_bytes, size_bytes)
            self._expected_bytes -= expected
            self._held.on_written(expected, size_bytes)

    def end(self) -> None:
        """Nothing more comes."""
        if self._held is not None:
            self._held.end_bytes(self._expected_bytes)


class Quota:
    """What each origin may have in an inbox. Safe for use by several threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}

    def reload(self, limits: Limits) -> None:
        """Have other limits for what begins from now on."""
        with self._lock:
            self._limits = limits
            self._held = {}

    def begin_files(self, origin: str, folder: Folder, files: int) -> None:
        """Count files and folders that are about to be made in the folder of an origin.

        Raises:
            StreamRejected: there are too many.
        """
        held = self._of(origin)
        if held is not None:
            held.begin_files(folder, files)

    @contextlib.contextmanager
    def claim(self, origin: str, folder: Folder, size_bytes: int) -> Iterator[Share]:
        """Set aside what a file needs as long as it arrives; a file of unknown size takes more as it is written.

        Raises:
            StreamRejected: it is too much.
        """
        held = self._of(origin)
        if held is not None:
            held.begin_bytes(folder, size_bytes)
        share = Share(held, size_bytes)
        try:
            yield share
        finally:
            share.end()

    def _of(self, origin: str) -> Held | None:
        with self._lock:
            if not (self._limits.most_bytes or self._limits.most_files):
                return None
            return self._held.setdefault(origin, Held(origin, self._limits))
