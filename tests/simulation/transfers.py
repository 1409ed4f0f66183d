"""What the applications of a simulated network send each other: the plan of each transfer, and what became of it."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Payload, StreamKey

if TYPE_CHECKING:
    from tests.simulation.host import Host


class Reading(enum.Enum):
    """How the target's application treats a stream."""

    EAGER = "reads all at once"
    SLOW = "reads a little now and then"
    LATE = "reads nothing before all heals"
    CLOSES = "closes the stream in the middle"
    LEAVES = "closes the stream where it is to end, whether that is known or not"
    REFUSES = "does not want it"


class Data:
    """The bytes of a transfer: a part of a block, so that none have to be made; compared at the speed of memory."""

    def __init__(self, block: bytes, start: int, size: int) -> None:
        self._block = block
        self._start = start
        self._view = memoryview(block)[start : start + size]

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, part: slice) -> memoryview:
        return self._view[part]

    def has_at(self, offset: int, payload: Payload) -> bool:
        """Return whether ``payload`` is what lies at ``offset``. Views would be compared byte by byte."""
        within = offset + len(payload) <= len(self._view)
        return within and self._block.startswith(payload, self._start + offset)


@dataclasses.dataclass(slots=True)
class Source:
    """How the origin's application gives the data: ``piece`` bytes each ``pause_s``. At the end it may fail."""

    piece: int
    pause_s: float = 0.0
    fails: bool = False
    # Whether it can go back; whether all of it is handed over at once and stays.
    seekable: bool = True
    kept: bool = False
    given: int = 0
    # What the core has asked for and has not got; whether a turn of the source is to come.
    wanted: int = 0
    waiting: bool = False


@dataclasses.dataclass(slots=True)
class Transfer:
    """One stream, blob, request or reply.

    :ivar excuses: the codes that it may truthfully fail with, after what was done to it.
    :ivar outcome: None until it has settled at the origin; then an empty string, or what it failed with.
    """

    origin: Host
    target: str
    kind: StreamKind
    data: Data
    declared: int | None
    source: Source
    reading: Reading
    excuses: set[ErrorCode] = dataclasses.field(default_factory=set)
    stream_id: int = 0
    # What it is called in every life of its origin (a resume id), and what shows that its source is the same.
    name: str = ""
    stamp: bytes = b""
    digest: Digest | None = None
    # Whether either end was restarted under way.
    disturbed: bool = False
    outcome: CellError | str | None = None
    # Of a request: whether a whole reply has come, and what it ended with if none did.
    replies: int = 0
    request_error: CellError | None = None
    # Of a reply: the request that it answers.
    answers: Transfer | None = None
    retry_unknown: bool = False
    sealed: bool = False
    # Whether its bytes are not what the origin's digest says, as the target's application finds at the end.
    flawed: bool = False
    corrupted: int = 0

    @property
    def key(self) -> StreamKey:
        """What identifies it."""
        return StreamKey(self.origin.name, self.origin.incarnation, self.stream_id)

    def excuse(self, *codes: ErrorCode) -> None:
        """Take note that something was done to it that it may fail with; a request fails with its reply."""
        self.excuses.update(codes)
        if self.answers is not None:
            self.answers.excuses.update(codes)

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.origin.name}#{self.stream_id} to {self.target}"


@dataclasses.dataclass(slots=True)
class Saved:
    """What a target's application has on its disk of a stream: that much of these bytes."""

    data: Data
    size: int = 0


@dataclasses.dataclass(slots=True)
class Receipt:
    """What one life of a target got of a transfer. Offsets are those of the stream.

    ``saved``: what is on the disk, which outlives the cell. ``chosen``: where the application wants to go on.
    ``reached``: all was read and is being compared; ``approved``: it was found right; ``released``: nobody reads on.
    """

    transfer: Transfer
    key: StreamKey
    saved: Saved
    resume: bool = False
    awaits_offset: bool = False
    chosen: int = 0
    delivered: int = 0
    consumed: int = 0
    admitted: bool = False
    # The highest credit that was given, and how far that ever was ahead of what was consumed.
    credit: int = 0
    largest_window: int = 0
    ended: bool = False
    reached: bool = False
    approved: bool = False
    released: bool = False
    finished: bool = False
    failed: bool = False
