"""A link: the relation of a cell to one neighbour, which survives its lanes.

A link is *up* from its first Hello on. When it has lost its last lane it waits for another one for some time, and is
then *down*, for good; so it is at once if one of the two ends it. A new life of the neighbour, or a link of which the
other end knows nothing any more, goes on in the same link, which is *renewed*: what was said on it is forgotten.

The application hears of a neighbour when both may use their names (the tree decides that), not when the link is up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from streamcell.errors import ErrorCode
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import CellConnected, CellDisconnected, FrameRefused, ProtocolBroken
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.credit import RememberedWindow
from streamcell.protocol.flow.schedule import RoundRobin, Standing
from streamcell.protocol.links.bulk import BulkWish
from streamcell.protocol.links.carrier import NO_CARRIER, CarrierInfo
from streamcell.protocol.links.greeting import Terms
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.outbox import Outbox, Speaker
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.frames import AnnounceReply, Chunk, Frame, Hello, LaneRole, LanesWanted, StreamKey

if TYPE_CHECKING:
    from streamcell.protocol.links.uplink import Uplink

# One turn of a small and of a bulk stream.
_SMALL_QUANTUM = 64 * 1024
_BULK_QUANTUM = 1024 * 1024
# How long a link has to last before it is believed in, after a break that was no break of the network.
_PROVES_ITSELF_S = 1.0
# What is asked for each frame is looked up once: a member of an enumeration is found slowly before Python 3.12.
_BULK, _SUSPECT, _DRAINING = LaneRole.BULK, LaneState.SUSPECT, LaneState.DRAINING


class ChunkSource(Speaker, Protocol):
    """A stream that has chunks to send: one of this cell, or one that it relays."""

    def standing_at(self, lane: Lane) -> Standing:
        """Return whether its next chunk may go on that lane."""
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


class LinkObserver(Protocol):
    """Who is told what happens to links. Called in the middle of a step: must not end lanes or links."""

    def on_link_begun(self, link: Link, now: float) -> None:
        """A link is there, of which the other end knows nothing yet. A lane is up."""
        ...

    def on_lane_up(self, link: Link, now: float) -> None:
        """A lane of the link can be written."""
        ...

    def is_outdated(self, frame: Frame) -> bool:
        """Return whether a frame that a lane may have carried in vain need not be said again."""
        ...

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        """A lane broke; whatever was on it may be lost."""
        ...

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        """Everything that was put on the lane has arrived; nothing more will be."""
        ...

    def on_link_down(self, link: Link, now: float) -> None:
        """The link is given up."""
        ...

    def way_in_tree(self, fqcn: str) -> Link | None:
        """Return the link by which the tree leads to a cell, or None while there is no way."""
        ...


class LinkKeeper(Protocol):
    """What a link tells the table that it is in."""

    def on_last_lane_lost(self, link: Link, now: float) -> None:
        """The link has no lane now."""
        ...

    def on_link_ended(self, link: Link, now: float) -> None:
        """The link is down, and is no link of this cell any more."""
        ...


class Link(Timed):
    """The relation to one neighbour.

    :ivar uplink: what has dialled it; None: the other end has.
    :ivar carrier: what carried the lane that began it, and so what who dialled has proved.
    :ivar lanes: lanes that said Hello, by number.
    :ivar remembered_window: what streams that come over it begin with.
    :ivar announced: the application was told that the neighbour is there.
    :ivar last_break: why a lane of it ended last, in the words of its carrier.
    """

    __slots__ = (
        "_announce_at",
        "_context",
        "_fresh",
        "_keeper",
        "_lanes_lost_at",
        "_observer",
        "_told_of_break",
        "_told_of_refusal",
        "_wish",
        "address",
        "announced",
        "bulk",
        "carrier",
        "down",
        "fqcn",
        "incarnation",
        "kind",
        "lanes",
        "last_break",
        "link_id",
        "outbox",
        "remembered_window",
        "small",
        "terms",
        "up_since",
        "uplink",
    )

    def __init__(
        self,
        context: Context,
        keeper: LinkKeeper,
        observer: LinkObserver,
        kind: LinkKind,
        fqcn: str,
        incarnation: int,
        link_id: bytes,
        *,
        now: float = 0.0,
        uplink: Uplink | None = None,
        carrier: CarrierInfo = NO_CARRIER,
    ) -> None:
        super().__init__()
        self._context = context
        self._keeper = keeper
        self._observer = observer
        self.kind = kind
        self.fqcn = fqcn
        self.incarnation = incarnation
        self.link_id = link_id
        self.uplink = uplink
        self.carrier = carrier
        self.address = ""
        self.terms = Terms()
        self.lanes: dict[int, Lane] = {}
        self.outbox = Outbox()
        self.small: RoundRobin[ChunkSource, Lane] = RoundRobin(_SMALL_QUANTUM)
        self.bulk: RoundRobin[ChunkSource, Lane] = RoundRobin(_BULK_QUANTUM)
        self.remembered_window = RememberedWindow()
        self.up_since = now
        self.last_break = ""
        self.down = False
        self.announced = False
        self._wish = BulkWish()
        self._lanes_lost_at: float | None = None
        # Whether the neighbour knows nothing yet of what this end has announced on an earlier link.
        self._fresh = True
        # When the application is told that the neighbour is there, if the link has to prove itself first.
        self._announce_at: float | None = None
        # Whether it was told that the neighbour sends what it may not, and that one of the two broke the rules.
        self._told_of_refusal = False
        self._told_of_break = False

    def __repr__(self) -> str:
        return f"<Link to {self.kind.name} {self.fqcn} lanes {sorted(self.lanes)} {'down' if self.down else 'up'}>"

    # What it is asked.

    @property
    def lasts(self) -> bool:
        """Whether it has a lane, or this end sees to it that it gets one again."""
        return not self.down and (bool(self.lanes) or self.uplink is not None)

    @property
    def initial_credit(self) -> int:
        """How many bytes of a stream the neighbour takes before it has given credit."""
        return self.terms.initial_credit

    def party_of(self, origin: str) -> Party:
        """Return who a cell shares with that sends by this link.

        All that a child announces is said by that child alone. What comes by the parent is the rest of the tree.
        """
        return (self.fqcn if self.kind is LinkKind.CHILD else origin, origin)

    def gives_way(self) -> bool:
        """Return whether it makes room for a shortcut to the same cell that this one has dialled.

        Of two that have dialled each other one is kept; one that has no lane has been given up by who dialled it.
        """
        if self.kind is not LinkKind.SHORTCUT or self.uplink is not None:
            return False
        return self._context.fqcn < self.fqcn or not self.lanes

    def control_lane(self) -> Lane | None:
        """Return the lane that control frames go on: the newest trusted control lane, or any while there is none."""
        best, first = None, None
        for lane in self.lanes.values():
            if lane.usable:
                # Trusted ones first, then by role and age.
                precedence = lane.state is _SUSPECT, lane.role, -lane.number
                if first is None or precedence < first:
                    best, first = lane, precedence
        return best

    def count_bulk_lanes(self) -> int:
        """Return how many lanes for bulk are up."""
        count = 0
        for lane in self.lanes.values():
            if lane.role is _BULK and lane.usable:
                count += 1
        return count

    def has_bulk_lane(self) -> bool:
        """Return whether a lane for bulk is up."""
        return any(lane.role is _BULK and lane.usable for lane in self.lanes.values())

    def drains(self) -> bool:
        """Return whether a lane may still carry frames that later ones on other lanes overtake."""
        return any(lane.state is _DRAINING for lane in self.lanes.values())

    def highest_number(self) -> int:
        """Return the highest number of a lane that said Hello."""
        return max(self.lanes, default=0)

    # What is said on it.

    def post(self, frame: Frame) -> None:
        """Have a frame sent once."""
        self.outbox.post(frame)
        self.wake_control()

    def press(self, frame: Frame) -> None:
        """Have a frame sent before others: a name that is contested is decided by who is heard in time."""
        self.outbox.press(frame)
        self.wake_control()

    def answer(self, frame: Frame) -> bool:
        """Have the answer to a frame sent, unless too many wait. Returns whether."""
        answered = self.outbox.answer(frame)
        self.wake_control()
        return answered

    def say(self, frame: Frame) -> bool:
        """Have a last word sent, or the word of another cell, unless very many wait. Returns whether."""
        said = self.outbox.say(frame)
        self.wake_control()
        return said

    def wake_control(self) -> None:
        """Wake the writer that control frames go by."""
        lane = self.control_lane()
        if lane is not None:
            lane.wake()

    def offer(self, source: ChunkSource, now: float, *, bulk: bool) -> None:
        """Put a stream that can send where the writers find it."""
        if not bulk:
            self.small.add(source)
            self.wake_control()
            return
        self.bulk.add(source)
        up = 0
        for lane in self.lanes.values():
            if lane.role is _BULK and lane.usable:
                lane.wake()
                up += 1
        if up < self._context.config.bulk_lanes:
            self.want_bulk_lanes(now)
        if up == 0:
            # While bulk has a lane of its own the writer of control frames is spared a turn for each chunk.
            for lane in self.lanes.values():
                lane.wake()

    # Bulk lanes.

    def allows_bulk_lanes(self) -> bool:
        """Return whether bulk has lanes of its own on this link, up or to come."""
        if self._most_bulk_lanes() == 0:
            return False
        return self.uplink.gets_bulk_lanes if self.uplink is not None else not self._wish.overdue

    def want_bulk_lanes(self, now: float) -> None:
        """See to it that the link has its bulk lanes, opened by the side that can."""
        most = self._most_bulk_lanes()
        if most == 0 or self.count_bulk_lanes() >= most:
            return
        if self.uplink is not None:
            self.uplink.want_bulk_lanes(most, now)
        elif self._wish.ask(now + self._context.config.connect_timeout_s):
            self._schedule_wish()
            self.post(LanesWanted(most))

    def on_lanes_wanted(self, count: int, now: float) -> None:
        """The listener asks for so many bulk lanes. If they are up here, they may be so at this end only."""
        if self.uplink is not None and count > 0:
            self.want_bulk_lanes(now)
            for lane in list(self.lanes.values()):
                if lane.role is LaneRole.BULK:
                    lane.ask_for_sign_of_life(now)

    def _most_bulk_lanes(self) -> int:
        return max(0, min(self._context.config.bulk_lanes, self.terms.lanes - 1))

    def _schedule_wish(self) -> None:
        if self._wish.due_at is not None:
            self._context.deadlines.schedule(self, self._wish.due_at)

    # What its lanes tell.

    def on_lane_joined(self, lane: Lane, terms: Terms, now: float) -> None:
        """A lane is up: streams can go on it, and the neighbour's terms are those that it said there."""
        self.lanes[lane.number] = lane
        self.address = lane.carrier.address
        self.terms = terms
        self._lanes_lost_at = None
        if lane.role is LaneRole.BULK:
            self._wish.on_lane_up()
        for other in self.lanes.values():
            other.on_fresh_lane(lane, now)
        for number in lane.replaces:
            if number in self.lanes:
                self.lanes[number].on_replaced(lane, now)
        for each in self.lanes.values():
            each.wake()
        if self._fresh:
            self._fresh = False
            self.up_since = now
            self._observer.on_link_begun(self, now)
        if not self.down:
            self._observer.on_lane_up(self, now)

    def on_lane_broken(self, lane: Lane, reason: str) -> None:
        """A lane ends for this reason, and not because this end has said Goodbye."""
        if lane.goodbye is None:
            self.last_break = reason

    def on_lane_silent(self, lane: Lane) -> None:
        """A lane that the other end has dialled is suspect: have it dial another one if it may not notice."""
        if lane.role is LaneRole.BULK:
            self.post(LanesWanted(max(1, self._most_bulk_lanes())))

    def on_lane_emptied(self, lane: Lane, now: float) -> None:
        """All that was put on a lane that is being left has arrived."""
        self._observer.on_lane_emptied(self, lane.lane_id, now)

    def on_dial_failed(self, now: float) -> None:
        """A lane that was dialled has not come up, or not yet: bulk that waited for it may go on the control lane."""
        self._observer.on_lane_up(self, now)

    def on_lane_ended(self, lane: Lane, now: float, *, lost: bool) -> None:
        """A lane has ended; ``lost``: and what it carried with it."""
        del self.lanes[lane.number]
        if self._context.stopped:
            return
        if lost:
            for frame in lane.carried_frames():
                if not self._observer.is_outdated(frame):
                    self.outbox.post(frame)
            if self.uplink is not None:
                self.uplink.on_lane_broken(lane, now)
        self._wish.on_lane_lost()
        if not self.lanes:
            # A lane that was given up for its silence took that time already.
            self._lanes_lost_at = lane.silent_since(now)
            self._context.deadlines.schedule(self, self._lanes_lost_at + self._context.config.link_down_s)
            self._keeper.on_last_lane_lost(self, now)
        if lost:
            self._observer.on_lane_lost(self, lane.lane_id, now)
        if any(source.goes_by(self) and source.can_send() for source in self.bulk.members):
            # Streams that have had no turn on this lane do not hear of its end, and rely on another one.
            self.want_bulk_lanes(now)
        self.wake_control()

    # Whether the application knows.

    def on_names_agreed(self, now: float) -> None:
        """Both ends may use their names: the neighbour is there, if the application was not told so yet.

        Where one of the two could not read the other just before, the link has to last for a moment first: it may be
        up again and again, and never be of use.
        """
        if self.announced or self._announce_at is not None:
            return
        if self.uplink is not None and self.uplink.is_doubtful(now):
            self._announce_at = now + _PROVES_ITSELF_S
            self._context.deadlines.schedule(self, self._announce_at)
        else:
            self._announce()

    def on_name_refused(self, code: ErrorCode, sentence: str, now: float) -> None:
        """The neighbour, which is the parent, does not take this cell's name."""
        if self.uplink is not None:
            self.uplink.on_name_refused(self, code, sentence, now)

    def _announce(self) -> None:
        self.announced = True
        self._announce_at = None
        self._context.events.append(CellConnected(self.fqcn, self._number_as_parent(), self.carrier.identity))

    def _announce_end(self, *, left: bool) -> None:
        self._announce_at = None
        if self.announced:
            self.announced = False
            self._context.events.append(CellDisconnected(self.fqcn, self._number_as_parent(), left))

    def _number_as_parent(self) -> int | None:
        return self.uplink.number if self.uplink is not None and self.kind is LinkKind.PARENT else None

    def on_frame_refused(self, source: str, about: StreamKey | None = None) -> None:
        """The neighbour has sent what it may not, in the name of ``source``, or of it ``about`` a stream. Told once."""
        if not self._told_of_refusal:
            self._told_of_refusal = True
            self._context.events.append(FrameRefused(self.fqcn, source, False, about))

    def on_rules_broken(self, lane: Lane, sentence: str, *, by_neighbour: bool) -> None:
        """One of the two ends cannot accept what the other has sent. It is told once."""
        if not self._told_of_break:
            self._told_of_break = True
            self._context.events.append(ProtocolBroken(self.fqcn, lane.carrier.address, sentence, by_neighbour))

    # Renewal, and the end.

    def renew(self, hello: Hello, now: float) -> None:
        """Go on with a new link id, or a new life of the neighbour, if it is one."""
        if self.link_id != hello.link_id or self.incarnation != hello.incarnation:
            self._fresh = True
            for lane in list(self.lanes.values()):
                lane.give_up(now)
            # Announcements are made anew: an answer to earlier ones would be taken for theirs.
            self.outbox.take_back(AnnounceReply)
        if self.incarnation != hello.incarnation:
            self.incarnation = hello.incarnation
            self._announce_end(left=False)
        self.link_id = hello.link_id

    def pass_to(self, hello: Hello, carrier: CarrierInfo, now: float, new_link_id: Callable[[], bytes]) -> None:
        """Give the name to who says this Hello, which begins the link anew, under an id that no other link had."""
        self.renew(hello, now)
        self._fresh = True
        self._told_of_break = False
        self.carrier = carrier
        self.link_id = new_link_id()

    def dismiss(self, code: ErrorCode, sentence: str, now: float) -> None:
        """End the link with a Goodbye that says why."""
        for lane in [each for each in self.lanes.values() if each.usable]:
            lane.refuse(code, sentence, now)
        self.retire(now)

    def retire(self, now: float, *, left: bool = False) -> None:
        """End the link without a word; ``left``: the neighbour has said that it goes."""
        for lane in list(self.lanes.values()):
            lane.give_up(now)
        self._go_down(now, left=left)

    def _go_down(self, now: float, *, left: bool) -> None:
        self.down = True
        self._context.deadlines.cancel(self)
        self._keeper.on_link_ended(self, now)
        self.outbox.clear()
        self._announce_end(left=left)
        self._observer.on_link_down(self, now)
        if self.uplink is not None:
            self.uplink.on_link_down(now)

    # Time.

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._wish.expire(now, has_lane=self.has_bulk_lane()):
            # Bulk that waited for a lane of its own goes on the control lane meanwhile.
            self._observer.on_lane_up(self, now)
        self._schedule_wish()
        if self._announce_at is not None:
            if now >= self._announce_at:
                self._announce()
            else:
                self._context.deadlines.schedule(self, self._announce_at)
        if self._lanes_lost_at is not None:
            down_at = self._lanes_lost_at + self._context.config.link_down_s
            if now >= down_at:
                self._go_down(now, left=False)
            else:
                self._context.deadlines.schedule(self, down_at)
