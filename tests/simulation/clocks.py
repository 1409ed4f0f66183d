"""The wall clocks of the machines that cells run on, from which each life takes its number."""

from __future__ import annotations

import random

# The random bits of an incarnation, below its milliseconds.
_RANDOM_BITS = 20
# What all clocks say at the beginning, in seconds.
_BEGINNING_S = 1_000_000.0
# By how much a clock is set: mostly back, as where a battery is missing; ahead, when the time is learned.
_LEAPS_S = (-3600.0, -1800.0, -60.0, -0.5, 1800.0, 3600.0)


class WallClocks:
    """A clock for each name. It promises nothing: it is set back and ahead, or says the same at each start."""

    def __init__(self, chance: random.Random) -> None:
        self._random = chance
        self._ahead_s: dict[str, float] = {}
        self._starts: dict[str, list[int]] = {}

    def leap(self, name: str) -> str:
        """Set a clock, and return what was done to it."""
        leap_s = self._random.choice(_LEAPS_S)
        self._ahead_s[name] = self._ahead_s.get(name, 0.0) + leap_s
        return f"the wall clock of {name} is set by {leap_s} s"

    def begin_life(self, name: str, now: float) -> int:
        """Return the number of a new life, one that no life of that name had before."""
        starts = self._starts.setdefault(name, [])
        if starts and self._random.random() < 0.5:
            self.leap(name)
        milliseconds = round((_BEGINNING_S + now + self._ahead_s.get(name, 0.0)) * 1000)
        if starts and self._random.random() < 0.1:
            milliseconds = starts[-1] >> _RANDOM_BITS
        number = starts[-1] if starts else 0
        while number in starts or number == 0:
            number = milliseconds << _RANDOM_BITS | self._random.getrandbits(_RANDOM_BITS)
        starts.append(number)
        return number
