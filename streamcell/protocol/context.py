"""What the parts of one core share.

The parts (links, sends, receives, requests) know each other only through this and through what they are handed when
they are made; all of them run on the one thread that owns the core.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

from streamcell.config import CellConfig
from streamcell.protocol.events import Event
from streamcell.protocol.timers import Deadlines
from streamcell.protocol.wire.frames import Payload, StreamKey


@dataclasses.dataclass(slots=True)
class Counters:
    """What a cell has done since it was made. Payload bytes, without headers or framing."""

    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_retransmitted: int = 0
    streams_opened: int = 0
    streams_accepted: int = 0
    sends_finished: int = 0
    sends_failed: int = 0
    receives_finished: int = 0
    receives_failed: int = 0
    resumes: int = 0
    reconnects: int = 0
    handovers: int = 0
    corrupt_chunks: int = 0
    bytes_relayed: int = 0
    frames_refused: int = 0


@dataclasses.dataclass(slots=True)
class Context:
    """The identity of a cell, the functions it was given, and where its output gathers.

    :ivar checksum: CRC32C, called as ``checksum(data, value)`` to continue from ``value``.
    :ivar random_bits: returns that many random bits as a number.
    """

    fqcn: str
    incarnation: int
    config: CellConfig
    checksum: Callable[[Payload, int], int]
    random_bits: Callable[[int], int]
    software: str = ""
    events: deque[Event] = dataclasses.field(default_factory=deque)
    deadlines: Deadlines = dataclasses.field(default_factory=Deadlines)
    counters: Counters = dataclasses.field(default_factory=Counters)
    stopped: bool = False

    def is_own(self, key: StreamKey) -> bool:
        """Return whether a stream is one that this life of the cell sends."""
        return key.origin == self.fqcn and key.origin_incarnation == self.incarnation

    def jitter(self) -> float:
        """Return a random factor from 0.5 to 1, by which waits differ between cells that fail together."""
        return 0.5 + self.random_bits(16) / 131072.0
