"""A folder that nothing outside of can be reached from.

Every path is walked part by part from an open folder, and no part may be a symbolic link (openat(2) with O_NOFOLLOW),
so that it does not matter what stands in the folder or changes there meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from streamcell.daemon.file_system import FileSystem, Lack
from streamcell.daemon.names import numbered

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
# What opening something else as a folder fails with; systems differ in what a symbolic link gives.
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)
# Files of one name in one folder: beyond it somebody sends the same thing over and over.
MOST_NUMBERED = 9_999


class Taken(NamedTuple):
    """A name that a file has got: a further one that it is linked to, or, where there are no links, its only one."""

    name: str
    linked: bool


class Folder:
    """An open folder. A context manager; use it in one thread at a time.

    Args:
        descriptor: of the folder; closed with it.
        file_system: what is done without on it.
    """

    def __init__(self, descriptor: int, file_system: FileSystem) -> None:
        self.descriptor = descriptor
        self._file_system = file_system

    @classmethod
    def open(cls, path: Path, file_system: FileSystem) -> Self:
        """Open a folder that the operator has named, made if it is missing. It may be a symbolic link.

        Raises:
            OSError: it cannot be made or opened.
        """
        path.mkdir(parents=True, exist_ok=True)
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), file_system)

    def close(self) -> None:
        """Close it. Nothing was written through it, so that no error here is of interest to anybody."""
        with contextlib.suppress(OSError):
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
        folder = Folder(os.dup(self.descriptor), self._file_system)
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
        try:
            return Folder(os.open(name, _FOLDER_FLAGS, dir_fd=self.descriptor), self._file_system)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            status = self.stat(name)
            is_link = status is not None and stat.S_ISLNK(status.st_mode)
            what = "a symbolic link, and none is followed" if is_link else "no folder"
            raise NotADirectoryError(errno.ENOTDIR, f"'{name}' there is {what}") from error

    def check_way(self, parts: Sequence[str], work: Folder) -> int:
        """Check that a file from ``work`` can be moved into a folder below, as far as that can be known beforehand.

        Returns how many folders on the way are missing.

        Args:
            parts: the names of the folders on the way; those that are missing are not made.
            work: where the file is.

        Raises:
            OSError: it cannot.
        """
        there = 0
        folder = Folder(os.dup(self.descriptor), self._file_system)
        try:
            for part in parts:
                try:
                    inner = folder.open_inner(part, make=False, mode=0)
                except FileNotFoundError:
                    break
                folder.close()
                folder = inner
                there += 1
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.descriptor):
                shown = "/".join(parts[:there]) or "of this sender"
                raise PermissionError(errno.EACCES, f"the folder {shown} may not be written to")
            if os.fstat(folder.descriptor).st_dev != os.fstat(work.descriptor).st_dev:
                folder.try_move(work)
            return len(parts) - there
        finally:
            folder.close()

    def try_move(self, source: Folder) -> None:
        """Move an empty file here, from a folder that seems to be on another file system, and remove it.

        Raises:
            OSError: it cannot be moved.
        """
        name = f".streamcell-{os.getpid()}-{threading.get_ident()}"
        os.close(source.open_file(name, os.O_WRONLY | os.O_CREAT))
        try:
            source.replace(name, self, name)
        finally:
            source.remove(name)
            self.remove(name)

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

    def take_free_name(self, name: str, target: Folder, target_name: str) -> Taken:
        """Give a file a name in another folder of the same file system that is free, and return that.

        If ``target_name`` is taken, a number is added. Where the file system has hard links nothing is ever replaced,
        whatever other programs put there at the same time, and the file keeps ``name`` as well.

        Raises:
            FileExistsError: there are too many files of this name.
            OSError: it cannot be done.
        """
        for number in range(1, MOST_NUMBERED + 1):
            candidate = target_name if number == 1 else numbered(target_name, number)
            linked = self._take_if_free(name, target, candidate)
            if linked is not None:
                return Taken(candidate, linked)
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
        """Make the names in this folder survive a power failure, where the file system can."""
        with self._file_system.without(Lack.SYNC_FOLDER):
            os.fsync(self.descriptor)

    def free_bytes(self) -> int | None:
        """Return how much may be written to the file system; None if it does not say."""
        return self._file_system.free_bytes(self.descriptor)

    def _take_if_free(self, name: str, target: Folder, candidate: str) -> bool | None:
        """Return whether the file is linked to a name now, or moved there; None if the name is not free."""
        try:
            os.link(name, candidate, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor, follow_symlinks=False)
        except FileExistsError:
            # The same: it was linked before, by a process that ended at this point.
            return True if self._is_same(name, target, candidate) else None
        except OSError as error:
            if error.errno not in Lack.LINK.errors:
                raise
            return self._move_if_free(name, target, candidate, error)
        return True

    def _move_if_free(self, name: str, target: Folder, candidate: str, no_link: OSError) -> bool | None:
        with self._file_system.naming:
            if target.stat(candidate) is not None:
                return None
            self.replace(name, target, candidate)
        self._file_system.note(Lack.LINK, no_link)
        return False

    def _is_same(self, name: str, target: Folder, candidate: str) -> bool:
        mine, there = self.stat(name), target.stat(candidate)
        return mine is not None and there is not None and os.path.samestat(mine, there)
