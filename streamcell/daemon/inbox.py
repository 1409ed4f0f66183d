"""The inbox: files that arrive, each in the folder of the cell that sends it. Imports the public classes and siblings.

``DIR/ORIGIN/NAME``; what a sender chooses cannot lead out of ``DIR/ORIGIN``. See ``arrival`` for one file's way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from streamcell.daemon.arrival import Arrival, Manner, transfer_key
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC, NAME_HEADER
from streamcell.daemon.folder import Folder
from streamcell.daemon.names import WORK_FOLDER, escape, safe_part
from streamcell.daemon.space import Space
from streamcell.errors import CellError, ErrorCode, StreamRejected, UsageError
from streamcell.future import StreamFuture
from streamcell.limits import MIB
from streamcell.message import HeaderValue
from streamcell.stream import ReceivedStream
from streamcell.stream_cell import StreamCell

_logger = logging.getLogger("streamcell.daemon")

# How long a transfer that is begun again waits for its predecessor to let go of the partial file.
_PREDECESSOR_S = 10.0
_DAY_S = 24 * 3600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InboxSettings:
    """How an inbox keeps files.

    Attributes:
        folder: where; made if it is missing.
        replace: a file that exists is replaced instead of the new one being numbered.
        min_free_bytes: what stays free on its file system.
        keep_days: after so many days without a change partial files and receipts are removed.
    """

    folder: Path
    replace: bool = False
    min_free_bytes: int = 64 * MIB
    keep_days: float = 7.0


class Watcher(Protocol):
    """Who wants to know what happens in an inbox. Called in the thread that receives the file."""

    def on_started(self, name: str, future: StreamFuture) -> None:
        """A file begins to arrive."""

    def on_arrived(self, name: str, future: StreamFuture, path: Path) -> None:
        """A file is complete and has its name; its sender hears of it next."""

    def on_failed(self, name: str, future: StreamFuture, sentence: str) -> None:
        """A file was refused, or did not arrive to its end."""


class LogWatcher:
    """Logs what happens."""

    def on_started(self, name: str, future: StreamFuture) -> None:
        """Log it for those who look closely."""
        _logger.debug("< '%s' from %s begins", name, future.origin)

    def on_arrived(self, _name: str, future: StreamFuture, path: Path) -> None:
        """Log where it is."""
        _logger.info("< %s: %d bytes from %s", path, future.get_progress(), future.origin)

    def on_failed(self, name: str, future: StreamFuture, sentence: str) -> None:
        """Log why."""
        _logger.warning("< '%s' from %s: %s", name, future.origin, sentence)


class Inbox:
    """A folder that files arrive in. Safe for use by several threads.

    Args:
        settings: how.
        watcher: is told of every file.

    Raises:
        UsageError: the folder cannot be made, opened or written to.
    """

    def __init__(self, settings: InboxSettings, watcher: Watcher) -> None:
        self._settings = settings
        self._watcher = watcher
        self._manner = Manner(settings.replace, _read_umask())
        self._space = Space(settings.min_free_bytes)
        self._changed = threading.Condition()
        self._active: set[str] = set()
        self._draining = False
        try:
            self._root = Folder.open(settings.folder)
            _check_writable(settings.folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(
                f"the inbox {settings.folder} cannot be used: {reason}; name a folder that may be written to"
            ) from error

    def register(self, cell: StreamCell) -> None:
        """Receive what is sent to a cell as files."""
        cell.register_stream_cb(FILE_CHANNEL, FILE_TOPIC, self.receive)

    def receive(self, future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        """Receive one file; a stream callback."""
        name = shown_name(stream.headers)
        self._watcher.on_started(name, future)
        try:
            parts = self._receive(stream, future.get_stream_id())
        except CellError as error:
            self._watcher.on_failed(name, future, error.sentence)
            raise
        except OSError as error:
            reason = error.strerror or type(error).__name__
            sentence = f"the inbox of {future.target} cannot keep '{name}': {reason}"
            self._watcher.on_failed(name, future, sentence)
            raise StreamRejected(f"{sentence}; mend that there and send it again") from error
        self._watcher.on_arrived(name, future, self._settings.folder.joinpath(safe_part(stream.origin), *parts))

    def begin_drain(self) -> None:
        """Refuse new files from now on, in a way that senders can try again."""
        with self._changed:
            self._draining = True

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no file is on its way; return False if there still is one after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, timeout_s)

    def active(self) -> int:
        """Return how many files are on their way."""
        return len(self._active)

    def clean(self, now: float) -> int:
        """Remove partial files and receipts that nobody came back for; return how many.

        Args:
            now: seconds since 1970.
        """
        oldest = now - self._settings.keep_days * _DAY_S
        removed = 0
        for origin in self._root.names():
            with contextlib.suppress(OSError), self._root.enter((origin, WORK_FOLDER)) as work:
                for name in work.names():
                    status = work.stat(name)
                    if status is not None and status.st_ctime < oldest and not self._is_active(name):
                        work.remove(name)
                        removed += 1
        if removed:
            _logger.info("removed %d partial files and receipts that are older than the inbox keeps them", removed)
        return removed

    def close(self) -> None:
        """Let go of the folder, when nothing is on its way."""
        self._root.close()

    def _receive(self, stream: ReceivedStream, stream_id: int) -> tuple[str, ...]:
        key = transfer_key(stream, stream_id)
        with self._admitted(key), self._root.enter((safe_part(stream.origin),), make=True) as origin_folder:
            return Arrival(stream, key, origin_folder, self._space, self._manner).receive()

    @contextlib.contextmanager
    def _admitted(self, key: str) -> Iterator[None]:
        """Keep the work files of a transfer from everybody else."""
        with self._changed:
            free = self._changed.wait_for(lambda: self._draining or key not in self._active, _PREDECESSOR_S)
            if self._draining:
                raise StreamRejected("the inbox is being closed: send it again in a while", ErrorCode.STOPPING)
            if not free:
                raise StreamRejected("this file is being received already: wait for the other sender to end")
            self._active.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._active.discard(key)
                self._changed.notify_all()

    def _is_active(self, work_name: str) -> bool:
        return work_name.partition(".")[0] in self._active


def shown_name(headers: dict[str, HeaderValue]) -> str:
    """Return how a file is called in logs and on terminals, whatever its sender has sent."""
    name = headers.get(NAME_HEADER, "")
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
    return escape(text)[:255]


def _read_umask() -> int:
    """Return the umask, which can only be read by setting it: once, before there are other threads that make files."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(path))
