"""The frames of the wire as plain values.

They mirror ``cell.proto``, where each field is explained. Frames are made once and never changed; they are not frozen
because freezing costs a third of the time to make one, and a busy cell makes a hundred thousand a second. Tests make
them so that a change is an error. What is to differ is a new frame: ``frame.one_hop_on()``, ``dataclasses.replace``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, Fault, one_line
from streamcell.limits import HOPS
from streamcell.protocol.wire.description import StreamDescription
from streamcell.topology import ALL_CELLS, CellSelection

# Payload bytes of a chunk: anything that supports the buffer protocol with items of one byte.
Payload: TypeAlias = bytes | memoryview
# Bytes in parts that follow each other.
Parts: TypeAlias = Sequence[Payload]

IdRuns: TypeAlias = tuple[tuple[int, int], ...]

# Ids of streams start at 1: this one is in a life sign of a cell that concerns none of them.
NO_STREAM = 0


class LaneRole(enum.IntEnum):
    """What a lane carries by preference."""

    UNSPECIFIED = 0
    CONTROL = 1
    BULK = 2


class LostReason(enum.IntEnum):
    """Why frames of a stream were lost."""

    UNSPECIFIED = 0
    LANE_LOST = 1
    NO_ROUTE = 2
    UNKNOWN_HERE = 3
    CORRUPT = 4
    OTHER_LIFE = 5
    LIMIT = 6
    REFUSED = 7
    NO_SESSION = 8


class HolderAnswer(enum.IntEnum):
    """What becomes of a name that another one claims, in the words of its holder or of a hop on the way there."""

    UNSPECIFIED = 0
    HERE = 1
    MOVED = 2
    GONE = 3


class StreamKey(NamedTuple):
    """What identifies a stream everywhere."""

    origin: str
    origin_incarnation: int
    stream_id: int


class Seal(NamedTuple):
    """That a frame is sealed: by which session, and what proves it. Without ``proof`` until it leaves its maker."""

    session_id: bytes
    proof: bytes = b""


class OfAttempt(Protocol):
    """What belongs to one attempt of a stream: a frame, or what a cell on the way keeps of it."""

    @property
    def key(self) -> StreamKey:
        """The stream."""

    @property
    def target(self) -> str:
        """The name of the cell that it is for."""

    @property
    def attempt(self) -> int:
        """Which attempt of its origin to send it, counted from 1."""


class Travelling(Protocol):
    """A frame that goes further than to the neighbour, over ``hops_left`` more cells at most; never more than 16."""

    hops_left: int


TravellingT = TypeVar("TravellingT", bound=Travelling)


def _one_hop_on(frame: TravellingT) -> TravellingT:
    return dataclasses.replace(frame, hops_left=min(frame.hops_left, HOPS) - 1)  # type: ignore[type-var]


@dataclasses.dataclass(slots=True)
class Hello:
    """First frame on each lane, from both sides."""

    fqcn: str
    incarnation: int
    version_min: int
    version_max: int
    lane_number: int
    lane_role: LaneRole
    link_id: bytes = b""
    lanes_held: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = ()
    message_bytes: int = 0
    lanes: int = 0
    initial_credit: int = 0
    peer: bool = False
    software: str = ""
    lanes_replaced: tuple[int, ...] = ()
    claim_id: int = 0
    max_idle_timeout_s: float = 0.0


@dataclasses.dataclass(slots=True)
class LanesWanted:
    """The listener asks the dialler for bulk lanes."""

    bulk_lanes: int


@dataclasses.dataclass(slots=True)
class Announce:
    """A cell announces itself or a cell below it to its parent."""

    fqcn: str
    incarnation: int
    epoch: int
    path: tuple[str, ...]
    software: str = ""
    address: str = ""


@dataclasses.dataclass(slots=True)
class AnnounceReply:
    """The parent accepts (code UNSPECIFIED) or refuses an announced name, or has taken note of a Withdraw."""

    fqcn: str
    incarnation: int
    epoch: int
    code: ErrorCode = ErrorCode.UNSPECIFIED
    sentence: str = ""
    withdrawn: bool = False
    wait: bool = False


@dataclasses.dataclass(slots=True)
class Withdraw:
    """An announced name is no longer reachable over this link."""

    fqcn: str
    incarnation: int
    epoch: int


@dataclasses.dataclass(slots=True)
class Open:
    """What the first chunk of each attempt says: what the stream is, and what belongs to this attempt alone.

    ``settled_below`` and ``settled``: ids of streams of this life of the origin that nothing more comes of.
    ``seen_before``: a life of the target has acknowledged part of it. ``awaits_offset``: no data follows before the
    target has said where to go on. ``target_incarnation`` 0: any life of the target may have the attempt.
    """

    description: StreamDescription
    settled_below: int = 0
    settled: IdRuns = ()
    seen_before: bool = False
    awaits_offset: bool = False
    target_incarnation: int = 0
    sealing_envelope: bytes = b""


@dataclasses.dataclass(slots=True)
class Chunk:
    """A piece of a stream.

    ``encoded`` is the message that brought it here, in parts, if that holds nothing else and is large: whoever passes
    the chunk on unchanged need not encode it again. A chunk that differs in anything is made without it.
    """

    key: StreamKey
    target: str
    attempt: int
    channel: str
    topic: str
    sequence: int
    offset: int
    last: bool
    hops_left: int
    checksum: int
    payload: Payload
    open: Open | None = None
    digest: Digest | None = None
    encoded: Parts | None = dataclasses.field(default=None, repr=False, compare=False)
    seal: Seal | None = None

    def is_for_another_life(self, incarnation: int) -> bool:
        """Return whether it begins an attempt that is for another life of its target than this one."""
        return self.open is not None and self.open.target_incarnation not in (0, incarnation)

    def one_hop_on(self) -> Chunk:
        """Return the chunk as a cell passes it on.

        One that follows the first of its attempt goes on as it came, and is not even copied: it has only the way of
        that one, which was counted, and which does not pass a cell twice.
        """
        if self.open is None:
            return self
        return Chunk(
            self.key,
            self.target,
            self.attempt,
            self.channel,
            self.topic,
            self.sequence,
            self.offset,
            self.last,
            min(self.hops_left, HOPS) - 1,
            self.checksum,
            self.payload,
            self.open,
            self.digest,
            seal=self.seal,
        )


@dataclasses.dataclass(slots=True)
class Credit:
    """How far the next hop lets the previous hop send."""

    key: StreamKey
    target: str
    attempt: int
    offset: int


@dataclasses.dataclass(slots=True)
class Ack:
    """What the target of a stream has received and consumed."""

    key: StreamKey
    target: str
    attempt: int
    target_incarnation: int
    received: int
    consumed: int
    complete: bool
    hops_left: int
    seal: Seal | None = None

    def one_hop_on(self) -> Ack:
        """Return the Ack as a cell passes it on: like the general way, in a sixth of the time."""
        return Ack(
            self.key,
            self.target,
            self.attempt,
            self.target_incarnation,
            self.received,
            self.consumed,
            self.complete,
            min(self.hops_left, HOPS) - 1,
            self.seal,
        )


@dataclasses.dataclass(slots=True)
class Lost:
    """Frames of a stream were lost on the way, or were not let pass: then there is a ``sentence`` that says why."""

    key: StreamKey
    target: str
    attempt: int
    reason: LostReason
    reporter: str
    hops_left: int
    sentence: str = ""
    seal: Seal | None = None

    @classmethod
    def of(cls, attempt: OfAttempt, reason: LostReason, reporter: str, sentence: str = "") -> Lost:
        """Return what a cell tells the origin when frames of an attempt got no further than to it."""
        return cls(attempt.key, attempt.target, attempt.attempt, reason, reporter, HOPS, one_line(sentence))

    @classmethod
    def by_target(cls, frame: Chunk | ResumeQuery, reason: LostReason) -> Lost:
        """Return what the target itself tells the origin, under the seal of what it answers, if that has one."""
        seal = None if frame.seal is None else Seal(frame.seal.session_id)
        return cls(frame.key, frame.target, frame.attempt, reason, frame.target, HOPS, seal=seal)

    def one_hop_on(self) -> Lost:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class Reset:
    """One end gave up a stream."""

    key: StreamKey
    target: str
    attempt: int
    from_target: bool
    code: ErrorCode
    fault: Fault
    sentence: str
    hops_left: int
    seal: Seal | None = None

    @classmethod
    def by_origin(cls, key: StreamKey, target: str, attempt: int, error: CellError, seal: Seal | None = None) -> Reset:
        """Return the origin's last word. Unless the error says whose fault it was, it was the origin's."""
        fault, sentence = error.fault or Fault.ORIGIN, one_line(error.sentence)
        return cls(key, target, attempt, False, error.code, fault, sentence, HOPS, seal)

    @classmethod
    def by_target(cls, key: StreamKey, target: str, attempt: int, error: CellError, seal: Seal | None = None) -> Reset:
        """Return the target's last word. Unless the error says whose fault it was, it was the target's."""
        fault, sentence = error.fault or Fault.TARGET, one_line(error.sentence)
        return cls(key, target, attempt, True, error.code, fault, sentence, HOPS, seal)

    def one_hop_on(self) -> Reset:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class ResumeQuery:
    """The origin asks where to go on, or, with ``probe``, shows that it is alive."""

    key: StreamKey
    target: str
    attempt: int
    probe: bool
    hops_left: int
    resume_id: str = ""
    source_stamp: bytes = b""
    digest: Digest | None = None
    settled_below: int = 0
    settled: IdRuns = ()
    seal: Seal | None = None

    @classmethod
    def about(
        cls,
        key: StreamKey,
        target: str,
        attempt: int,
        description: StreamDescription,
        seal: Seal | None,
        *,
        probe: bool,
    ) -> ResumeQuery:
        """Return a question that says what the target needs to find its part of the stream of an earlier life.

        What a sealed stream hides is in no question.
        """
        if description.sealed:
            return cls(key, target, attempt, probe, HOPS, description.resume_id, seal=seal)
        stamp, digest = description.source_stamp, description.digest
        return cls(key, target, attempt, probe, HOPS, description.resume_id, stamp, digest)

    @classmethod
    def showing_life(cls, origin: str, incarnation: int, target: str) -> ResumeQuery:
        """Return a sign of life of a cell that concerns none of its streams."""
        return cls(StreamKey(origin, incarnation, NO_STREAM), target, 0, True, HOPS)

    @classmethod
    def telling_settled(
        cls, origin: str, incarnation: int, target: str, below: int, runs: IdRuns, *, sealed: bool = False
    ) -> ResumeQuery:
        """Return such a sign of life that says which of the cell's streams to this target are settled.

        :param sealed: it is to be sealed, under whichever keys there are, and counts for streams that are.
        """
        key = StreamKey(origin, incarnation, NO_STREAM)
        seal = Seal(b"") if sealed else None
        return cls(key, target, 0, True, HOPS, settled_below=below, settled=runs, seal=seal)

    def one_hop_on(self) -> ResumeQuery:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class ResumeReply:
    """The target answers where to go on."""

    key: StreamKey
    target: str
    attempt: int
    target_incarnation: int
    unknown: bool
    offset: int
    hops_left: int
    prefix_digest: Digest | None = None
    probe: bool = False
    seal: Seal | None = None

    @classmethod
    def to(cls, query: ResumeQuery, incarnation: int, offset: int, *, unknown: bool) -> ResumeReply:
        """Return a target's answer to a question or probe: where the stream stands in this life of it, if it knows."""
        seal, probe = None if query.seal is None else Seal(query.seal.session_id), query.probe
        return cls(query.key, query.target, query.attempt, incarnation, unknown, offset, HOPS, None, probe, seal)

    def one_hop_on(self) -> ResumeReply:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class Query:
    """Asks which cells there are, or by which hops a cell is reached."""

    query_id: int
    asker: str
    subject: str
    trace: bool
    hops_left: int
    selection: CellSelection = ALL_CELLS
    contested: bool = False
    claim_id: int = 0

    @classmethod
    def by(cls, query_id: int, asker: str, subject: str = "", *, trace: bool = False) -> Query:
        """Return a question that begins here. No ``subject``: which cells there are."""
        return cls(query_id, asker, subject, trace, HOPS)

    @classmethod
    def about_claim(cls, query_id: int, asker: str, subject: str, claim_id: int) -> Query:
        """Return the question whether a cell still has its name, which another one claims."""
        return cls(query_id, asker, subject, False, HOPS, contested=True, claim_id=claim_id)

    @classmethod
    def who(cls, query_id: int, asker: str, selection: CellSelection) -> Query:
        """Return the question which of all cells there are."""
        return cls(query_id, asker, "", False, HOPS, selection)

    def one_hop_on(self) -> Query:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class CellInfo:
    """What is known of one cell."""

    fqcn: str
    incarnation: int
    via: str = ""
    address: str = ""
    software: str = ""
    known_for_s: float = 0.0
    identity: str = ""


@dataclasses.dataclass(slots=True)
class QueryReply:
    """Answers a Query."""

    query_id: int
    asker: str
    responder: str
    cells: tuple[CellInfo, ...]
    hops_left: int
    more: bool = False
    total: int = 0
    holder: HolderAnswer = HolderAnswer.UNSPECIFIED
    claim_id: int = 0

    @classmethod
    def to(
        cls, query: Query, responder: str, cells: tuple[CellInfo, ...], *, more: bool = False, total: int = 0
    ) -> QueryReply:
        """Return an answer, the last one unless there is ``more``."""
        return cls(query.query_id, query.asker, responder, cells, HOPS, more, total)

    @classmethod
    def about_claim(
        cls, query: Query, responder: str, holder: HolderAnswer, cells: tuple[CellInfo, ...] = ()
    ) -> QueryReply:
        """Return the answer to a question about a name that is claimed."""
        return cls(query.query_id, query.asker, responder, cells, HOPS, holder=holder, claim_id=query.claim_id)

    @property
    def contested(self) -> bool:
        """Whether it answers a question about a name that is claimed, in the words that are for that."""
        return self.holder is not HolderAnswer.UNSPECIFIED

    def one_hop_on(self) -> QueryReply:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class Handshake:
    """A part of the handshake by which the lives of two cells come to a session.

    ``responder_incarnation`` 0: whichever is there. ``refusal``: there will be none, and nothing proves who says so.
    """

    initiator: str
    initiator_incarnation: int
    responder: str
    responder_incarnation: int
    from_responder: bool
    session_id: bytes
    number: int
    data: bytes
    hops_left: int
    refusal: str = ""

    def refused(self, sentence: str) -> Handshake:
        """Return the answer that there will be no session."""
        refusal = one_line(sentence)
        return dataclasses.replace(self, from_responder=True, number=0, data=b"", hops_left=HOPS, refusal=refusal)

    def one_hop_on(self) -> Handshake:
        """Return the frame as a cell passes it on: with one hop less. Only if there is one left."""
        return _one_hop_on(self)


@dataclasses.dataclass(slots=True)
class Ping:
    """Asks the neighbour for a sign of life."""

    nonce: int
    settled_below: int = 0
    settled: IdRuns = ()


@dataclasses.dataclass(slots=True)
class Pong:
    """Answers a Ping."""

    nonce: int


@dataclasses.dataclass(slots=True)
class Goodbye:
    """The last frame on a lane that ends on purpose. ``linked_fqcn``: who refuses a peer that it has a link to."""

    code: ErrorCode
    sentence: str
    linked_fqcn: str = ""


Frame: TypeAlias = (
    Hello
    | LanesWanted
    | Announce
    | AnnounceReply
    | Withdraw
    | Chunk
    | Credit
    | Ack
    | Lost
    | Reset
    | ResumeQuery
    | ResumeReply
    | Query
    | QueryReply
    | Ping
    | Pong
    | Goodbye
    | Handshake
)
