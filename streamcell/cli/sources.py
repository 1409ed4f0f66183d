"""What ``send`` sends: files, folders with all that is in them, or standard input. Imports the public classes.

A folder's files arrive under its own name: ``send photos`` sends ``photos/2026/a.jpg``. Folders without files, links to
folders, and what is neither file nor folder are left out of a folder; named on the command line, a pipe is read to its
end.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from streamcell.cli.naming import absolute, resume_id
from streamcell.daemon.conventions import FileHeaders
from streamcell.errors import UsageError
from streamcell.message import Message
from streamcell.stream import FileStream

STANDARD_INPUT = Path("-")
_STANDARD_INPUT_NAME = "stdin"


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One thing to send.

    Attributes:
        path: the file; None: standard input.
        wire_name: the name that it arrives under.
        size_bytes: None if it is not known.
        resume_id: the name of the transfer across restarts; empty if it cannot be sent again.
    """

    path: Path | None
    wire_name: str | bytes
    size_bytes: int | None
    resume_id: str

    @property
    def shown_name(self) -> str:
        """The name as a terminal may show it."""
        name = self.wire_name
        text = os.fsdecode(name) if isinstance(name, bytes) else name
        encoded = text.encode("utf-8", "replace").decode()
        return "".join(character if character.isprintable() else "?" for character in encoded)

    def open(self) -> Message:
        """Open it and return what is to be sent.

        Raises:
            OSError: it cannot be opened.
        """
        if self.path is None:
            # Without Python's buffer, which would wait until a whole chunk has come.
            payload: Any = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            return Message(FileHeaders(self.wire_name).to_headers(), payload)
        status = self.path.stat()
        headers = FileHeaders(self.wire_name, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
        return Message(headers.to_headers(), FileStream(self.path))


def find_sources(paths: Iterable[Path], target: str, name: str | None) -> Iterator[Source]:
    """Return what is to be sent, folder by folder, in the order of names.

    Args:
        paths: as on the command line.
        target: the cell that it goes to.
        name: the name for a single file; None: its own.

    Raises:
        UsageError: a path does not exist or cannot be sent.
    """
    for path in paths:
        if path == STANDARD_INPUT:
            yield Source(None, name or _STANDARD_INPUT_NAME, None, "")
            continue
        place = absolute(path)
        own_name = name or place.name or "root"
        try:
            mode = place.stat().st_mode
        except OSError as error:
            raise UsageError(f"{path} cannot be sent: {error.strerror}") from error
        if stat.S_ISDIR(mode):
            yield from _walk(place, own_name, target)
        elif stat.S_ISREG(mode):
            yield _file(place, own_name, target)
        elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            yield Source(place, _wire(own_name), None, "")
        else:
            raise UsageError(f"{path} cannot be sent: it is neither a file nor a folder nor a pipe")


def _walk(folder: Path, wire_folder: str, target: str) -> Iterator[Source]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in listed:
        wire_name = f"{wire_folder}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), wire_name, target)
        elif entry.is_file():
            yield _file(Path(entry.path), wire_name, target)


def _file(path: Path, name: str, target: str) -> Source:
    wire_name = _wire(name)
    return Source(path, wire_name, path.stat().st_size, resume_id(target, path, wire_name))


def _wire(name: str) -> str | bytes:
    """Return a name as it travels: text if it is UTF-8, else its bytes."""
    raw = os.fsencode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
