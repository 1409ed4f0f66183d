"""Checks of the single fields that a peer has sent.

Each returns what it was given, so that it can stand where the value is used, and raises ``ProtocolError`` with a
sentence that names the field.
"""

from __future__ import annotations

import functools

from streamcell import limits
from streamcell.digest import Digest
from streamcell.errors import ErrorCode, ProtocolError, one_line
from streamcell.fqcn import is_fqcn

# Unknown codes: INTERNAL, because UNSPECIFIED would mean that all is well.
ERROR_CODES = {int(code): code for code in ErrorCode}

# Text that a cell gives of itself for display: an address, a version.
LABEL_BYTES = 1024
# A name comes again in every frame of its stream. Only names of legal length get in, so that a peer
# cannot fill it.
_is_known_fqcn = functools.lru_cache(maxsize=4096)(is_fqcn)


def checked_fqcn(name: str, what: str) -> str:
    """Return a name of a cell."""
    if len(name) > limits.FQCN_BYTES or not _is_known_fqcn(name):
        raise ProtocolError(f"{what} {name!r:.100} is not a cell name")
    return name


def checked_optional_fqcn(name: str, what: str) -> str:
    """Return a name of a cell, or the empty text."""
    return checked_fqcn(name, what) if name else name


def text_bytes(text: str) -> int:
    """Return how many bytes of UTF-8 a text takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def checked_text(text: str, limit_bytes: int, what: str) -> str:
    """Return a text of at most so many bytes of UTF-8."""
    # No character takes more than four bytes, and most names are far too short to need a closer look.
    if len(text) > limit_bytes // 4 and text_bytes(text) > limit_bytes:
        raise ProtocolError(f"{what} {text!r:.100}... is longer than {limit_bytes} bytes")
    return text


def checked_label(text: str, what: str) -> str:
    """Return what a cell gives of itself for people to read, on one line and without what a terminal obeys."""
    return one_line(checked_text(text, LABEL_BYTES, what)) if text else text


def checked_name(name: str, what: str) -> str:
    """Return a text that is no longer than a name may be."""
    return checked_text(name, limits.NAME_BYTES, what)


def checked_required_name(name: str, what: str) -> str:
    """Return a name that is not empty."""
    if not name:
        raise ProtocolError(f"{what} is empty")
    return checked_name(name, what)


def checked_digest(text: str, what: str) -> Digest | None:
    """Return a digest, or None if there is none. By which algorithm it is does not matter."""
    return Digest(checked_name(text, what)) if text else None


def checked_sentence(text: str) -> str:
    """Return a sentence on one line, shortened: all it does is to end up in a log."""
    return one_line(text) if text else text


def checked_stamp(stamp: bytes) -> bytes:
    """Return a stamp of a source."""
    if len(stamp) > limits.SOURCE_STAMP_BYTES:
        raise ProtocolError(f"source_stamp has {len(stamp)} bytes, more than {limits.SOURCE_STAMP_BYTES}")
    return stamp


def checked_id(number: bytes, what: str) -> bytes:
    """Return random bytes by which something is told from all others."""
    if len(number) != limits.ID_BYTES:
        raise ProtocolError(f"{what} has {len(number)} bytes, not {limits.ID_BYTES}")
    return number


def checked_seconds(value: float, what: str) -> float:
    """Return a time in seconds: 0 or more, and finite."""
    if not 0.0 <= value < float("inf"):  # also false for NaN
        raise ProtocolError(f"{what} is {value}: a time in seconds is 0 or more, and finite")
    return value


def check_count(count: int, limit: int, what: str) -> None:
    """Check that there are no more of something than may be."""
    if count > limit:
        raise ProtocolError(f"{count} {what}, more than {limit}")
