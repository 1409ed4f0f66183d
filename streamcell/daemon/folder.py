"""A folder that nothing outside of can be reached from. Imports the standard library and siblings' values.

Every path is walked part by part from an open folder, and no part may be a symbolic link (openat(2) with O_NOFOLLOW),
so that it does not matter what stands in the folder or changes there meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from streamcell.daemon.names import numbered

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
# Where hard links do not exist, or may not be made.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
# Files of one name in one folder: beyond it somebody sends the same thing over and over.
MOST_NUMBERED = 9_999


class Folder:
    """An open folder. A context manager; use it in one thread at a time."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that the operator has named, made if it is missing. It may be a symbolic link.

        Raises:
            OSError: it cannot be made or opened.
        """
        path.mkdir(parents=True, exist_ok=True)
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def enter(self, parts: Sequence[str], *, make: bool = False, mode: int = 0o777) -> Iterator[Folder]:
        """Open a folder below, part by part.

        Args:
            parts: the names of the folders on the way.
            make: make those that are missing.
            mode: permissions of those that are made, less the umask.

        Raises:
            OSError: one of them is missing, is a symbolic link, or is no folder.
        """
        folder = Folder(os.dup(self.descriptor))
        try:
            for part in parts:
                inner = folder.open_inner(part, make=make, mode=mode)
                folder.close()
                folder = inner
            yield folder
        finally:
            folder.close()

    def open_inner(self, name: str, *, make: bool, mode: int) -> Folder:
        """Open a folder directly below; see :meth:`enter`."""
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=self.descriptor)
                self.sync()
        return Folder(os.open(name, _FOLDER_FLAGS, dir_fd=self.descriptor))

    def open_file(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file directly below and return its descriptor.

        Raises:
            OSError: it cannot be opened, or is a symbolic link.
        """
        return os.open(name, flags | _FILE_FLAGS, mode, dir_fd=self.descriptor)

    def names(self) -> list[str]:
        """Return the names of everything directly below."""
        with os.scandir(self.descriptor) as entries:
            return [entry.name for entry in entries]

    def stat(self, name: str) -> os.stat_result | None:
        """Return what is known of something directly below, not following a symbolic link; None if it is missing."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file directly below, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def replace(self, name: str, target: Folder, target_name: str) -> None:
        """Move a file to a name in another folder of the same file system; what is there is replaced at once."""
        os.replace(name, target_name, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)

    def move_to_free_name(self, name: str, target: Folder, target_name: str) -> str:
        """Move a file to another folder of the same file system, to a name that is free; return that name.

        If ``target_name`` is taken, a number is added. Where the file system has hard links nothing is ever replaced,
        whatever other programs put there at the same time.

        Raises:
            FileExistsError: there are too many files of this name.
        """
        for number in range(1, MOST_NUMBERED + 1):
            candidate = target_name if number == 1 else numbered(target_name, number)
            if self._move_if_free(name, target, candidate):
                return candidate
        raise FileExistsError(errno.EEXIST, f"there are {MOST_NUMBERED} files of this name", target_name)

    def find_numbered(self, name: str, is_it: Callable[[os.stat_result], bool]) -> str | None:
        """Return ``name``, or a numbered one of it, whose file is the one that is looked for; None if there is none."""
        for number in range(1, MOST_NUMBERED + 1):
            candidate = name if number == 1 else numbered(name, number)
            status = self.stat(candidate)
            if status is None and number > 1:
                return None
            if status is not None and stat.S_ISREG(status.st_mode) and is_it(status):
                return candidate
        return None

    def sync(self) -> None:
        """Make the names in this folder survive a power failure."""
        os.fsync(self.descriptor)

    def free_bytes(self) -> int:
        """Return how much may be written to the file system."""
        status = os.fstatvfs(self.descriptor)
        return status.f_bavail * status.f_frsize

    def _move_if_free(self, name: str, target: Folder, candidate: str) -> bool:
        try:
            os.link(name, candidate, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor, follow_symlinks=False)
        except FileExistsError:
            if not self._is_same(name, target, candidate):
                return False
            # It was moved before, by a process that ended at this point.
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.stat(candidate) is not None:
                return False
            self.replace(name, target, candidate)
            return True
        os.unlink(name, dir_fd=self.descriptor)
        return True

    def _is_same(self, name: str, target: Folder, candidate: str) -> bool:
        mine, there = self.stat(name), target.stat(candidate)
        return mine is not None and there is not None and os.path.samestat(mine, there)
