"""Where time and randomness come from.

Everything else in this package gets a clock as an argument, so that tests may put another in its place.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TypeAlias

# Seconds on a scale that never jumps back; only differences mean anything.
Clock: TypeAlias = Callable[[], float]

monotonic: Clock = time.monotonic

# An incarnation is the start time in milliseconds, and this many random bits below it.
INCARNATION_RANDOM_BITS = 20


def make_incarnation() -> int:
    """Return the number of a new life of a cell. It says nothing of which life is later: clocks are set back."""
    milliseconds = time.time_ns() // 1_000_000
    return (milliseconds << INCARNATION_RANDOM_BITS) | secrets.randbits(INCARNATION_RANDOM_BITS)
