"""Certificates and keys as files: written whole or not at all, and never over another one unless that is wanted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from streamcell.errors import UsageError

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644
_FOLDER_MODE = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder that only its user may enter, unless it is there.

    :raises UsageError: if it cannot be made.
    """
    try:
        folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from error


def write_files(files: Sequence[tuple[Path, bytes, int]], *, force: bool = False) -> None:
    """Write files, each with its mode: all of them, or none.

    :param force: put them in the place of those that are there.
    :raises UsageError: if one is there, or cannot be written.
    """
    if not force:
        for path, _, _ in files:
            if path.exists() or path.is_symlink():
                raise UsageError(f"{path} is there already: it is only replaced with --force")
    written: list[Path] = []
    try:
        for path, data, mode in files:
            if force:
                replace(path, data, mode)
            else:
                _write_new(path, data, mode)
            written.append(path)
    except OSError as error:
        if not force:
            for path in written:
                path.unlink(missing_ok=True)
        raise UsageError(f"{error.filename or files[0][0].parent} cannot be written: {error.strerror}") from error


def replace(path: Path, data: bytes, mode: int) -> None:
    """Put a file in the place of another at once: who reads it has the one or the other."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
