"""What the parts of one core share.

The parts (links, sends, receives, requests) know each other only through this and through what they are handed when
they are made; all of them run on the one thread that owns the core.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Callable

from streamcell.config import CellConfig
from streamcell.protocol.base.events import AccessRefused, Event
from streamcell.protocol.base.rules import Rules
from streamcell.protocol.base.timers import Deadlines
from streamcell.protocol.wire.frames import Payload, StreamKey

# Doublings of the back-off after which it is at its maximum in any configuration.
_DOUBLINGS = 32
# Dials in a row that came to nothing within the usual back-off. More show that what is dialled is gone for longer, or
# that a crowd is at its door: then the waits grow on, up to so many times the longest usual one (30 s by default).
_FEW_FAILURES = 5
_LONGEST = 6


class Count(enum.Enum):
    """What is counted. Bytes are payload, without headers or framing."""

    BYTES_SENT = "bytes_sent"
    BYTES_RECEIVED = "bytes_received"
    BYTES_RETRANSMITTED = "bytes_retransmitted"
    STREAMS_OPENED = "streams_opened"
    STREAMS_ACCEPTED = "streams_accepted"
    SENDS_FINISHED = "sends_finished"
    SENDS_FAILED = "sends_failed"
    RECEIVES_FINISHED = "receives_finished"
    RECEIVES_FAILED = "receives_failed"
    RESUMES = "resumes"
    RECONNECTS = "reconnects"
    HANDOVERS = "handovers"
    CORRUPT_CHUNKS = "corrupt_chunks"
    BYTES_RELAYED = "bytes_relayed"
    FRAMES_REFUSED = "frames_refused"
    ACCESSES_REFUSED = "accesses_refused"
    FRAMES_UNPROVEN = "frames_unproven"
    HANDSHAKES_AGREED = "handshakes_agreed"
    HANDSHAKES_FAILED = "handshakes_failed"

    __hash__ = object.__hash__


class Counters:
    """What a cell has done since it was made."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Count, 0)

    def add(self, what: Count, amount: int = 1) -> None:
        """Count ``amount`` more of it."""
        self._counts[what] += amount

    def snapshot(self) -> dict[str, int]:
        """Return all counts, by the names that statistics have for them."""
        return {count.value: amount for count, amount in self._counts.items()}


@dataclasses.dataclass(slots=True)
class Context:
    """The identity of a cell, the functions it was given, and where its output gathers.

    :ivar checksum: CRC32C, called as ``checksum(data, value)`` to continue from ``value``.
    :ivar ready_lanes: the lanes of which the writers are to be woken, each once.
    :ivar random_bits: returns that many random bits as a number.
    :ivar rules: who may do what; None: whatever names allow.
    :ivar asks_passage: whether the application is asked about each attempt that comes from a child to pass through.
    """

    fqcn: str
    incarnation: int
    config: CellConfig
    checksum: Callable[[Payload, int], int]
    random_bits: Callable[[int], int]
    software: str = ""
    rules: Rules | None = None
    asks_passage: bool = False
    events: deque[Event] = dataclasses.field(default_factory=deque)
    deadlines: Deadlines = dataclasses.field(default_factory=Deadlines)
    counters: Counters = dataclasses.field(default_factory=Counters)
    ready_lanes: dict[int, None] = dataclasses.field(default_factory=dict)
    stopped: bool = False

    def stop(self) -> None:
        """From now on nothing begins, and what breaks is not mended."""
        self.stopped = True

    def on_access_refused(self, fqcn: str, address: str, sentence: str) -> None:
        """Somebody may not have what it wants: see AccessRefused."""
        self.counters.add(Count.ACCESSES_REFUSED)
        self.events.append(AccessRefused(fqcn, address, sentence))

    def is_own(self, key: StreamKey) -> bool:
        """Return whether a stream is one that this life of the cell sends."""
        return key.origin == self.fqcn and key.origin_incarnation == self.incarnation

    def was_own(self, key: StreamKey) -> bool:
        """Return whether a stream is one of another life of the cell: who speaks of it is shown that this one lives."""
        return key.origin == self.fqcn and key.origin_incarnation != self.incarnation

    def jitter(self) -> float:
        """Return a random factor from 0.5 to 1, by which waits differ between cells that fail together."""
        return 0.5 + self.random_bits(16) / 131072.0

    def backoff_s(self, failures: int) -> float:
        """Return how long to wait after that many failures in a row, in seconds."""
        doubled: float = self.config.backoff_min_s * 2 ** min(failures - 1, _DOUBLINGS)
        return min(self.config.backoff_max_s, doubled) * self.jitter()

    def dial_backoff_s(self, failures: int) -> float:
        """Return how long to wait before the next dial after that many failures in a row, in seconds."""
        if failures <= _FEW_FAILURES:
            return self.backoff_s(failures)
        doubled: float = self.config.backoff_max_s * 2 ** min(failures - _FEW_FAILURES, _DOUBLINGS)
        return min(self._longest_backoff_s, doubled) * self.jitter()

    def longest_dial_backoff_s(self) -> float:
        """Return how long to wait before the next dial where there is no room, in seconds."""
        return self._longest_backoff_s * self.jitter()

    @property
    def _longest_backoff_s(self) -> float:
        return _LONGEST * self.config.backoff_max_s
