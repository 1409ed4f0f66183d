"""Moving from a lane whose connection is about to end to a fresh one.

The dialler is told by its carrier and dials the next lane, whose Hello says whose place it takes. When it is up, each
end puts nothing more on the old one but a Ping. Its Pong shows that everything before it has arrived, so that streams
that were bound to the old lane are free to go on by the next; then the dialler says Goodbye. If the old lane ends
earlier it is a lane that broke.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.errors import ErrorCode
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.links.dialling import Dialler
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.links.states import (
    LaneAction,
    LaneInput,
)
from streamcell.protocol.wire.frames import Pong


class HandoverObserver(Protocol):
    """Who is told that a lane is empty."""

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        """Everything that was put on the lane has arrived; nothing more will be."""
        ...


class Handover:
    """Leaves lanes that are about to end."""

    def __init__(self, context: Context, lanes: LaneTable, dialler: Dialler, observer: HandoverObserver) -> None:
        self._context = context
        self._lanes = lanes
        self._dialler = dialler
        self._observer = observer

    def leave(self, lane_id: int, now: float) -> None:
        """The carrier of a lane that was dialled says that it is about to end: dial the next one."""
        lane = self._lanes.get(lane_id)
        if lane is None or lane.uplink is None or lane.goodbye is not None:
            return
        if lane.step(LaneInput.ENDING) is LaneAction.DIAL_NEXT:
            self._dialler.dial_next(lane.uplink, lane, now)

    def joined(self, link: Link, lane: Lane, now: float) -> None:
        """A fresh lane is up: put nothing more on those whose place it takes."""
        for number in lane.replaces:
            old = link.lanes.get(number)
            if old is None or old is lane or old.role is not lane.role or old.goodbye is not None:
                continue
            if old.step(LaneInput.REPLACED) is LaneAction.DRAIN:
                self._lanes.drain(old, now)

    def handle_pong(self, lane: Lane, frame: Pong, now: float) -> None:
        """What was put on a lane has arrived. The dialler ends it; by then what came from there is here, too."""
        if lane.link is None or lane.last_ping is None or frame.nonce != lane.last_ping.nonce:
            return
        if lane.step(LaneInput.EMPTIED) is not LaneAction.RELEASE:
            return
        self._observer.on_lane_emptied(lane.link, lane.lane_id, now)
        if lane.uplink is not None:
            self._context.counters.add(Count.HANDOVERS)
            self._lanes.refuse(lane, ErrorCode.UNSPECIFIED, "moved to a fresh lane", now)
