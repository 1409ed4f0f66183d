"""Sets of stream ids that are settled, as a floor and runs above it.

Ids rise, and most settle in about the order in which they were given out, so everything below a floor is settled and
the rest is a few runs. The origin tells the floor and the runs (DESIGN: Once); the target merges what it hears. One
stream that lasts for days then costs one gap, not a memory of every stream since.
"""

from __future__ import annotations

import bisect


class SettledIds:
    """The settled ids of one origin incarnation. Ids start at 1."""

    def __init__(self) -> None:
        self.below = 1
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __contains__(self, stream_id: int) -> bool:
        if stream_id < self.below:
            return True
        index = bisect.bisect_right(self._firsts, stream_id) - 1
        return index >= 0 and stream_id <= self._lasts[index]

    @property
    def run_count(self) -> int:
        """How many runs there are above the floor."""
        return len(self._firsts)

    @property
    def end(self) -> int:
        """The highest id that is in it, or 0."""
        return self._lasts[-1] if self._lasts else self.below - 1

    def add(self, first: int, last: int) -> list[tuple[int, int]]:
        """Add the ids from ``first`` to ``last``, both inclusive, and return the runs of those that are new."""
        if last < self.below or last < first:
            return []
        if first == self.below and not self._firsts:
            self.below = last + 1
            return [(first, last)]
        first = max(first, self.below)
        # The runs that touch or overlap the new one become one with it.
        start = bisect.bisect_left(self._lasts, first - 1)
        stop = bisect.bisect_right(self._firsts, last + 1)
        fresh = self._gaps(first, last, start, stop)
        if start < stop:
            first = min(first, self._firsts[start])
            last = max(last, self._lasts[stop - 1])
        self._firsts[start:stop] = [first]
        self._lasts[start:stop] = [last]
        self._raise_floor()
        return fresh

    def add_below(self, below: int) -> list[tuple[int, int]]:
        """Add every id below ``below``, and return the runs of those that are new."""
        return self.add(self.below, below - 1)

    def _gaps(self, first: int, last: int, start: int, stop: int) -> list[tuple[int, int]]:
        """Return what of ``first`` to ``last`` is in none of the runs from ``start`` to ``stop``."""
        gaps = []
        for index in range(start, stop):
            if first < self._firsts[index]:
                gaps.append((first, self._firsts[index] - 1))
            first = max(first, self._lasts[index] + 1)
        if first <= last:
            gaps.append((first, last))
        return gaps

    def _raise_floor(self) -> None:
        if self._firsts and self._firsts[0] <= self.below:
            self.below = self._lasts[0] + 1
            del self._firsts[0]
            del self._lasts[0]
