"""How much a cell has moved on which channel, and what failed of it. Used on the engine."""

from __future__ import annotations

import collections

from streamcell.errors import CellError, ErrorCode
from streamcell.stats import Direction, TrafficStats

# Channels are named by whoever sends; what a peer can make this cell remember is bounded.
MOST_CHANNELS = 64
OTHER_CHANNELS = "(other)"


class Traffic:
    """Counts; see :class:`TrafficStats`."""

    def __init__(self) -> None:
        self._bytes: dict[tuple[Direction, str], int] = {}
        self._channels: collections.Counter[Direction] = collections.Counter()
        self._failures: collections.Counter[tuple[Direction, ErrorCode]] = collections.Counter()

    def count_bytes(self, direction: Direction, channel: str, size_bytes: int) -> None:
        """So many payload bytes were moved."""
        key = direction, channel
        if key not in self._bytes:
            if self._channels[direction] >= MOST_CHANNELS:
                key = direction, OTHER_CHANNELS
            self._channels[direction] += key not in self._bytes
        self._bytes[key] = self._bytes.get(key, 0) + size_bytes

    def count_failure(self, direction: Direction, error: CellError) -> None:
        """A stream failed."""
        self._failures[direction, error.code] += 1

    def stats(self) -> TrafficStats:
        """Return a snapshot."""
        return TrafficStats(dict(self._bytes), dict(self._failures))
