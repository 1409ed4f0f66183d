"""From the name that a sender gave to a path that stays in its folder.

A name that could lead elsewhere (absolute, with ``..``) is refused. A character that could do harm where the name is
shown or copied (control characters, the ones that turn the direction of writing, bytes that are not UTF-8) arrives as
``%`` and two hexadecimal digits for each byte, and so does the first character of a name that is a device on some
systems. Everything else arrives as it is.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from streamcell.errors import StreamRejected

# The folder in each origin's folder that partial files and receipts are kept in.
WORK_FOLDER = ".streamcell"

# What file systems take as one part of a path, in bytes.
PART_BYTES = 255
# Folders in folders: deeper ones are mistakes, and each is a file descriptor while it is opened.
PARTS = 64

_HARMFUL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS_DIRECTION = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{kind}{number}" for kind in ("COM", "LPT") for number in range(1, 10))}
)


def safe_path(name: str | bytes) -> tuple[str, ...]:
    """Return the parts of the relative path that a file named ``name`` by its sender arrives at.

    Raises:
        StreamRejected: the name leads elsewhere, or is empty or too long.
    """
    text = as_text(name)
    parts = text.split("/")
    start = f"{escape(text):.100}"
    if len(parts) > PARTS:
        raise StreamRejected(f"the name {start}... has more than {PARTS} parts: send it from nearer by")
    if any(part in {"", ".", ".."} for part in parts):
        raise StreamRejected(
            f"the name '{start}' leads out of the inbox or to no file: send a relative path without '.' and '..' in it"
        )
    return tuple(safe_part(part) for part in parts)


def safe_part(part: str) -> str:
    """Return one part of a path as it may stand in a folder.

    Raises:
        StreamRejected: it is too long.
    """
    safe = escape(part)
    if safe.casefold() == WORK_FOLDER or safe.partition(".")[0].rstrip().upper() in _DEVICES:
        safe = _percent(safe[0]) + safe[1:]
    if len(safe.encode()) > PART_BYTES:
        raise StreamRejected(f"the name '{safe:.60}...' is longer than {PART_BYTES} bytes: give it a shorter one")
    return safe


def escape(text: str) -> str:
    """Return ``text`` with every character that could do harm as ``%`` and hexadecimal digits."""
    return "".join(_percent(character) if _is_harmful(character) else character for character in text)


def shown(name: str) -> str:
    """Return how a file is called in logs and on terminals, whatever its sender has sent."""
    return escape(name)[:PART_BYTES]


def as_text(name: str | bytes) -> str:
    """Return a name as text, from which ``os.fsencode`` makes the same bytes again where they are not UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def numbered(part: str, number: int) -> str:
    """Return the name of the ``number``-th file that wants to be called ``part``: ``report (2).pdf``.

    A name that would become too long loses the end of its stem.
    """
    path = PurePosixPath(part)
    tail = f" ({number}){path.suffix}"
    room = PART_BYTES - len(tail.encode())
    if room <= 0:
        # All suffix, as in ``.xxx``.
        tail = f" ({number})"
        return part.encode()[: PART_BYTES - len(tail)].decode("utf-8", "ignore") + tail
    return path.stem.encode()[:room].decode("utf-8", "ignore") + tail


def _is_harmful(character: str) -> bool:
    return (
        unicodedata.category(character) in _HARMFUL_CATEGORIES
        or unicodedata.bidirectional(character) in _TURNS_DIRECTION
    )


def _percent(character: str) -> str:
    # A byte that was not UTF-8 stands in the string as one of these.
    is_byte = "\udc80" <= character <= "\udcff"
    encoded = character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in encoded)
