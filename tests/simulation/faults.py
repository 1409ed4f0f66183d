"""What goes wrong in a history: frames changed, doubled or lost with their lane, doors closed, processes frozen."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable

from streamcell.errors import ErrorCode
from streamcell.limits import CORRUPT_CHUNKS
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Credit,
    Frame,
    Goodbye,
    Hello,
    LanesWanted,
    Lost,
    Ping,
    Pong,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from tests.simulation.network import Break, Door, End
from tests.simulation.transfers import Transfer

# Moments of a transfer at which a lane can be made to break: the next frame for which this holds.
MOMENTS: dict[str, Callable[[Frame], bool]] = {
    "Hello": lambda frame: isinstance(frame, Hello),
    "Open": lambda frame: isinstance(frame, Chunk) and frame.open is not None,
    "middle": lambda frame: isinstance(frame, Chunk) and frame.open is None and not frame.last,
    "last chunk": lambda frame: isinstance(frame, Chunk) and frame.last,
    "Credit": lambda frame: isinstance(frame, Credit),
    "Ack": lambda frame: isinstance(frame, Ack) and not frame.complete,
    "final Ack": lambda frame: isinstance(frame, Ack) and frame.complete,
    "ResumeQuery": lambda frame: isinstance(frame, ResumeQuery),
    "ResumeReply": lambda frame: isinstance(frame, ResumeReply),
    "Reset": lambda frame: isinstance(frame, Reset),
    "Lost": lambda frame: isinstance(frame, Lost),
    "Goodbye": lambda frame: isinstance(frame, Goodbye),
    "heartbeat": lambda frame: isinstance(frame, Ping | Pong),
    "LanesWanted": lambda frame: isinstance(frame, LanesWanted),
}
# What a cell that has too much to do says when to come again.
_RETRY_AFTER_S = (0.001, 0.5, 5.0, 60.0)
# Frames that may come twice: bytes are found by their offsets, and these say how things stand, or end something. A
# ResumeQuery may not: an attempt begins once.
_MAY_COME_TWICE = (Chunk, Credit, Ack, Lost, Reset, ResumeReply, Ping, Pong)


@dataclasses.dataclass(slots=True)
class Trap:
    """A lane breaks under the frame after ``skip`` others at its moment. ``arrives``: that frame still gets through."""

    moment: str
    skip: int
    how: Break
    arrives: bool


class Faults:
    """The weather that frames travel in. All of it is switched on and off by the storm.

    :ivar injected: how often what was done.
    """

    def __init__(self, chance: random.Random, transfers: dict[StreamKey, Transfer]) -> None:
        self.injected: Counter[str] = Counter()
        self.closed_doors: list[str] = []
        self.corrupts = 0.0
        self.doubles = 0.0
        self.traps: list[Trap] = []
        self._random = chance
        # Of its own, so that a history does not become another one with each dial.
        self._doors = random.Random(chance.getstate()[1][1])
        self._transfers = transfers
        self._echoes: dict[End, list[Frame]] = {}

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self.closed_doors.clear()
        self.traps.clear()
        self._echoes.clear()
        self.corrupts = self.doubles = 0.0

    def door_of(self, listener: str) -> Door:
        """Return what becomes of a dial to a cell."""
        if listener not in self.closed_doors:
            return Door.OPEN
        door = self._doors.choice((Door.REFUSES, Door.SWALLOWS, Door.BUSY))
        self.injected[f"dial {door.name.lower()}"] += 1
        return door

    def retry_after_s(self) -> float:
        """Return how long one stays away who is asked to come again later."""
        return self._doors.choice(_RETRY_AFTER_S)

    def pass_frame(self, end: End, frame: Frame, arriving: list[Frame]) -> Break | None:
        """Add to ``arriving`` what arrives of a frame; return how the lane breaks with it, if it does."""
        for trap in self.traps:
            if MOMENTS[trap.moment](frame):
                if trap.skip > 0:
                    trap.skip -= 1
                    continue
                self.traps.remove(trap)
                self.injected[f"cut at {trap.moment}"] += 1
                if trap.arrives:
                    arriving.append(frame)
                return trap.how
        if self.corrupts and isinstance(frame, Chunk) and self._random.random() < self.corrupts:
            frame = self._corrupt(frame, self._transfers.get(frame.key))
        arriving.append(frame)
        if self.doubles:
            self._double(end, frame, arriving)
        return None

    def _double(self, end: End, frame: Frame, arriving: list[Frame]) -> None:
        """Let the frame come again, at once or behind others."""
        echoes = self._echoes.setdefault(end, [])
        if echoes and self._random.random() < self.doubles:
            arriving.append(echoes.pop())
        if isinstance(frame, _MAY_COME_TWICE) and self._random.random() < self.doubles:
            self.injected["frame doubled"] += 1
            echoes.append(frame)
            if isinstance(frame, Chunk) and frame.key in self._transfers and self._transfers[frame.key].corrupted:
                # Perhaps this one, on an earlier hop: each copy counts.
                self._transfers[frame.key].excuse(ErrorCode.INTEGRITY)

    def _corrupt(self, chunk: Chunk, transfer: Transfer | None) -> Chunk:
        self.injected["chunk corrupted"] += 1
        if transfer is not None:
            transfer.corrupted += 1
            # A copy that comes twice counts twice.
            if transfer.corrupted >= CORRUPT_CHUNKS or self.doubles:
                transfer.excuse(ErrorCode.INTEGRITY)
        if not chunk.payload:
            return dataclasses.replace(chunk, checksum=chunk.checksum ^ 1 << self._random.randrange(32))
        payload = bytearray(chunk.payload)
        payload[self._random.randrange(len(payload))] ^= 1 << self._random.randrange(8)
        return dataclasses.replace(chunk, payload=bytes(payload))
