"""What the file system of an inbox cannot do, so that files are kept without it.

Samba, FUSE and file systems of memory cards refuse calls that a file can do without: to sync a folder, to set
permissions or times, to make hard links. Each such refusal is said once, and forgiven. An error that speaks of the file
itself or of its disk (EIO, ENOSPC, EDQUOT, EROFS and all others) never is.
"""

from __future__ import annotations

import enum
import errno
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_logger = logging.getLogger("streamcell.daemon")

# The call exists, but not here.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY})
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES})
# A disk that is full today takes files tomorrow.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Lack(enum.Enum):
    """Something that a file system may be unable to do: what that means, and the errors that say so."""

    SYNC_FOLDER = (
        "it cannot sync a folder: the name of a file that has just arrived may be lost with the power",
        _UNSUPPORTED | _FORBIDDEN | {errno.EBADF, errno.EISDIR},
    )
    SYNC_FILE = ("it cannot sync a file: one that has just arrived may be lost with the power", _UNSUPPORTED)
    MODE = ("it takes no permissions: files have those that it gives them", _UNSUPPORTED | _FORBIDDEN)
    TIME = ("it takes no times: files have the time at which they arrived", _UNSUPPORTED | _FORBIDDEN)
    LINK = (
        "it has no hard links: a file of the same name that another program makes at the same moment may be replaced",
        _UNSUPPORTED | _FORBIDDEN | {errno.EMLINK, errno.EXDEV},
    )
    ROOM = ("it does not say how much room there is: min_free_bytes has no effect", _UNSUPPORTED | _FORBIDDEN)

    def __init__(self, sentence: str, errors: frozenset[int]) -> None:
        self.sentence = sentence
        self.errors = errors


class FileSystem:
    """The file system of one inbox. Safe for use by several threads.

    Args:
        name: what the log calls it.

    Attributes:
        naming: held while a name that is free is looked for and taken in two steps.
        folds_case: names that differ only in the case of their letters are the same, as far as was tried out.
    """

    def __init__(self, name: str = "the inbox") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._said: set[Lack] = set()
        self.naming = threading.Lock()
        self.folds_case = False

    @contextmanager
    def without(self, lack: Lack) -> Iterator[None]:
        """Do something that is done without where the file system cannot; whatever else is raised goes on."""
        try:
            yield
        except OSError as error:
            if error.errno not in lack.errors:
                raise
            self.note(lack, error)

    def note(self, lack: Lack, error: OSError | None = None) -> None:
        """Say what the file system cannot do, the first time."""
        with self._lock:
            if lack in self._said:
                return
            self._said.add(lack)
        reason = f" ({error.strerror})" if error is not None else ""
        _logger.warning("the file system of %s: %s%s", self._name, lack.sentence, reason)

    def free_bytes(self, descriptor: int) -> int | None:
        """Return how much may be written where something is open; None if that cannot be known.

        Raises:
            OSError: the disk has an error.
        """
        try:
            status = os.fstatvfs(descriptor)
        except OSError as error:
            if error.errno not in Lack.ROOM.errors:
                raise
            self.note(Lack.ROOM, error)
            return None
        if not status.f_blocks:
            # So does a file system in user space answer that does not know.
            self.note(Lack.ROOM)
            return None
        return status.f_bavail * status.f_frsize

    def try_out(self, folder: Path) -> None:
        """Do once with a small file what is done with each that arrives; what cannot be done without is raised.

        A full disk is only said: it may have room again.

        Raises:
            OSError: files can never be kept in ``folder``.
        """
        try:
            place = Path(tempfile.mkdtemp(prefix=".streamcell-", dir=folder))
        except OSError as error:
            self._forgive_full(error)
            return
        try:
            self.folds_case = os.path.lexists(folder / place.name.swapcase())
            self._try_in(place)
        except OSError as error:
            self._forgive_full(error)
        finally:
            with suppress(OSError):
                for path in place.iterdir():
                    path.unlink()
                place.rmdir()

    def _try_in(self, place: Path) -> None:
        first, second = place / "first", place / "second"
        descriptor = os.open(first, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b".")
            with self.without(Lack.MODE):
                os.fchmod(descriptor, 0o640)
            with self.without(Lack.TIME):
                os.utime(descriptor, ns=(0, 0))
            with self.without(Lack.SYNC_FILE):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with self.without(Lack.LINK):
            os.link(first, second)
        first.replace(second)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self.without(Lack.SYNC_FOLDER):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _forgive_full(self, error: OSError) -> None:
        if error.errno not in _FULL:
            raise error
        _logger.warning("the file system of %s takes no file now: %s", self._name, error.strerror)
