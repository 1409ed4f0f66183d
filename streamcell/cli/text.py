"""Numbers as people read them."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_THREE_DIGITS = 99.95


def size_text(size_bytes: float) -> str:
    """Return a number of bytes with at most three digits and a unit: ``1.4 GB``."""
    value = float(size_bytes)
    unit = _UNITS[0]
    for unit in _UNITS:
        if value < _STEP - 0.5 or unit == _UNITS[-1]:
            break
        value /= _STEP
    digits = 0 if unit == _UNITS[0] or value >= _THREE_DIGITS else 1
    return f"{value:.{digits}f} {unit}"


def rate_text(rate: float) -> str:
    """Return a rate in bytes a second: ``98.2 MB/s``."""
    return f"{size_text(rate)}/s"


def seconds_text(seconds: float) -> str:
    """Return how long something takes or took: ``0.42 s``, ``7 s``, ``3:05 min``, ``2:10 h``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02} h"


def left_text(seconds: float) -> str:
    """Return how long something will take yet, without a precision that nobody knows: ``7 s left``."""
    return f"{round(seconds)} s left" if seconds < 10 else f"{seconds_text(seconds)} left"


def milliseconds_text(seconds: float) -> str:
    """Return a round trip: ``0.62 ms``."""
    return f"{seconds * 1000:.2f} ms"


def percent_text(part: int, whole: int) -> str:
    """Return how much of something is done: ``42 %``; never 100 % before it is."""
    if whole <= 0:
        return ""
    return f"{min(100, part * 100 // whole)} %"


def shortened(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` characters, its middle left out if need be: names differ at their ends."""
    if len(text) <= width:
        return text
    front = (width - 1) // 2
    return f"{text[:front]}…{text[len(text) - (width - 1 - front) :]}"
