"""What ``send`` sends: files, folders with all that is in them, or standard input.

A folder's files arrive under its own name: ``send photos`` sends ``photos/2026/a.jpg``. What has no content that could
be sent is left out of a folder, and counted: links that lead nowhere or to folders, pipes, sockets, devices. What
should have been sent and cannot be is a source, too, whose opening fails. Named on the command line, a pipe is read to
its end.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from streamcell.cli.naming import absolute, resume_id
from streamcell.daemon.conventions import FILE_TOPIC, FOLDER_TOPIC, FileHeaders
from streamcell.daemon.names import as_text, shown
from streamcell.errors import UsageError
from streamcell.message import Message
from streamcell.stream import FileStream

_logger = logging.getLogger("streamcell.cli")

STANDARD_INPUT = Path("-")
_STANDARD_INPUT_NAME = "stdin"


@dataclasses.dataclass(frozen=True, slots=True)
class Sendable:
    """One thing to send.

    Attributes:
        path: the file; None: standard input.
        wire_name: the name that it arrives under.
        size_bytes: None if it is not known.
        resume_id: the name of the transfer across restarts; empty if it cannot be sent again.
        is_folder: it is a folder without files, of which there is only the name to send.
        problem: why it cannot be sent; None: nothing is known against it.
    """

    path: Path | None
    wire_name: str | bytes
    size_bytes: int | None
    resume_id: str
    is_folder: bool = False
    problem: OSError | None = None

    @property
    def topic(self) -> str:
        """What it is sent as."""
        return FOLDER_TOPIC if self.is_folder else FILE_TOPIC

    @property
    def is_read_once(self) -> bool:
        """Whether it can be read one time only, as standard input and pipes."""
        return not self.resume_id

    def for_target(self, target: str) -> Sendable:
        """Return the same for another cell."""
        if self.path is None or self.is_read_once:
            return self
        return dataclasses.replace(self, resume_id=resume_id(target, self.path, self.wire_name))

    @property
    def name(self) -> str:
        """The name that it arrives under, as text; of a folder with a ``/`` at its end."""
        name = as_text(self.wire_name)
        return f"{name}/" if self.is_folder else name

    @property
    def shown_name(self) -> str:
        """The name as a terminal may show it."""
        return shown(self.name)

    def without_name(self, sentence: str) -> str:
        """Return a sentence of the receiver's without the name: what it says of others, too, for the same reason."""
        return sentence.replace(f"'{shown(as_text(self.wire_name))}'", "")

    def open(self) -> Message:
        """Open it and return what is to be sent.

        Raises:
            OSError: it cannot be opened.
        """
        if self.problem is not None:
            raise self.problem
        if self.is_folder:
            return Message(FileHeaders(self.wire_name).to_headers(), b"")
        if self.path is None:
            # Without Python's buffer, which would wait until a whole chunk has come.
            payload: Any = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            return Message(FileHeaders(self.wire_name).to_headers(), payload)
        status = self.path.stat()
        headers = FileHeaders(self.wire_name, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
        return Message(headers.to_headers(), FileStream(self.path))


@dataclasses.dataclass(slots=True)
class Found:
    """What is to be sent, folder by folder, in the order of names.

    Attributes:
        sources: all of it.
        left_out: how many things of which kind were left out of folders.
    """

    sources: list[Sendable] = dataclasses.field(default_factory=list)
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def left_out_text(self) -> str:
        """What was left out, for people; empty if nothing was."""
        return ", ".join(
            f"{count} {kind if count == 1 else _PLURALS[kind]}" for kind, count in sorted(self.left_out.items())
        )


def find_sources(paths: Iterable[Path], target: str, name: str | None) -> Found:
    """Return what is to be sent.

    Args:
        paths: as on the command line.
        target: the cell that it goes to.
        name: the name for a single file; None: its own.

    Raises:
        UsageError: a path does not exist or cannot be sent.
    """
    found = Found()
    for path in paths:
        if path == STANDARD_INPUT:
            found.sources.append(Sendable(None, name or _STANDARD_INPUT_NAME, None, ""))
            continue
        place = absolute(path)
        own_name = name or place.name or "root"
        try:
            status = place.stat()
        except OSError as error:
            raise UsageError(f"{path} cannot be sent: {error.strerror}") from error
        if stat.S_ISDIR(status.st_mode):
            found.sources.extend(_Walk(target, found.left_out).sources(place, own_name))
        elif stat.S_ISREG(status.st_mode):
            found.sources.append(_source(target, place, own_name, status.st_size))
        elif stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):
            found.sources.append(Sendable(place, _wire(own_name), None, ""))
        else:
            raise UsageError(f"{path} cannot be sent: it is neither a file nor a folder nor a pipe")
    return found


# What is left out of a folder, by the kind of what a name leads to, one and several of them.
_KINDS = {stat.S_IFDIR: "link to a folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
_DEVICE, _DANGLING = "device", "dangling link"
_PLURALS = {
    **{kind: f"{kind}s" for kind in ("pipe", "socket", _DEVICE, _DANGLING)},
    "link to a folder": "links to folders",
}


class _Folder(NamedTuple):
    """A folder that is still to be looked into."""

    path: Path
    wire_name: str


class _Walk:
    """Looks through a folder, however deep, and goes on whatever it meets."""

    def __init__(self, target: str, left_out: collections.Counter[str]) -> None:
        self._target = target
        self._left_out = left_out

    def sources(self, folder: Path, wire_name: str) -> Iterator[Sendable]:
        """Return what is to be sent of a folder."""
        below: list[Sendable | _Folder] = [_Folder(folder, wire_name)]
        while below:
            found = below.pop()
            if isinstance(found, Sendable):
                yield found
            else:
                below.extend(self._open(found))

    def _open(self, folder: _Folder) -> list[Sendable | _Folder]:
        """Return the sources and folders in a folder, the last one first."""
        entries: list[os.DirEntry[str]] = []
        below: list[Sendable | _Folder] = []
        problem: OSError | None = None
        try:
            with os.scandir(folder.path) as listed:
                # Those before an error stay.
                entries.extend(listed)
        except OSError as error:
            problem = error
        for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
            found = self._look_at(entry, f"{folder.wire_name}/{entry.name}")
            if found is not None:
                below.append(found)
        if problem is not None:
            below.append(_source(self._target, *folder, None, problem))
        elif not below:
            below.append(dataclasses.replace(_source(self._target, *folder, 0), is_folder=True))
        return below

    def _look_at(self, entry: os.DirEntry[str], wire_name: str) -> Sendable | _Folder | None:
        path = Path(entry.path)
        try:
            if entry.is_dir(follow_symlinks=False):
                return _Folder(path, wire_name)
            status = entry.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and entry.is_symlink():
                self._leave_out(entry, _DANGLING)
                return None
            return _source(self._target, path, wire_name, None, error)
        if stat.S_ISREG(status.st_mode):
            return _source(self._target, path, wire_name, status.st_size)
        self._leave_out(entry, _KINDS.get(stat.S_IFMT(status.st_mode), _DEVICE))
        return None

    def _leave_out(self, entry: os.DirEntry[str], kind: str) -> None:
        self._left_out[kind] += 1
        _logger.info("left out: %r, a %s", entry.path, kind)


def _source(target: str, path: Path, name: str, size_bytes: int | None, problem: OSError | None = None) -> Sendable:
    wire_name = _wire(name)
    return Sendable(path, wire_name, size_bytes, resume_id(target, path, wire_name), problem=problem)


def _wire(name: str) -> str | bytes:
    """Return a name as it travels: text if it is UTF-8, else its bytes."""
    raw = os.fsencode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
