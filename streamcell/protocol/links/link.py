"""A link and its lanes, and what waits to be written on them.

A :class:`Link` survives its lanes. Frames are not given to a lane when they arise but when its writer asks: until then
one-off frames wait in the outbox, and streams that have something to say stand in the outbox by name, so that a Credit
or an Ack that was overtaken by a later one is never sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from streamcell.limits import ANSWERS, INITIAL_CREDIT_BYTES, MESSAGE_BYTES
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.credit import RememberedWindow
from streamcell.protocol.flow.schedule import RoundRobin
from streamcell.protocol.flow.sharing import SharedRoom
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.states import (
    LANE_TABLE,
    LaneAction,
    LaneInput,
    LaneState,
)
from streamcell.protocol.wire.frames import Chunk, Frame, Goodbye, LaneRole, Ping, StreamKey

if TYPE_CHECKING:
    from streamcell.protocol.links.uplink import Uplink

# Frames without a state behind them that a lane may have carried in vain: they are repeated when it breaks. More at
# once are left to the streams' own timers and to the settled ids.
_CARRIED_FRAMES = 1024
# One turn of a small and of a bulk stream.
_SMALL_QUANTUM = 64 * 1024
_BULK_QUANTUM = 1024 * 1024
# What a lane that frames may go on is.
_USABLE = (LaneState.READY, LaneState.SUSPECT, LaneState.LEAVING)


class Speaker(Protocol):
    """Something of which the state is told, as it is when there is a lane to tell it on."""

    def take_control_frames(self) -> Sequence[Frame]:
        """Return the frames that are due, as things stand now."""
        ...


class StreamSpeaker(Speaker, Protocol):
    """A half of a stream, or one that passes through, that may have something to say."""

    key: StreamKey


class ChunkSource(StreamSpeaker, Protocol):
    """A stream that has chunks to send: one of this cell, or one that it relays."""

    @property
    def lane_id(self) -> int | None:
        """The lane that it keeps to for now, or None."""
        ...

    def can_send(self) -> bool:
        """Return whether it has a chunk that may go now."""
        ...

    def goes_by(self, link: Link) -> bool:
        """Return whether its way leads over ``link``."""
        ...

    def take_chunk(self, link: Link, lane: Lane, room: int | None, now: float, *, control: bool) -> Chunk:
        """Return the next chunk, of at most ``room`` bytes if it can be cut; only when ``can_send``."""
        ...


class Lane(Timed):
    """One lane. ``number`` is 0 until it is known.

    :ivar place: which of the addresses of its uplink it was dialled at.
    :ivar greeted_by: when it is given up if no Hello came.
    :ivar late: no Hello came in the time in which one is expected, so that others are dialled beside it.
    """

    def __init__(self, lane_id: int, state: LaneState, role: LaneRole, number: int) -> None:
        super().__init__()
        self.lane_id = lane_id
        self.state = state
        self.role = role
        self.number = number
        self.dialled = state is LaneState.DIALLING
        self.address = ""
        self.identity = ""
        self.link: Link | None = None
        self.uplink: Uplink | None = None
        self.place = 0
        self.greeted_by = 0.0
        self.dialled_at = 0.0
        self.late = False
        self.own_frames: deque[Frame] = deque()
        self.shared_room = SharedRoom()
        self.goodbye: Goodbye | None = None
        self.said_goodbye = False
        self.on_timer: Callable[[Lane, float], None] | None = None
        self.carried: deque[Frame] = deque(maxlen=_CARRIED_FRAMES)
        self.opened_at = 0.0
        self.used_at = 0.0
        self.heard_at = 0.0
        self.awaiting_since: float | None = None
        self.pinged_at: float | None = None
        self.suspect_until: float | None = None
        # The lanes whose place it takes; the Ping behind which nothing more is on it; whether all of it arrived.
        self.replaces: tuple[int, ...] = ()
        self.last_ping: Ping | None = None
        self.emptied = False

    def __repr__(self) -> str:
        return f"<Lane {self.lane_id} number {self.number} {self.role.name} {self.state.name} {self.address}>"

    @property
    def usable(self) -> bool:
        """Whether frames of the link may go on it."""
        return self.goodbye is None and self.state in _USABLE

    @property
    def precedence(self) -> tuple[bool, LaneRole, int]:
        """The lower, the rather it is the one for control frames: trusted ones first, then by role and age."""
        return self.state is LaneState.SUSPECT, self.role, -self.number

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to whoever tends the lane."""
        if self.on_timer is not None:
            self.on_timer(self, now)

    def step(self, event: LaneInput) -> LaneAction:
        """Advance the state and return what is to be done."""
        action, self.state = step(LANE_TABLE, self.state, event)
        return action


class Outbox:
    """Control frames of one link, in order, until a lane takes them."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._speakers: dict[StreamKey, StreamSpeaker] = {}
        self._first: Speaker | None = None
        self._last: Speaker | None = None

    def __bool__(self) -> bool:
        return bool(self._frames or self._speakers or self._first or self._last)

    def post(self, frame: Frame) -> None:
        """Add a frame that is sent once."""
        self._frames.append(frame)

    def take_back(self, kind: type[Frame]) -> None:
        """Forget what was posted of one kind."""
        self._frames = deque(frame for frame in self._frames if not isinstance(frame, kind))

    def answer(self, frame: Frame) -> bool:
        """Add the answer to a frame that has no stream here, unless the neighbour asks more than it listens."""
        if len(self._frames) >= ANSWERS:
            return False
        self._frames.append(frame)
        return True

    def note(self, speaker: StreamSpeaker) -> None:
        """Remember that ``speaker`` has something to say."""
        self._speakers[speaker.key] = speaker

    def forget(self, speaker: StreamSpeaker) -> None:
        """What ``speaker`` has to say goes another way."""
        self._speakers.pop(speaker.key, None)

    def note_first(self, speaker: Speaker) -> None:
        """Remember that ``speaker`` has something to say before all others: who is there, or nobody else is heard."""
        self._first = speaker

    def note_last(self, speaker: Speaker) -> None:
        """Remember that ``speaker`` has something to say after all others: who is not there any more."""
        self._last = speaker

    def take(self, most: int) -> list[Frame]:
        """Return up to about ``most`` frames."""
        taken: list[Frame] = []
        if self._first is not None:
            first, self._first = self._first, None
            taken.extend(first.take_control_frames())
        while self._frames and len(taken) < most:
            taken.append(self._frames.popleft())
        while self._speakers and len(taken) < most:
            key = next(iter(self._speakers))
            taken.extend(self._speakers.pop(key).take_control_frames())
        if self._last is not None and len(taken) < most:
            last, self._last = self._last, None
            taken.extend(last.take_control_frames())
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._frames.clear()
        self._speakers.clear()
        self._first = self._last = None


class Link(Timed):
    """The relation to one neighbour.

    :ivar lanes: lanes that said Hello, by number.
    :ivar uplink: what dials it, if this end does.
    :ivar announces: the neighbour tells by itself who is there, and hears of it.
    """

    def __init__(
        self, fqcn: str, incarnation: int, link_id: bytes, kind: LinkKind, uplink: Uplink | None = None
    ) -> None:
        super().__init__()
        self.fqcn = fqcn
        self.incarnation = incarnation
        self.link_id = link_id
        self.kind = kind
        self.uplink = uplink
        self.identity = ""
        self.address = ""
        self.lanes: dict[int, Lane] = {}
        self.outbox = Outbox()
        self.small: RoundRobin[ChunkSource] = RoundRobin(_SMALL_QUANTUM, self._carries)
        self.bulk: RoundRobin[ChunkSource] = RoundRobin(_BULK_QUANTUM, self._carries)
        # What streams that come over it begin with.
        self.remembered_window = RememberedWindow()
        # What the neighbour's Hello said.
        self.initial_credit = INITIAL_CREDIT_BYTES
        self.message_bytes = MESSAGE_BYTES
        self.neighbours_lanes = 1
        self.announces = False
        self.software = ""
        # How many streams were settled here when the neighbour was last told which.
        self.settled_told = 0
        # Times.
        self.on_timer: Callable[[Link, float], None] | None = None
        self.up_since = 0.0
        self.last_break = ""
        # Whether the neighbour has said that it goes.
        self.left = False
        self.lanes_lost_at: float | None = None
        # Whether the neighbour knows nothing yet of what this end has announced on an earlier link.
        self.fresh = True
        # Whether the application was told that the neighbour is there.
        self.announced = False
        # When it is told so, if the link has to prove itself first.
        self.announce_at: float | None = None
        # Whether it was told that the neighbour sends what it may not.
        self.told_of_refusal = False
        # Whether it was told that one of the two broke the rules of the wire.
        self.told_of_break = False
        self.down = False
        # Whether the listener asked for bulk lanes, until when it waits for one, and whether none came by then.
        self.bulk_asked = False
        self.bulk_due_at: float | None = None
        self.bulk_overdue = False

    def __repr__(self) -> str:
        return f"<Link to {self.kind.name} {self.fqcn} lanes {sorted(self.lanes)} {'down' if self.down else 'up'}>"

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to whoever tends the link."""
        if self.on_timer is not None:
            self.on_timer(self, now)

    def _carries(self, source: ChunkSource) -> bool:
        return source.goes_by(self)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a lane."""
        return not (len(self.small) or len(self.bulk) or self.outbox)

    @property
    def lasts(self) -> bool:
        """Whether it has a lane, or this end sees to it that it gets one again."""
        return not self.down and (bool(self.lanes) or self.uplink is not None)

    def control_lane(self) -> Lane | None:
        """Return the lane that control frames go on: the newest trusted control lane, or any while there is none."""
        best = None
        for lane in self.lanes.values():
            if lane.goodbye is None and lane.state in _USABLE and (best is None or lane.precedence < best.precedence):
                best = lane
        return best

    def count_bulk_lanes(self) -> int:
        """Return how many lanes for bulk are up."""
        count = 0
        for lane in self.lanes.values():
            if lane.role is LaneRole.BULK and lane.goodbye is None and lane.state in _USABLE:
                count += 1
        return count

    def has_bulk_lane(self) -> bool:
        """Return whether a lane for bulk is up."""
        return any(lane.role is LaneRole.BULK and lane.usable for lane in self.lanes.values())

    def drains(self) -> bool:
        """Return whether a lane may still carry frames that later ones on other lanes overtake."""
        return any(lane.state is LaneState.DRAINING for lane in self.lanes.values())

    def highest_number(self) -> int:
        """Return the highest number of a lane that said Hello."""
        return max(self.lanes, default=0)
