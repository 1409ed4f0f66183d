"""Dialling other cells, and waiting between tries. Imports L0 and the smaller parts of ``protocol``."""

from __future__ import annotations

from streamcell.errors import CellError, ErrorCode
from streamcell.protocol.context import Context
from streamcell.protocol.events import LaneWanted, UplinkRefused
from streamcell.protocol.frames import LaneRole
from streamcell.protocol.lanes import LaneTable
from streamcell.protocol.link import Lane, Link, Uplink
from streamcell.protocol.states import LaneState

# Doublings of the back-off after which it is at its maximum in any configuration.
_DOUBLINGS = 32


class Dialler:
    """Keeps a control lane to each uplink, and as many bulk lanes as are wanted."""

    def __init__(self, context: Context, lanes: LaneTable) -> None:
        self.uplinks: list[Uplink] = []
        self._context = context
        self._lanes = lanes

    def add_uplink(self, now: float, *, peer: bool = False) -> Uplink:
        """Begin to dial another cell: the parent, or a peer."""
        uplink = Uplink(len(self.uplinks), peer=peer)
        uplink.on_timer = self.tend
        self.uplinks.append(uplink)
        self.tend(uplink, now)
        return uplink

    def tend(self, uplink: Uplink, now: float) -> None:
        """Dial what is missing, now or when the back-off is over."""
        if self._context.stopped or uplink.ended or uplink.refused is not None or uplink.rests_on is not None:
            return
        control_up = uplink.has_ready_lane(LaneRole.CONTROL)
        if not control_up and not uplink.dials(LaneRole.CONTROL):
            self._dial_when(uplink, LaneRole.CONTROL, uplink.retry_at, now)
        if control_up and uplink.missing_bulk_lanes() > 0:
            self._dial_when(uplink, LaneRole.BULK, uplink.bulk_retry_at, now)

    def dial_beside(self, uplink: Uplink, lane: Lane, now: float) -> None:
        """Dial a fresh lane beside a suspect one, unless one of its role is under way."""
        if not uplink.dials(lane.role):
            self._dial(uplink, lane.role, now)

    def dial_next(self, uplink: Uplink, lane: Lane, now: float) -> None:
        """Dial a lane in place of one that is about to end: at once, unless that one has only just come up."""
        soonest = lane.opened_at + self._context.config.backoff_min_s
        if lane.role is LaneRole.CONTROL:
            uplink.retry_at = max(uplink.retry_at, soonest)
        else:
            uplink.bulk_retry_at = max(uplink.bulk_retry_at, soonest)
        self.tend(uplink, now)

    def want_bulk_lanes(self, uplink: Uplink, count: int, now: float) -> None:
        """Keep ``count`` bulk lanes from now on."""
        uplink.bulk_wanted = count
        self.tend(uplink, now)

    def _dial(self, uplink: Uplink, role: LaneRole, now: float) -> None:
        number = uplink.next_lane_number
        uplink.next_lane_number += 1
        lane = self._lanes.open(LaneState.DIALLING, role, number, now)
        lane.uplink = uplink
        uplink.dialling[number] = lane
        self._context.events.append(LaneWanted(lane.lane_id, uplink.number, role))

    def succeeded(self, uplink: Uplink, lane: Lane) -> None:
        """The listener said Hello on a lane."""
        uplink.dialling.pop(lane.number, None)
        if lane.role is LaneRole.CONTROL:
            uplink.failures = 0
        else:
            uplink.bulk_failures = 0

    def failed(self, uplink: Uplink, lane: Lane, now: float) -> bool:
        """Take note that a lane ended; returns whether it was one that had not got as far as the Hello."""
        if uplink.dialling.pop(lane.number, None) is None:
            return False
        if lane.role is LaneRole.CONTROL:
            self.wait(uplink, now)
        else:
            uplink.bulk_failures += 1
            uplink.bulk_retry_at = now + self.backoff(uplink.bulk_failures)
            self._context.deadlines.schedule(uplink, uplink.bulk_retry_at)
        return True

    def broke(self, uplink: Uplink, lane: Lane, now: float) -> None:
        """A lane broke: the first try comes soon, but not at once, or lanes that break when they are up would race."""
        soon = now + self._context.config.backoff_min_s * self._context.jitter()
        if lane.role is LaneRole.CONTROL:
            self._context.counters.reconnects += 1
            uplink.retry_at = soon
        else:
            uplink.bulk_retry_at = soon

    def wait(self, uplink: Uplink, now: float) -> None:
        """Wait before the next try, longer each time."""
        uplink.failures += 1
        uplink.retry_at = now + self.backoff(uplink.failures)
        self._context.deadlines.schedule(uplink, uplink.retry_at)

    def wait_after_goodbye(self, uplink: Uplink, code: ErrorCode, now: float) -> None:
        """The listener ended the link: wait before the next try, for a held name as long as ever."""
        uplink.failures += 1
        if code is ErrorCode.NAME_IN_USE:
            uplink.retry_at = now + self._context.config.backoff_max_s
        else:
            uplink.retry_at = now + self.backoff(uplink.failures)
        self._context.deadlines.schedule(uplink, uplink.retry_at)

    def refuse(self, uplink: Uplink, error: CellError, *, final: bool) -> None:
        """The listener refused; with ``final`` it is not dialled again."""
        if final:
            uplink.refused = error
        self._context.events.append(UplinkRefused(uplink.number, error, final, uplink.peer))

    def rest(self, uplink: Uplink, link: Link | None) -> None:
        """There is another link to the peer that was dialled: dial no more while that one lasts."""
        if uplink.peer and uplink.link is None and link is not None and link.lasts:
            uplink.rests_on = link
            uplink.failures = 0

    def end_rest(self, link: Link, now: float) -> None:
        """A link may have ended: dial what rests on it, after a wait that leaves the first try to who dialled it."""
        for uplink in self.uplinks:
            if uplink.rests_on is link and not link.lasts:
                uplink.rests_on = None
                self.wait(uplink, now)

    def end(self, uplink: Uplink, now: float) -> None:
        """Dial this one no more."""
        uplink.ended = True
        uplink.rests_on = None
        self._context.deadlines.cancel(uplink)
        for lane in list(uplink.dialling.values()):
            self._lanes.drop(lane, now)

    def stop(self) -> None:
        """Dial no more."""
        for uplink in self.uplinks:
            self._context.deadlines.cancel(uplink)

    def backoff(self, failures: int) -> float:
        """Return how long to wait after that many failures in a row, in seconds."""
        config = self._context.config
        doubled: float = config.backoff_min_s * 2 ** min(failures - 1, _DOUBLINGS)
        return min(config.backoff_max_s, doubled) * self._context.jitter()

    def _dial_when(self, uplink: Uplink, role: LaneRole, at: float, now: float) -> None:
        if now < at:
            self._context.deadlines.schedule(uplink, at)
            return
        for _ in range(1 if role is LaneRole.CONTROL else uplink.missing_bulk_lanes()):
            self._dial(uplink, role, now)
