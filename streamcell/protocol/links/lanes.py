"""The lanes of a cell: their ids, heartbeats and ends."""

from __future__ import annotations

from typing import Protocol

from streamcell.errors import ErrorCode, one_line
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped
from streamcell.protocol.links.link import Lane
from streamcell.protocol.links.states import (
    LaneAction,
    LaneInput,
    LaneState,
)
from streamcell.protocol.wire.frames import Goodbye, LaneRole, Ping

# The number of the lane that leads from a cell to itself. The others are numbered from 1.
LOOP_LANE = 0


class LaneKeeper(Protocol):
    """Who is told what becomes of lanes."""

    def on_lane_silent(self, lane: Lane, now: float) -> None:
        """The lane did not answer a Ping: it is suspect."""
        ...

    def on_lane_idle(self, lane: Lane, now: float) -> None:
        """Nothing has used the bulk lane for the idle time of lanes."""
        ...

    def on_claim_expired(self, lane: Lane, now: float) -> None:
        """The holder of a name that the lane's cell claims did not answer in time."""
        ...

    def on_lane_ended(self, lane: Lane, now: float) -> None:
        """The lane is closed, however that came."""
        ...


class LaneTable:
    """Every lane from its dial or arrival until its carrier has ended.

    :ivar loop: the lane that leads from the cell to itself, which is there as long as the cell.
    """

    def __init__(self, context: Context, keeper: LaneKeeper) -> None:
        self.loop = Lane(LOOP_LANE, LaneState.READY, LaneRole.CONTROL, 0)
        self._lanes: dict[int, Lane] = {}
        self._ready: dict[int, None] = {}
        self._context = context
        self._keeper = keeper
        self._last_lane_id = 0

    def get(self, lane_id: int) -> Lane | None:
        """Return a lane whose carrier has not ended, or None."""
        return self.loop if lane_id == LOOP_LANE else self._lanes.get(lane_id)

    def all(self) -> list[Lane]:
        """Return every lane that leads to another cell."""
        return list(self._lanes.values())

    def open(self, state: LaneState, role: LaneRole, number: int, now: float) -> Lane:
        """Make a lane. It has the dial timeout to get as far as a connection, or if it arrived here to a Hello."""
        self._last_lane_id += 1
        lane = Lane(self._last_lane_id, state, role, number)
        lane.on_timer = self._handle_timer
        lane.dialled_at = lane.opened_at = lane.heard_at = now
        self._lanes[lane.lane_id] = lane
        lane.greeted_by = now + self._context.config.dial_timeout_s
        self._context.deadlines.schedule(lane, lane.greeted_by)
        return lane

    def forget(self, lane: Lane, now: float) -> None:
        """The carrier of a lane has ended."""
        if lane is not self.loop:
            self.lose(lane, now)
            del self._lanes[lane.lane_id]

    # Writers.

    def wake(self, lane: Lane) -> None:
        """See to it that the lane's writer asks for frames."""
        self._ready[lane.lane_id] = None

    def take_ready(self) -> list[int]:
        """Return the lanes whose writers are to be woken."""
        ready = list(self._ready)
        self._ready.clear()
        return ready

    # Heartbeats.

    def note_heard(self, lane: Lane, now: float) -> None:
        """Take note of a sign of life on a lane."""
        lane.heard_at = now
        lane.awaiting_since = None
        lane.pinged_at = None
        if lane.state is LaneState.SUSPECT and lane.step(LaneInput.HEARD) is LaneAction.TRUST_AGAIN:
            lane.suspect_until = None

    def note_spoke(self, lane: Lane, now: float) -> None:
        """Take note that frames were put on a lane: something should come back."""
        lane.used_at = now
        if lane.awaiting_since is None:
            lane.awaiting_since = now
            self._context.deadlines.schedule(lane, now + self._context.config.ping_after_s)

    def doubt(self, lane: Lane, now: float) -> None:
        """A fresh lane came up beside a suspect one, which has a little time left to be heard."""
        lane.suspect_until = now + self._context.config.suspect_after_s
        self._context.deadlines.schedule(lane, lane.suspect_until)

    def watch(self, lane: Lane, now: float) -> None:
        """Ping a silent lane, suspect it if it stays silent, and give it up in the end."""
        config = self._context.config
        if lane.pinged_at is None:
            if self._is_idle(lane, now):
                self._keeper.on_lane_idle(lane, now)
                return
            ping_at = self._ping_due(lane)
            if now < ping_at:
                self._context.deadlines.schedule(lane, ping_at)
                return
            lane.pinged_at = now
            self._send_ping(lane)
        if lane.state is LaneState.READY:
            suspect_at = lane.pinged_at + config.suspect_after_s
            if now < suspect_at:
                self._context.deadlines.schedule(lane, suspect_at)
                return
            lane.step(LaneInput.SILENT)
            self._keeper.on_lane_silent(lane, now)
        give_up_at = lane.suspect_until or lane.heard_at + config.link_down_s
        if now >= give_up_at:
            self.drop(lane, now)
        else:
            self._context.deadlines.schedule(lane, give_up_at)

    def ping(self, lane: Lane, now: float) -> None:
        """Ask for a sign of life now, unless one is awaited already."""
        if lane.pinged_at is None:
            lane.pinged_at = now
            self._send_ping(lane)
            self.watch(lane, now)

    def _send_ping(self, lane: Lane) -> Ping:
        ping = Ping(self._context.random_bits(64))
        lane.own_frames.append(ping)
        self.wake(lane)
        return ping

    def drain(self, lane: Lane, now: float) -> None:
        """Ask the other side to say when everything that was put on a lane has arrived."""
        lane.pinged_at = now
        lane.last_ping = self._send_ping(lane)
        self.watch(lane, now)

    def _is_idle(self, lane: Lane, now: float) -> bool:
        """Return whether a bulk lane that this side has dialled is idle, which ends it instead of a Ping."""
        idle_at = lane.used_at + self._context.config.idle_lane_s
        return lane.role is LaneRole.BULK and lane.dialled and lane.awaiting_since is None and now >= idle_at

    def _ping_due(self, lane: Lane) -> float:
        """Return when a lane is to be pinged or, if it is a bulk lane of this side, to be looked at again."""
        config = self._context.config
        if lane.awaiting_since is not None:
            return lane.awaiting_since + config.ping_after_s
        if lane.role is LaneRole.CONTROL:
            return lane.heard_at + config.control_ping_after_s
        return (lane.used_at if lane.dialled else lane.heard_at) + config.idle_lane_s

    def _handle_timer(self, lane: Lane, now: float) -> None:
        if lane.goodbye is not None:
            return
        if lane.state in (LaneState.DIALLING, LaneState.GREETING):
            if now >= lane.greeted_by:
                self.drop(lane, now)
            else:
                # The connection was made meanwhile, which gave the Hello a time of its own.
                self._context.deadlines.schedule(lane, lane.greeted_by)
        elif lane.state is LaneState.CLAIMING:
            self._keeper.on_claim_expired(lane, now)
        else:
            self.watch(lane, now)

    # Ends.

    def refuse(self, lane: Lane, code: ErrorCode, sentence: str, now: float, *, linked: bool = False) -> None:
        """End a lane with a Goodbye that says why; ``linked``: there is a link to who dialled it already."""
        self.say_goodbye(lane, code, sentence, linked=linked)
        self.lose(lane, now)

    def say_goodbye(self, lane: Lane, code: ErrorCode, sentence: str, *, linked: bool = False) -> None:
        """Let the writer flush the lane, with a Goodbye at the end."""
        if lane.goodbye is not None or lane.state is LaneState.CLOSED:
            return
        connected = lane.state is not LaneState.DIALLING
        if connected:
            lane.goodbye = Goodbye(code, one_line(sentence), self._context.fqcn if linked else "")
            self.wake(lane)
        self._context.events.append(LaneDropped(lane.lane_id, connected))

    def drop(self, lane: Lane, now: float) -> None:
        """Give a lane up without a word."""
        if lane.state is LaneState.CLOSED:
            return
        if lane.goodbye is None:
            self._context.events.append(LaneDropped(lane.lane_id, False))
        self.lose(lane, now)

    def lose(self, lane: Lane, now: float) -> None:
        """Do what the end of a lane means, however it came."""
        action = lane.step(LaneInput.CLOSED)
        lane.emptied = action is LaneAction.PART
        if action is not LaneAction.IGNORE:
            self._context.deadlines.cancel(lane)
            self._keeper.on_lane_ended(lane, now)
