"""The lanes of a cell, by the ids that the shell knows them by."""

from __future__ import annotations

from streamcell.protocol.base.context import Context
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.lane import Lane, LaneKeeper
from streamcell.protocol.links.loop import LOOP_LANE
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import LaneRole


class LaneTable:
    """Every lane from its dial or arrival until its carrier has ended, and the loop, which is there as the cell is.

    :ivar by_id: the lanes by their ids. For reading only.
    """

    def __init__(self, context: Context, keeper: LaneKeeper, loop: Lane) -> None:
        self.by_id: dict[int, Lane] = {LOOP_LANE: loop}
        self._context = context
        self._keeper = keeper
        self._last_lane_id = LOOP_LANE

    def all(self) -> list[Lane]:
        """Return every lane that leads to another cell."""
        return [lane for lane_id, lane in self.by_id.items() if lane_id != LOOP_LANE]

    def accept(self, carrier: CarrierInfo, now: float) -> Lane:
        """Make a lane that has arrived, and wait for its Hello."""
        lane = Lane(self._context, self._keeper, self._next_id(), LaneState.GREETING, now=now)
        self.by_id[lane.lane_id] = lane
        lane.on_accepted(carrier, now)
        return lane

    def dial(self, uplink: Uplink, role: LaneRole, number: int, place: int, now: float) -> Lane:
        """Make a lane that is to be dialled."""
        lane = Lane(
            self._context,
            self._keeper,
            self._next_id(),
            LaneState.DIALLING,
            role=role,
            number=number,
            uplink=uplink,
            place=place,
            now=now,
        )
        self.by_id[lane.lane_id] = lane
        return lane

    def remove(self, lane: Lane) -> None:
        """Forget a lane whose carrier has ended."""
        del self.by_id[lane.lane_id]

    def _next_id(self) -> int:
        self._last_lane_id += 1
        return self._last_lane_id
