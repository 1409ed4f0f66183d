"""How much a cell has moved on which channel, and what failed of it. Used on the engine."""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Mapping

from streamcell.errors import CellError, ErrorCode

# Channels are named by whoever sends; what a peer can make this cell remember is bounded.
MOST_CHANNELS = 64
OTHER_CHANNELS = "(other)"


class Direction(enum.StrEnum):
    """From this cell or to it."""

    SENT = "sent"
    RECEIVED = "received"


@dataclasses.dataclass(frozen=True, slots=True)
class TrafficStats:
    """Counts since the start; streams of all kinds, requests and replies among them.

    Attributes:
        payload_bytes: sent ones that the target has confirmed, and received ones, each once. By direction and channel;
            after the first 64 channels of a direction the others are counted together as ``(other)``.
        failures: streams that failed, by direction and error code.
    """

    payload_bytes: Mapping[tuple[Direction, str], int]
    failures: Mapping[tuple[Direction, ErrorCode], int]


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
