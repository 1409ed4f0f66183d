"""Names that are the same whenever the same command is given again."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from streamcell.security.settings import TLSConfig

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_~-]+")
_PART_CHARACTERS = 60
_HASH_DIGITS = 8


def host_and_user() -> tuple[str, str]:
    """Return who gives the command, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number without a name.
        user = str(os.getuid())
    return socket.gethostname(), user


def absolute(path: Path) -> Path:
    """Return a path as it is from the root, without ``..``; symbolic links in it stay."""
    return Path(os.path.normpath(path.absolute()))


def command_name(verb: str, *what: str) -> str:
    """Return a cell's name for a command that was not given one: from host, user and ``what`` it is about."""
    host, user = host_and_user()
    return f"{verb}-{_as_part(host)}-{_as_part(user)}-{_digest(host, user, *what)[:_HASH_DIGITS]}"


def proven_name(name: str, tls: TLSConfig | None) -> str:
    """Return a name that a command was not given, below the one that its certificate proves, if it proves one.

    :raises AuthenticationError: if the certificate cannot be read.
    """
    if tls is None or tls.cert is None:
        return name
    from streamcell.security.credentials import Credentials

    identity = Credentials(tls).material.identity
    return name if identity is None else f"{identity.name}.{name}"


def send_name(target: str, paths: Iterable[Path]) -> str:
    """Return the name of the cell that sends these files to that target."""
    return command_name("send", target, *(os.fspath(path) for path in paths))


def resume_id(target: str, path: Path, wire_name: str | bytes) -> str:
    """Return what names the transfer of one file across restarts.

    Args:
        target: the cell that it goes to.
        path: the file, as an absolute path.
        wire_name: the name that it arrives under.
    """
    host, user = host_and_user()
    name = wire_name if isinstance(wire_name, str) else os.fsdecode(wire_name)
    return f"streamcell-send-{_digest(host, user, target, os.fspath(path), name)[:32]}"


def _as_part(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text)[:_PART_CHARACTERS].strip("-") or "unknown"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
