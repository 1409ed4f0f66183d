"""Messages and headers."""

from __future__ import annotations

import enum
import operator
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

    A message that was received also says where it came from: ``origin``, ``target``, ``channel``, ``topic``; and a
    request, which span it belongs to there: ``traceparent``, and what the neighbour that it came by has proved to be
    called: ``origin_identity``, empty if nothing. They are empty in a message that you made. Not safe for use by
    several threads at once.

    :param headers: string keys; values are ``str``, ``int`` (64 bits), ``float``, ``bool`` or ``bytes``, and what has
        ``__index__``, which is sent as an int, as numpy's bool is sent as a bool.
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
        self.traceparent: str = ""
        self.origin_identity: str = ""

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
    """Check headers and return them as they travel: sorted by key, with values of the five plain types.

    A value that says which whole number it is (``__index__``, as numpy's integers do) is that number, and numpy's bool
    is a bool. No value is turned into another type if that could lose anything.

    :raises UsageError: naming the key and the type, if a key is not a string, a value is of a type that does not
        travel, an integer needs more than 64 bits, or all together are larger than 1 MiB.
    """
    if not headers:
        return ()
    total = 0
    plain: list[tuple[str, HeaderValue]] = []
    for key, given in headers.items():
        value = _plain_value(key, given)
        total += _checked_size(key, value)
        plain.append((key, value))
    if total > HEADERS_BYTES:
        raise UsageError(
            f"the headers take {total} bytes, more than {HEADERS_BYTES}: put large values into the payload"
        )
    return tuple(sorted(plain))


def _plain_value(key: object, value: object) -> HeaderValue:
    """Return a value as one of the five types that travel."""
    if isinstance(value, str | bytes | int | float):
        return value
    if _is_numpy_bool(value):
        return bool(value)
    try:
        # Whatever the types say: what cannot be an index raises.
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(
            f"header {key!r:.100} has a value of type {full_name(type(value))}: {_way_to_header(value)}"
        ) from None


def _is_numpy_bool(value: object) -> bool:
    """Return whether it is numpy's bool, which is no number; its name depends on numpy's version."""
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in {"bool", "bool_"}


def _way_to_header(value: object) -> str:
    """Return what to do with a value of a type that does not travel."""
    if value is None:
        return "leave the header out, or use an empty string"
    if isinstance(value, bytearray | memoryview):
        return "use bytes(value)"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return "use json.dumps(value), or put it into the payload"
    if isinstance(value, enum.Enum):
        return "use its .value"
    if getattr(value, "shape", ()):
        return "put it into the payload"
    if hasattr(type(value), "as_integer_ratio"):
        # It is a real number. Having __float__ is not enough: moments have it, and texts.
        return "use float(value) or str(value)"
    return "use str, int, float, bool or bytes, for example str(value)"


def _checked_size(key: object, value: HeaderValue) -> int:
    if not isinstance(key, str):
        raise UsageError(f"header key {key!r:.100} is a {full_name(type(key))}: use a string")
    try:
        size = len(key.encode("utf-8")) + _HEADER_OVERHEAD_BYTES
        if isinstance(value, str):
            return size + len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UsageError(f"header {key!r:.100} is not valid Unicode") from error
    if isinstance(value, bytes):
        return size + len(value)
    if isinstance(value, int) and not _INT64_MIN <= value <= _INT64_MAX:
        raise UsageError(f"header {key!r:.100} does not fit in 64 bits: send it as str")
    return size


def full_name(kind: type) -> str:
    """Return the name of a type with its module, as ``numpy.float32``; without it for Python's own."""
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
