"""One lane, from its dial or arrival until its carrier has ended.

A lane tends itself. While it comes up it waits for the other end's Hello, and no longer than it was given time. When it
is up it asks for a sign of life where one is due (an answer is awaited, or nothing has come for long), is suspected if
none comes, and given up in the end, sooner where a fresh lane stands beside it. A bulk lane that this end has dialled
and that nothing used for long ends instead.

**Handover.** The dialler's carrier may say that a lane's connection is about to end. The next one is dialled, and its
Hello says whose place it takes. When it is up, each end puts nothing more on the old one but a Ping. Its Pong shows
that everything before it has arrived, so that streams that were bound to the old lane are free to go on by the next;
then the dialler says Goodbye. A lane that ends earlier is a lane that broke.

What a lane means for others it tells them: its uplink, which has dialled it, its link, from its Hello on, and the
table that it is in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

from streamcell.errors import ErrorCode, ProtocolError, one_line
from streamcell.limits import ANSWERS
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import LaneDropped
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.sharing import SharedRoom
from streamcell.protocol.links.carrier import NO_CARRIER, CarrierInfo
from streamcell.protocol.links.states import LANE_TABLE, LaneAction, LaneInput, LaneState
from streamcell.protocol.wire.frames import Frame, Goodbye, Hello, LaneRole, Ping, Pong

if TYPE_CHECKING:
    from streamcell.protocol.links.link import Link
    from streamcell.protocol.links.uplink import Uplink

# Frames without a state behind them that a lane may have carried in vain: they are repeated when it breaks. More at
# once are left to the streams' own timers and to the settled ids.
_CARRIED_FRAMES = 1024
# What a lane that frames may go on is.
USABLE = (LaneState.READY, LaneState.SUSPECT, LaneState.LEAVING)
# Asked of each frame: found once, since a member of an enumeration is found slowly before Python 3.12.
_SUSPECT = LaneState.SUSPECT


class LaneKeeper(Protocol):
    """What a lane tells the table that it is in."""

    def on_lane_ended(self, lane: Lane, now: float, *, lost: bool) -> None:
        """The lane is closed, however that came; ``lost``: and what it carried may be lost."""
        ...


class Lane(Timed):
    """One lane.

    :ivar number: what both ends call it; 0 until the listener has heard it.
    :ivar uplink: what has dialled it; None: it arrived.
    :ivar place: which of the addresses of its uplink it was dialled at.
    :ivar link: the link that it has become a lane of by the Hello.
    :ivar replaces: the numbers of the lanes whose place it takes.
    :ivar claim_id: the number of the Hello that was said on it, by which a question about that is known; 0: none.
    :ivar own_frames: what it has to say itself, beside a Goodbye.
    :ivar usable: whether frames of the link may go on it.
    :ivar goodbye: what it ends with, when this end has decided that it does: nothing is heard on it any more.
    """

    __slots__ = (
        "_awaiting_since",
        "_carried",
        "_context",
        "_heard_at",
        "_hello_by",
        "_keeper",
        "_last_ping",
        "_pinged_at",
        "_said_goodbye",
        "_suspect_until",
        "_used_at",
        "carrier",
        "claim_id",
        "goodbye",
        "lane_id",
        "link",
        "number",
        "opened_at",
        "own_frames",
        "place",
        "replaces",
        "role",
        "shared_room",
        "state",
        "uplink",
        "usable",
    )

    def __init__(
        self,
        context: Context,
        keeper: LaneKeeper,
        lane_id: int,
        state: LaneState,
        *,
        role: LaneRole = LaneRole.UNSPECIFIED,
        number: int = 0,
        uplink: Uplink | None = None,
        place: int = 0,
        link: Link | None = None,
        now: float = 0.0,
    ) -> None:
        super().__init__()
        self._context = context
        self._keeper = keeper
        self.lane_id = lane_id
        self.state = state
        self.usable = state in USABLE
        self.role = role
        self.number = number
        self.uplink = uplink
        self.place = place
        self.link = link
        self.carrier = NO_CARRIER
        self.shared_room = SharedRoom()
        self.claim_id = 0
        self.goodbye: Goodbye | None = None
        self._said_goodbye = False
        self.own_frames: deque[Frame] = deque()
        self._carried: deque[Frame] = deque(maxlen=_CARRIED_FRAMES)
        # While it comes up: until when the Hello is awaited.
        self._hello_by = now
        self.opened_at = now
        # Signs of life. Since when an answer is awaited; since when one to a Ping is; when it is given up beside a
        # fresh lane.
        self._heard_at = now
        self._used_at = now
        self._awaiting_since: float | None = None
        self._pinged_at: float | None = None
        self._suspect_until: float | None = None
        self.replaces: tuple[int, ...] = ()
        # The number of the Ping behind which nothing more is on it.
        self._last_ping: int | None = None

    def __repr__(self) -> str:
        return f"<Lane {self.lane_id} number {self.number} {self.role.name} {self.state.name} {self.carrier.address}>"

    @property
    def listens(self) -> bool:
        """Whether what comes on it counts."""
        return self.goodbye is None and self.state is not LaneState.CLOSED

    def silent_since(self, now: float) -> float:
        """Return since when nothing has come, if this was noticed, or else ``now``."""
        return now if self._pinged_at is None else self._heard_at

    # Coming up.

    def await_hello(self, by: float) -> None:
        """Give the lane up unless its Hello has come by then."""
        self._hello_by = by
        self._context.deadlines.schedule(self, by)

    def on_accepted(self, carrier: CarrierInfo, now: float) -> None:
        """The lane has arrived here: who has dialled it says Hello."""
        self.carrier = carrier
        self.await_hello(now + self._context.config.hello_timeout_s)

    def on_connected(self, carrier: CarrierInfo, now: float) -> None:
        """The lane that was dialled has a connection."""
        self.carrier = carrier
        self.step(LaneInput.CONNECTED, now)

    def read_hello(self, hello: Hello) -> None:
        """Take from the dialler's Hello what the lane is to be."""
        self.number, self.replaces = hello.lane_number, hello.lanes_replaced
        self.role = LaneRole.BULK if hello.lane_role is LaneRole.BULK else LaneRole.CONTROL

    def on_claimed(self, now: float) -> None:
        """The name of the lane's cell is another's, who is asked: the lane waits for what comes of that."""
        self.step(LaneInput.CLAIMED, now)

    def on_greeted(self, link: Link, now: float) -> None:
        """The listener's Hello makes it a lane of ``link``."""
        self.link = link
        self.step(LaneInput.HELLO, now)

    def on_granted(self, link: Link, answer: Hello, now: float) -> None:
        """The dialler may have the lane, as one of ``link``, and is told so."""
        self.link = link
        self.own_frames.append(answer)
        self.step(LaneInput.GRANTED, now)

    def _greet(self, now: float) -> None:
        if self.uplink is not None:
            self.opened_at = now
            self.replaces = self.uplink.lanes_leaving(self.role)
            if self.role is LaneRole.CONTROL:
                self.claim_id = self._context.random_bits(64)
            self.own_frames.append(self.uplink.hello_on(self.number, self.role, self.replaces, self.claim_id))
            self.await_hello(now + self._context.config.hello_timeout_s)
            self.wake()

    def _await_holder(self, _now: float) -> None:
        self._context.deadlines.cancel(self)

    def _join(self, now: float) -> None:
        self._context.deadlines.cancel(self)
        self._heard_at = self._used_at = now
        self._watch(now)

    # Frames.

    def wake(self) -> None:
        """See to it that the lane's writer asks for frames."""
        self._context.ready_lanes[self.lane_id] = None

    def on_heard(self, now: float, *, bulk: bool) -> None:
        """A frame has come, which is a sign of life; ``bulk``: it makes use of the lane as well."""
        self._heard_at = now
        self._awaiting_since = None
        self._pinged_at = None
        if bulk:
            self._used_at = now
        if self.state is _SUSPECT:
            self.step(LaneInput.HEARD, now)

    def on_spoken(self, now: float) -> None:
        """Frames were put on the lane to which something should come back."""
        self._used_at = now
        if self._awaiting_since is None:
            self._awaiting_since = now
            self._context.deadlines.schedule(self, now + self._context.config.ping_after_s)

    def on_ping(self, nonce: int) -> None:
        """Answer on the same lane.

        :raises ProtocolError: if the neighbour goes on asking, and does not read the answers.
        """
        if len(self.own_frames) >= ANSWERS:
            raise ProtocolError(
                f"{self._context.fqcn} has {ANSWERS} Pings to answer on one lane: read what it answers before the next",
                ErrorCode.LIMIT,
            )
        self.own_frames.append(Pong(nonce))
        self.wake()

    def on_pong(self, nonce: int, now: float) -> None:
        """What was put on the lane before the Ping has arrived. By now what came from there is here, too."""
        if self.shared_room.note_pong(nonce):
            self.wake()
        if nonce == self._last_ping:
            self.step(LaneInput.EMPTIED, now)

    def take_own_frames(self) -> tuple[list[Frame], list[Ping]]:
        """Return what the lane itself has to say, and apart the Pings: what these tell goes behind other frames."""
        frames: list[Frame] = []
        pings: list[Ping] = []
        while self.own_frames:
            frame = self.own_frames.popleft()
            if isinstance(frame, Ping):
                pings.append(frame)
            else:
                frames.append(frame)
        return frames, pings

    def take_goodbye(self) -> list[Goodbye]:
        """Return what the lane ends with, if it does, and was not asked before."""
        if self.goodbye is None or self._said_goodbye:
            return []
        self._said_goodbye = True
        return [self.goodbye]

    def note_carried(self, frame: Frame) -> None:
        """Remember a frame that has no state behind it, for the case that the lane breaks."""
        self._carried.append(frame)

    def carried_frames(self) -> list[Frame]:
        """Return what the lane may have carried in vain, and is to be said again."""
        return list(self._carried)

    # Signs of life.

    def ask_for_sign_of_life(self, now: float) -> None:
        """Have the other end say something now, unless that is awaited already."""
        if self._pinged_at is None:
            self._ping(now)
            self._watch(now)

    def on_fresh_lane(self, fresh: Lane, now: float) -> None:
        """A lane of the same link came up, beside which a suspect one has little time left to be heard."""
        if self.state is not LaneState.SUSPECT:
            return
        if self.role is fresh.role:
            self._suspect_until = now + self._context.config.suspect_after_s
            self._context.deadlines.schedule(self, self._suspect_until)
        elif self.uplink is None:
            # What was said about it may have gone by a lane that was as bad.
            self._tell_of_silence(now)

    def _watch(self, now: float) -> None:
        """Ping a silent lane, suspect it if it stays silent, and give it up in the end."""
        config = self._context.config
        pinged_at = self._pinged_at
        if pinged_at is None:
            if self.uplink is not None and self._is_idle(now):
                # It is dialled again when bulk comes.
                self.uplink.on_lane_idle()
                self.refuse(ErrorCode.UNSPECIFIED, "the lane was idle", now)
                return
            ping_at = self._ping_due()
            if now < ping_at:
                self._context.deadlines.schedule(self, ping_at)
                return
            self._ping(now)
            pinged_at = now
        if self.state is LaneState.READY:
            suspect_at = pinged_at + config.suspect_after_s
            if now < suspect_at:
                self._context.deadlines.schedule(self, suspect_at)
                return
            self.step(LaneInput.SILENT, now)
        give_up_at = self._suspect_until or self._heard_at + config.link_down_s
        if now >= give_up_at:
            self.give_up(now)
        else:
            self._context.deadlines.schedule(self, give_up_at)

    def _is_idle(self, now: float) -> bool:
        idle_at = self._used_at + self._context.config.idle_lane_s
        return self.role is LaneRole.BULK and self._awaiting_since is None and now >= idle_at

    def _ping_due(self) -> float:
        """Return when a lane is to be pinged or, if it is a bulk lane of this side, to be looked at again."""
        config = self._context.config
        if self._awaiting_since is not None:
            return self._awaiting_since + config.ping_after_s
        if self.role is LaneRole.CONTROL:
            return self._heard_at + config.control_ping_after_s
        return (self._used_at if self.uplink is not None else self._heard_at) + config.idle_lane_s

    def _ping(self, now: float) -> int:
        nonce = self._context.random_bits(64)
        self._pinged_at = now
        self.own_frames.append(Ping(nonce))
        self.wake()
        return nonce

    def _tell_of_silence(self, now: float) -> None:
        """Who has dialled it dials another one beside it. The listener asks for that, as the dialler may not notice."""
        if self.uplink is not None:
            self.uplink.on_lane_silent(self, now)
        elif self.link is not None:
            self.link.on_lane_silent(self)

    def _trust_again(self, _now: float) -> None:
        self._suspect_until = None

    # Handover.

    def on_leaving(self, now: float) -> None:
        """The lane's carrier says that the connection is about to end. For a lane that was dialled only."""
        if self.uplink is not None and self.goodbye is None:
            self.step(LaneInput.ENDING, now)

    def on_replaced(self, fresh: Lane, now: float) -> None:
        """A fresh lane has come up that takes the place of this one, if it has the same role."""
        if self is not fresh and self.role is fresh.role and self.goodbye is None:
            self.step(LaneInput.REPLACED, now)

    def _dial_next(self, now: float) -> None:
        if self.uplink is not None:
            self.uplink.on_lane_leaving(self, now)

    def _drain(self, now: float) -> None:
        self._last_ping = self._ping(now)
        self._watch(now)

    def _release(self, now: float) -> None:
        """Nothing is on the lane any more. The dialler ends it."""
        if self.link is not None:
            self.link.on_lane_emptied(self, now)
        if self.uplink is not None:
            self._context.counters.add(Count.HANDOVERS)
            self.refuse(ErrorCode.UNSPECIFIED, "moved to a fresh lane", now)

    # Ends.

    def refuse(self, code: ErrorCode, sentence: str, now: float, *, linked: bool = False) -> None:
        """End the lane with a Goodbye that says why; ``linked``: there is a link to who dialled it already."""
        self.say_goodbye(code, sentence, linked=linked)
        self.step(LaneInput.CLOSED, now)

    def say_goodbye(self, code: ErrorCode, sentence: str, *, linked: bool = False) -> None:
        """Let the writer flush the lane, with a Goodbye at the end."""
        if not self.listens:
            return
        connected = self.state is not LaneState.DIALLING
        if connected:
            self.goodbye = Goodbye(code, one_line(sentence), self._context.fqcn if linked else "")
            self.usable = False
            self.wake()
        self._context.events.append(LaneDropped(self.lane_id, connected))

    def give_up(self, now: float) -> None:
        """End the lane without a word."""
        if self.listens:
            self._context.events.append(LaneDropped(self.lane_id, False))
        self.step(LaneInput.CLOSED, now)

    def on_carrier_ended(self, reason: str, now: float) -> None:
        """The carrier of the lane has ended, or could not be made."""
        if self.link is not None:
            self.link.on_lane_broken(self, reason)
        self.step(LaneInput.CLOSED, now)

    def _part(self, now: float) -> None:
        self._end(now, lost=False)

    def _forget(self, now: float) -> None:
        self._end(now, lost=True)

    def _end(self, now: float, *, lost: bool) -> None:
        self._context.deadlines.cancel(self)
        self._keeper.on_lane_ended(self, now, lost=lost)

    # Time, and the table.

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self.goodbye is not None:
            return
        if self.state in (LaneState.DIALLING, LaneState.GREETING):
            if now >= self._hello_by:
                self.give_up(now)
            else:
                # The connection was made meanwhile, which gave the Hello a time of its own.
                self._context.deadlines.schedule(self, self._hello_by)
        else:
            self._watch(now)

    def _ignore(self, now: float) -> None:
        pass

    ACTS: ClassVar[Mapping[LaneAction, Callable[[Lane, float], None]]] = {
        LaneAction.IGNORE: lambda self, now: self._ignore(now),
        LaneAction.GREET: lambda self, now: self._greet(now),
        LaneAction.JOIN: lambda self, now: self._join(now),
        LaneAction.AWAIT_HOLDER: lambda self, now: self._await_holder(now),
        LaneAction.DIAL_BESIDE: lambda self, now: self._tell_of_silence(now),
        LaneAction.TRUST_AGAIN: lambda self, now: self._trust_again(now),
        LaneAction.DIAL_NEXT: lambda self, now: self._dial_next(now),
        LaneAction.DRAIN: lambda self, now: self._drain(now),
        LaneAction.RELEASE: lambda self, now: self._release(now),
        LaneAction.PART: lambda self, now: self._part(now),
        LaneAction.FORGET: lambda self, now: self._forget(now),
    }

    def step(self, event: LaneInput, now: float) -> None:
        """Go on to the state that follows, and do what the table says."""
        action, self.state = LANE_TABLE[self.state, event]
        self.usable = self.goodbye is None and self.state in USABLE
        self.ACTS[action](self, now)
