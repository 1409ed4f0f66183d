"""Dialling other cells, and waiting between tries.

An uplink may have several places. Whichever way a dial ends, the next place is next, at once; the one that failed has
a back-off of its own. A place that is silent is passed over before it is given up: the next one is dialled beside it,
and the first Hello wins. After a break of the whole link the first try goes to another place than the one that broke.
A link that is silent on all its lanes is dialled once more where it is, then elsewhere.
"""

from __future__ import annotations

from streamcell.errors import CellError, ErrorCode
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import LaneWanted, UplinkEnded, UplinkRefused
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.links.states import (
    LaneState,
)
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import LaneRole

# Doublings of the back-off after which it is at its maximum in any configuration.
_DOUBLINGS = 32
# The first try of a link that has ended is left to who dialled it: that one waits as after one failure.
_REST_ENDS = 2
# How many dial timeouts the carrier has to say that there is no connection: one, and a little.
_CARRIER_DIALS = 1.2
# How many dial timeouts a Hello is awaited on a connection that is there, while other places are dialled beside it.
_GREETING_DIALS = 3


class Dialler:
    """Keeps a control lane to each uplink, and as many bulk lanes as are wanted."""

    def __init__(self, context: Context, lanes: LaneTable) -> None:
        self.uplinks: dict[int, Uplink] = {}
        self._context = context
        self._lanes = lanes
        self._next_number = 0

    def add_uplink(self, now: float, places: int = 1, kind: LinkKind = LinkKind.PARENT) -> Uplink:
        """Begin to dial another cell, which may be reached at so many places: the parent, or a shortcut's."""
        uplink = self.uplinks[self._next_number] = Uplink(self._next_number, places, kind)
        self._next_number += 1
        uplink.on_timer = self.tend
        self.tend(uplink, now)
        return uplink

    def tend(self, uplink: Uplink, now: float) -> None:
        """Dial what is missing, now or when the back-off is over."""
        if self._context.stopped or uplink.ended or uplink.rests_on is not None:
            return
        if uplink.has_ready_lane(LaneRole.CONTROL):
            self._tend_bulk(uplink, now)
        elif not self._expects_hello(uplink, now):
            self._tend_control(uplink, now)

    def _expects_hello(self, uplink: Uplink, now: float) -> bool:
        """Return whether a control lane is on its way that is not late. One that is: its place has failed for now."""
        for lane in uplink.dialling.values():
            late_at = lane.dialled_at + self._context.config.dial_timeout_s
            if lane.role is LaneRole.CONTROL and not lane.late:
                if now < late_at:
                    self._context.deadlines.schedule(uplink, late_at)
                    return True
                lane.late = True
                self._postpone(uplink, lane.place, now)
        return False

    def _tend_control(self, uplink: Uplink, now: float) -> None:
        place = uplink.next_place(now)
        if place is None:
            return
        at = max(uplink.soonest, uplink.places[place].retry_at)
        if now < at:
            self._context.deadlines.schedule(uplink, at)
        else:
            self._dial(uplink, LaneRole.CONTROL, place, now)

    def _tend_bulk(self, uplink: Uplink, now: float) -> None:
        missing = uplink.missing_bulk_lanes()
        if missing > 0 and now < uplink.bulk_retry_at:
            self._context.deadlines.schedule(uplink, uplink.bulk_retry_at)
            return
        for _ in range(missing):
            self._dial(uplink, LaneRole.BULK, uplink.place, now)

    def dial_beside(self, uplink: Uplink, lane: Lane, now: float) -> None:
        """Dial a fresh lane beside a suspect one, unless one of its role is under way."""
        if not uplink.dials(lane.role):
            self._dial(uplink, lane.role, uplink.place, now)

    def dial_next(self, uplink: Uplink, lane: Lane, now: float) -> None:
        """Dial a lane in place of one that is about to end: at once, unless that one has only just come up."""
        soonest = lane.opened_at + self._context.config.backoff_min_s
        if lane.role is LaneRole.CONTROL:
            uplink.soonest = max(uplink.soonest, soonest)
        else:
            uplink.bulk_retry_at = max(uplink.bulk_retry_at, soonest)
        self.tend(uplink, now)

    def want_bulk_lanes(self, uplink: Uplink, count: int, now: float) -> None:
        """Keep ``count`` bulk lanes from now on."""
        uplink.bulk_wanted = count
        self.tend(uplink, now)

    def hurry(self, uplink: Uplink, now: float) -> None:
        """Somebody waits for the answer: dial where one was refused after the usual wait, and not the long one."""
        for place in uplink.places:
            if place.refusal is not None:
                place.retry_at = place.hurried_at
        self.tend(uplink, now)

    def _dial(self, uplink: Uplink, role: LaneRole, place: int, now: float) -> None:
        number = uplink.next_lane_number
        uplink.next_lane_number += 1
        lane = self._lanes.open(LaneState.DIALLING, role, number, now)
        lane.uplink, lane.place = uplink, place
        lane.greeted_by = now + _CARRIER_DIALS * self._context.config.dial_timeout_s
        uplink.dialling[number] = lane
        if role is LaneRole.CONTROL:
            self._context.deadlines.schedule(uplink, now + self._context.config.dial_timeout_s)
        self._context.events.append(LaneWanted(lane.lane_id, uplink.number, role, place))

    # What becomes of dials.

    def greeted_by(self, uplink: Uplink, lane: Lane, now: float) -> float:
        """Return until when the Hello of a lane is awaited that has just been connected."""
        may_wait = lane.role is LaneRole.CONTROL and len(uplink.places) > 1
        return now + (_GREETING_DIALS if may_wait else 1) * self._context.config.dial_timeout_s

    def succeeded(self, uplink: Uplink, lane: Lane) -> None:
        """The listener said Hello on a lane."""
        uplink.dialling.pop(lane.number, None)
        if lane.role is not LaneRole.CONTROL:
            uplink.bulk_failures = 0
            return
        uplink.was_linked = True
        uplink.place = lane.place
        uplink.places[lane.place].failures = 0
        for place in uplink.places:
            place.refusal = None

    def end_others(self, uplink: Uplink, now: float) -> None:
        """A control lane is up: those that are on their way to other places are not wanted any more."""
        for lane in list(uplink.dialling.values()):
            if lane.role is LaneRole.CONTROL:
                del uplink.dialling[lane.number]
                self._lanes.refuse(lane, ErrorCode.CANCELLED, f"{self._context.fqcn} has got a link elsewhere", now)

    def failed(self, uplink: Uplink, lane: Lane, now: float) -> bool:
        """Take note that a lane ended; returns whether it was one that had not got as far as the Hello."""
        if uplink.dialling.pop(lane.number, None) is None:
            return False
        if lane.role is LaneRole.BULK:
            uplink.bulk_failures += 1
            uplink.bulk_retry_at = now + self.backoff(uplink.bulk_failures)
            self._context.deadlines.schedule(uplink, uplink.bulk_retry_at)
        elif not lane.late or uplink.places[lane.place].least_s > 0:
            self._postpone(uplink, lane.place, now)
        return True

    def broke(self, uplink: Uplink, lane: Lane, now: float) -> None:
        """A lane broke: the first try comes soon, but not at once, or lanes that break when they are up would race.

        If it was the last one of the link, that try goes elsewhere, where there is an elsewhere.
        """
        soon = now + self._context.config.backoff_min_s * self._context.jitter()
        if lane.role is LaneRole.CONTROL:
            self._context.counters.add(Count.RECONNECTS)
            uplink.soonest = soon
        else:
            uplink.bulk_retry_at = soon
        if uplink.link is None or not uplink.link.lanes:
            uplink.pass_by(uplink.place)

    def refuse(self, uplink: Uplink, place: int, error: CellError, *, firm: bool = False) -> None:
        """Whoever is at that place refuses; ``firm``: it would do so again, so those who wait need not any longer.

        Nobody is given up for that: what answers may be something in the way, and a cell may be mended. But it is
        dialled slowly, unless a cell has answered before.
        """
        self._refuse(uplink, place, error, firm=firm and not uplink.was_linked)

    def refuse_name(self, uplink: Uplink, place: int, error: CellError) -> None:
        """A cell there has said Hello, or would, but this one may not have its name: wait as long as after failures."""
        uplink.places[place].least_s = self._context.config.backoff_max_s
        self._refuse(uplink, place, error, firm=False)

    def note_break(self, uplink: Uplink, place: int, error: CellError, now: float) -> None:
        """One of the two ends could not read what the other sent: a refusal when that is no chance any more."""
        self._refuse(uplink, place, error, firm=uplink.places[place].note_break(now))

    def _refuse(self, uplink: Uplink, place: int, error: CellError, *, firm: bool) -> None:
        refused = uplink.places[place]
        refused.refusal = error if firm else None
        if firm:
            refused.least_s = self._context.config.backoff_refused_s * 2 * self._context.jitter()
        event = UplinkRefused(uplink.number, error, firm and uplink.all_refuse(), uplink.kind is LinkKind.SHORTCUT)
        self._context.events.append(event)

    def wait_after_refusal(self, uplink: Uplink, place: int, now: float) -> None:
        """A link that was up has been ended by one of the two: wait before that place is dialled again."""
        self._postpone(uplink, place, now)
        self.tend(uplink, now)

    def _postpone(self, uplink: Uplink, index: int, now: float) -> None:
        """Wait before a place is dialled again, longer each time, and go on to the next one."""
        place = uplink.places[index]
        place.failures += 1
        place.hurried_at = now + self.backoff(place.failures)
        place.retry_at = max(place.hurried_at, now + place.least_s)
        if place.least_s == 0.0:
            # It was no refusal this time.
            place.refusal = None
        place.least_s = 0.0
        uplink.pass_by(index)

    # Resting, and ending.

    def rest(self, uplink: Uplink, link: Link | None) -> None:
        """There is another link to the cell that was dialled for a shortcut: dial no more while that one lasts."""
        if uplink.kind is LinkKind.SHORTCUT and uplink.link is None and link is not None and link.lasts:
            uplink.rests_on = link

    def end_rest(self, link: Link, now: float) -> None:
        """A link may have ended: dial what rests on it, after a wait that leaves the first try to who dialled it."""
        for uplink in self.uplinks.values():
            if uplink.rests_on is link and not link.lasts:
                uplink.rests_on = None
                uplink.soonest = now + self.backoff(_REST_ENDS)
                self.tend(uplink, now)

    def end(self, uplink: Uplink, now: float) -> None:
        """Dial this one no more, and forget it."""
        uplink.ended = True
        del self.uplinks[uplink.number]
        self._context.deadlines.cancel(uplink)
        for lane in list(uplink.dialling.values()):
            self._lanes.drop(lane, now)
        self._context.events.append(UplinkEnded(uplink.number))

    def stop(self) -> None:
        """Dial no more."""
        for uplink in self.uplinks.values():
            self._context.deadlines.cancel(uplink)

    def backoff(self, failures: int) -> float:
        """Return how long to wait after that many failures in a row, in seconds."""
        config = self._context.config
        doubled: float = config.backoff_min_s * 2 ** min(failures - 1, _DOUBLINGS)
        return min(config.backoff_max_s, doubled) * self._context.jitter()
