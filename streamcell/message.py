"""Messages and headers. Imports ``errors`` and ``limits`` only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from streamcell.errors import UsageError
from streamcell.limits import HEADERS_BYTES

HeaderValue: TypeAlias = str | int | float | bool | bytes

# Sorted by key, each key once: the same bytes in every language.
Headers: TypeAlias = tuple[tuple[str, HeaderValue], ...]

_INT64_MIN = -(2**63)
_INT64_MAX = 2**63 - 1
# What a header costs beside its key and value: tags and lengths.
_HEADER_OVERHEAD_BYTES = 16


class Message:
    """Headers and a payload.

    A message that was received also says where it came from: ``origin``, ``target``, ``channel``, ``topic``; they are
    empty in a message that you made. Not safe for use by several threads at once.

    :param headers: string keys; values are ``str``, ``int`` (64 bits), ``float``, ``bool`` or ``bytes``.
    :param payload: what is sent; which types are accepted is said where it is sent.
    :raises UsageError: the headers are not a mapping.
    """

    def __init__(self, headers: Mapping[str, HeaderValue] | None = None, payload: Any = None) -> None:
        if headers is not None and not isinstance(headers, Mapping):
            raise UsageError(f"headers must be a mapping, not a {type(headers).__name__}: Message(headers, payload)")
        self.headers: dict[str, HeaderValue] = dict(headers) if headers else {}
        self.payload: Any = payload
        self.origin: str = ""
        self.target: str = ""
        self.channel: str = ""
        self.topic: str = ""

    def get_header(self, key: str, default: HeaderValue | None = None) -> HeaderValue | None:
        """Return the header ``key``, or ``default`` if there is none."""
        return self.headers.get(key, default)

    def set_header(self, key: str, value: HeaderValue) -> None:
        """Set the header ``key``."""
        self.headers[key] = value

    def add_headers(self, headers: Mapping[str, HeaderValue]) -> None:
        """Set several headers; those with the same key are replaced."""
        self.headers.update(headers)

    def remove_header(self, key: str) -> None:
        """Remove the header ``key`` if it is there."""
        self.headers.pop(key, None)

    def __repr__(self) -> str:
        payload = self.payload
        size = len(payload) if isinstance(payload, bytes | bytearray) else None
        shown = type(payload).__name__ if size is None else f"{size} bytes"
        return f"Message(headers={sorted(self.headers)}, payload={shown})"


def freeze_headers(headers: Mapping[str, HeaderValue] | None) -> Headers:
    """Check headers and return them as they travel: sorted by key.

    :raises UsageError: naming the key and the type, if a key is not a string, a value is of a type that does not
        travel, an integer needs more than 64 bits, or all together are larger than 1 MiB.
    """
    if not headers:
        return ()
    total = 0
    for key, value in headers.items():
        total += _checked_size(key, value)
    if total > HEADERS_BYTES:
        raise UsageError(
            f"the headers take {total} bytes, more than {HEADERS_BYTES}: put large values into the payload"
        )
    return tuple(sorted(headers.items()))


def _checked_size(key: object, value: object) -> int:
    if not isinstance(key, str):
        raise UsageError(f"header key {key!r:.100} is a {type(key).__name__}: use a string")
    try:
        size = len(key.encode("utf-8")) + _HEADER_OVERHEAD_BYTES
        if isinstance(value, str):
            return size + len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UsageError(f"header {key!r:.100} is not valid Unicode") from error
    if isinstance(value, bytes):
        return size + len(value)
    if isinstance(value, int):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise UsageError(f"header {key!r:.100} does not fit in 64 bits: send it as str")
        return size
    if isinstance(value, float):
        return size
    raise UsageError(
        f"header {key!r:.100} has a value of type {type(value).__name__}: use str, int, float, bool or bytes"
    )
