"""The sending half of a stream without a network: a test plays its application, its writers, its way and its target."""

from __future__ import annotations

from typing import Any, TypeVar

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, Fault
from streamcell.limits import HOPS
from streamcell.protocol.base.events import Event
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.sending.surroundings import Surroundings
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Credit,
    Frame,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
)
from tests.core.samples import make_context, make_lane, make_link, make_spec

EventT = TypeVar("EventT", bound=Event)

# The life of the target that is there.
LIFE = 5


class Owner:
    """A table that knows one sender, and what it is told of lives."""

    def __init__(self) -> None:
        self.life: int | None = LIFE
        self.over: set[int] = set()
        self.settled: list[CellError | None] = []

    def life_for(self, spec: SendSpec, now: float) -> int | None:
        return self.life

    def is_over(self, target: str, life: int) -> bool:
        return life in self.over

    def seal_for(self, target: str) -> Seal:
        return Seal(target.encode())

    def on_way_taken(self, sender: StreamSender, link: Link | None) -> None: ...

    def on_sender_settled(self, sender: StreamSender, error: CellError | None, now: float) -> None:
        self.settled.append(error)


class Origin:
    """A sender that was made and not yet admitted, with a link to its target that it may go by."""

    def __init__(
        self, kind: StreamKind = StreamKind.STREAM, *, config: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        self.now = 100.0
        self.context = make_context(**(config or {}))
        self.owner = Owner()
        around = Surroundings(self.context, SettledNews(self.context), self.owner)
        self.sender = StreamSender(around, make_spec(kind=kind, **fields), 7)
        self.link = make_link()
        self.lane = make_lane(1)

    # What the application and its source do.

    def begin(self, data: bytes = b"", *, ended: bool = True, way: bool = True) -> Origin:
        self.sender.admit(self.link if way else None, self.now)
        self.supply(data)
        if ended:
            self.end()
        return self

    def supply(self, *pieces: bytes) -> None:
        self.sender.supply(pieces, self.now)

    def end(self, digest: Digest | None = None) -> None:
        self.sender.end_source(digest, self.now)

    def give_up(self) -> None:
        self.sender.give_up(CellError("not wanted", ErrorCode.CANCELLED, Fault.ORIGIN), self.now)

    # What writers ask for.

    def cut(self, *, lane: Lane | None = None) -> list[Chunk]:
        """Take every chunk that may go now."""
        chunks = []
        while self.sender.can_send():
            chunks.append(self.sender.take_chunk(self.link, lane or self.lane, None, self.now, control=True))
        return chunks

    def speak(self, *, lane_id: int = 1) -> list[ResumeQuery]:
        """Put on a lane what is due beside chunks."""
        return self.sender.take_control_frames(lane_id, self.now)

    def posted(self) -> list[Frame]:
        """Take what waits for a lane of the link, beside chunks."""
        return self.link.outbox.take(100, 1, self.now)

    # What the other side says of the present attempt, or of another one.

    def credit(self, offset: int, *, link: Link | None = None, attempt: int | None = None) -> None:
        frame = Credit(self.sender.key, "server", self._attempt(attempt), offset)
        self.sender.on_credit(link or self.link, frame, self.now)

    def ack(
        self, received: int, consumed: int, *, life: int = LIFE, complete: bool = False, attempt: int | None = None
    ) -> None:
        number = self._attempt(attempt)
        self.sender.on_ack(Ack(self.sender.key, "server", number, life, received, consumed, complete, HOPS), self.now)

    def lost(self, reason: LostReason = LostReason.LANE_LOST, *, attempt: int | None = None) -> None:
        self.sender.on_lost(Lost(self.sender.key, "server", self._attempt(attempt), reason, "server", HOPS), self.now)

    def reset(self) -> None:
        sentence, code = "no such callback", ErrorCode.NO_CALLBACK
        frame = Reset(self.sender.key, "server", self.sender.attempt.number, True, code, Fault.TARGET, sentence, HOPS)
        self.sender.on_reset(frame, self.now)

    def reply(
        self,
        offset: int | None,
        *,
        life: int = LIFE,
        prefix_digest: Digest | None = None,
        probe: bool = False,
        attempt: int | None = None,
    ) -> None:
        """Say where to go on; None: that this life does not know the stream."""
        frame = ResumeReply(
            self.sender.key,
            "server",
            self._attempt(attempt),
            life,
            offset is None,
            offset or 0,
            HOPS,
            prefix_digest,
            probe,
        )
        self.sender.on_resume_reply(frame, self.now)

    def _attempt(self, given: int | None) -> int:
        return self.sender.attempt.number if given is None else given

    # What came of it.

    def told(self, kind: type[EventT]) -> list[EventT]:
        """Return what the application was told of one kind."""
        return [event for event in self.context.events if isinstance(event, kind)]

    def count(self, name: str) -> int:
        return self.context.counters.snapshot()[name]
