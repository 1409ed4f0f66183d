"""The inbox: files that arrive, each in the folder of the cell that sends it.

``DIR/ORIGIN/NAME``; what a sender chooses cannot lead out of ``DIR/ORIGIN``. See ``arrival`` for one file's way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from streamcell.daemon.admission import Admission
from streamcell.daemon.arrival import Arrival, Manner, transfer_key
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC, FOLDER_TOPIC, NAME_HEADER, FileHeaders
from streamcell.daemon.file_system import FileSystem
from streamcell.daemon.folder import Folder
from streamcell.daemon.names import WORK_FOLDER, as_text, safe_part, safe_path, shown
from streamcell.daemon.quota import Limits, Quota
from streamcell.daemon.space import Space
from streamcell.errors import CellError, StreamRejected, UsageError
from streamcell.future import StreamFuture
from streamcell.limits import MIB
from streamcell.message import HeaderValue
from streamcell.runtime.threads.callbacks import call_user_code
from streamcell.runtime.threads.trace import cell_log
from streamcell.stream import ReceivedStream
from streamcell.stream_cell import StreamCell

_logger = logging.getLogger("streamcell.daemon")

_DAY_S = 24 * 3600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InboxSettings:
    """How an inbox keeps files.

    Attributes:
        folder: where; made if it is missing.
        replace: a file that exists is replaced instead of the new one being numbered.
        min_free_bytes: what stays free on its file system.
        keep_days: after so many days without a change partial files and receipts are removed.
        quota_bytes: what the files of one origin may take; 0: whatever there is.
        quota_files: how many files and folders of one origin there may be; 0: any number.
        require_sealed: refuse what its sender has not sealed.
    """

    folder: Path
    replace: bool = False
    min_free_bytes: int = 64 * MIB
    keep_days: float = 7.0
    quota_bytes: int = 0
    quota_files: int = 0
    require_sealed: bool = False

    @property
    def limits(self) -> Limits:
        """What one origin may have."""
        return Limits(self.quota_bytes, self.quota_files)


class Watcher(Protocol):
    """Who wants to know what happens in an inbox. Called in the thread that receives the file; decides nothing.

    A name is the sender's, exactly: :func:`streamcell.daemon.names.shown` makes of it what a terminal may show.
    """

    def on_started(self, name: str, future: StreamFuture) -> None:
        """A file begins to arrive."""

    def on_arrived(self, name: str, future: StreamFuture, path: Path) -> None:
        """A file is complete, has its name, and its sender hears of it; ``future.get_progress()`` is its size."""

    def on_folder(self, name: str, future: StreamFuture, path: Path) -> None:
        """A folder without files is there; it was not announced by ``on_started``."""

    def on_failed(self, name: str, future: StreamFuture, sentence: str) -> None:
        """A file or folder was refused, or did not arrive to its end."""


class LogWatcher:
    """Logs what happens."""

    def on_started(self, name: str, future: StreamFuture) -> None:
        """Log it for those who look closely."""
        _logger.debug("< '%s' from %s begins", shown(name), future.origin)

    def on_arrived(self, _name: str, future: StreamFuture, path: Path) -> None:
        """Log where it is."""
        _logger.info("< %s: %d bytes from %s", path, future.get_progress(), future.origin)

    def on_folder(self, _name: str, future: StreamFuture, path: Path) -> None:
        """Log where it is."""
        _logger.info("< %s/: a folder from %s", path, future.origin)

    def on_failed(self, name: str, future: StreamFuture, sentence: str) -> None:
        """Log why."""
        _logger.warning("< '%s' from %s: %s", shown(name), future.origin, sentence)


class Inbox:
    """A folder that files arrive in. Safe for use by several threads.

    Args:
        settings: how.
        watcher: is told of every file. What it raises is logged, and changes nothing.

    Raises:
        UsageError: the folder cannot be made or opened, or files cannot be kept in it.
    """

    def __init__(self, settings: InboxSettings, watcher: Watcher) -> None:
        self._settings = settings
        self._watcher = watcher
        self._admission = Admission()
        file_system = FileSystem(f"the inbox {settings.folder}")
        space = Space(settings.min_free_bytes)
        self._file_system = file_system
        quota = Quota(settings.limits)
        self._manner = Manner(settings.replace, _read_umask(), file_system, space, quota, self._admission)
        try:
            self._root = Folder.open(settings.folder, file_system)
            file_system.try_out(settings.folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(
                f"the inbox {settings.folder} cannot be used: {reason}; name a folder that may be written to"
            ) from error

    def register(self, cell: StreamCell) -> None:
        """Receive what is sent to a cell as files."""
        cell.register_stream_cb(FILE_CHANNEL, FILE_TOPIC, self.receive)
        cell.register_stream_cb(FILE_CHANNEL, FOLDER_TOPIC, self.receive_folder)

    def receive(self, future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        """Receive one file; a stream callback."""
        name = _name_of(stream.headers)
        self._tell(future, self._watcher.on_started, name, future)
        with self._told(future, name), self._admission.enter(transfer_key(stream, future.get_stream_id())) as key:
            self._check_sealed(future, stream)
            parts = self._receive(stream, key)
            self._tell(future, self._watcher.on_arrived, name, future, self._path(stream, parts))

    def receive_folder(self, future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        """Make one folder, if it is not there, also while the inbox drains: it takes no time; a stream callback."""
        name = _name_of(stream.headers)
        with self._told(future, name), self._admission.naming():
            self._check_sealed(future, stream)
            parts = safe_path(FileHeaders.from_headers(stream.headers).name)
            if stream.read(1):
                raise StreamRejected(
                    f"'{shown(name)}' was sent as a folder, and has bytes: send it on the topic {FILE_TOPIC!r}"
                )
            with self._enter_origin(stream.origin) as origin_folder:
                self._make_folder(stream.origin, origin_folder, parts)
                stream.close()
            self._tell(future, self._watcher.on_folder, name, future, self._path(stream, parts))

    def reload(self, settings: InboxSettings) -> None:
        """Keep files in another way from now on, in the same folder; what has begun to arrive goes on as before."""
        self._settings = dataclasses.replace(settings, folder=self._settings.folder)
        self._manner = dataclasses.replace(self._manner, replace=settings.replace)
        self._manner.space.min_free_bytes = settings.min_free_bytes
        self._manner.quota.reload(settings.limits)

    def begin_drain(self) -> None:
        """Refuse new files from now on, in a way that senders can try again."""
        self._admission.begin_drain()

    def give_up(self) -> None:
        """Let no file get its name from now on, but those that are given it just now; see :meth:`wait_named`."""
        self._admission.give_up()

    def wait_named(self, timeout_s: float) -> bool:
        """Wait until no file is just given its name; return False if there still is one after ``timeout_s``."""
        return self._admission.wait_named(timeout_s)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no file is on its way; return False if there still is one after ``timeout_s``."""
        return self._admission.wait_idle(timeout_s)

    def active(self) -> int:
        """Return how many files are on their way."""
        return self._admission.count()

    def clean(self, now: float) -> int:
        """Remove partial files and receipts that nobody came back for; return how many.

        Args:
            now: seconds since 1970.
        """
        oldest = now - self._settings.keep_days * _DAY_S
        removed = 0
        for origin in self._origins():
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

    def _check_sealed(self, future: StreamFuture, stream: ReceivedStream) -> None:
        if self._settings.require_sealed and not stream.sealed:
            raise StreamRejected(
                f"{future.target} takes only what is sealed: send it with --secure, in programs with secure=True"
            )

    def _receive(self, stream: ReceivedStream, key: str) -> tuple[str, ...]:
        with self._enter_origin(stream.origin) as origin_folder:
            return Arrival(stream, key, origin_folder, self._manner).receive()

    def _make_folder(self, origin: str, origin_folder: Folder, parts: tuple[str, ...]) -> None:
        with contextlib.suppress(FileNotFoundError), origin_folder.enter(parts):
            return
        self._manner.quota.begin_files(origin, origin_folder, len(parts))
        with origin_folder.enter(parts, make=True):
            pass

    @contextlib.contextmanager
    def _enter_origin(self, origin: str) -> Iterator[Folder]:
        """Open the folder for files of an origin, made if it is missing.

        Raises:
            StreamRejected: it is that of another origin, because the file system takes both names for the same.
            OSError: it cannot be made or opened.
        """
        name = safe_part(origin)
        with self._root.enter((name,), make=True) as folder:
            if self._file_system.folds_case and name not in self._root.names():
                raise StreamRejected(
                    f"another cell's folder has the name {origin} but for the case of its letters, and the file system "
                    "of this inbox takes the two for the same: give one of the cells another name"
                )
            yield folder

    def _origins(self) -> list[str]:
        try:
            return self._root.names()
        except OSError as error:
            _logger.warning("the inbox %s cannot be looked through: %s", self._settings.folder, error.strerror)
            return []

    def _path(self, stream: ReceivedStream, parts: tuple[str, ...]) -> Path:
        return self._settings.folder.joinpath(safe_part(stream.origin), *parts)

    @contextlib.contextmanager
    def _told(self, future: StreamFuture, name: str) -> Iterator[None]:
        """Have the watcher and the sender told of what goes wrong inside."""
        try:
            yield
        except CellError as error:
            self._tell(future, self._watcher.on_failed, name, future, error.sentence)
            raise
        except (OSError, UnicodeEncodeError) as error:
            reason = _reason(error)
            sentence = f"the inbox of {future.target} cannot keep '{shown(name)}': {reason}"
            self._tell(future, self._watcher.on_failed, name, future, sentence)
            raise StreamRejected(f"{sentence}; mend that there and send it again") from error

    def _is_active(self, work_name: str) -> bool:
        return self._admission.is_active(work_name.partition(".")[0])

    def _tell(self, future: StreamFuture, call: Callable[..., None], *args: object) -> None:
        """Tell the watcher, whose trouble is not the file's."""
        call_user_code(cell_log(future.target), logging.ERROR, "who watches the inbox", call, *args)


def _name_of(headers: dict[str, HeaderValue]) -> str:
    """Return the name that a sender has given, whatever that is."""
    name = headers.get(NAME_HEADER, "")
    return as_text(name) if isinstance(name, str | bytes) else str(name)


def _reason(error: OSError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"its locale writes names in {error.encoding}, which has not all of these letters: set PYTHONUTF8=1"
    return error.strerror or type(error).__name__


def _read_umask() -> int:
    """Return the umask, which can only be read by setting it: once, before there are other threads that make files."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
