"""Names of cells."""

from __future__ import annotations

import re

from streamcell.errors import UsageError
from streamcell.limits import FQCN_BYTES, NAME_BYTES

_PART = r"[A-Za-z0-9_~-]+"
_FQCN = re.compile(rf"{_PART}(?:\.{_PART})*", re.ASCII)

ANY = "*"


def is_fqcn(name: str) -> bool:
    """Return whether ``name`` is a well-formed name of a cell."""
    return len(name) <= FQCN_BYTES and _FQCN.fullmatch(name) is not None


def check_fqcn(name: object) -> str:
    """Return ``name`` if it is a well-formed name of a cell.

    :raises UsageError: if it is not.
    """
    if not isinstance(name, str) or not is_fqcn(name):
        raise UsageError(
            f"{name!r:.300} is not a cell name: use dot-separated parts of letters, digits, '_', '~' and '-', "
            f"at most {FQCN_BYTES} characters, for example 'site-1.job-7'"
        )
    return name


def check_callback_name(name: object, what: str) -> str:
    """Return ``name`` if it may be a channel or a topic (``what`` says which).

    :raises UsageError: if it is not a string, is empty, or is longer than 255 bytes.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"{what} must be a non-empty string, not {name!r:.100}")
    return check_name(name, what)


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it can travel as a channel, a topic or a resume id (``what`` says which).

    :raises UsageError: if it is not valid Unicode, as names of files may be, or is longer than 255 bytes.
    """
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} is not valid Unicode: {name!r:.100}") from error
    if size > NAME_BYTES:
        raise UsageError(f"{what} is longer than {NAME_BYTES} bytes: {name!r:.100}...")
    return name
