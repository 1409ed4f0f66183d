"""The link of a cell to itself.

It is a link like any other, with one lane that ends in the cell that it begins in: a stream to the cell's own name has
a sender and a receiver here, which know each other by frames only. So there is credit on it, and a bounded amount under
way. It is never dialled, needs no heartbeat, and ends with the cell. It is not in the table of links: the cell is not
its own neighbour, and nothing is announced or relayed over it.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.protocol.base.context import Context
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane, LaneKeeper
from streamcell.protocol.links.link import Link, LinkKeeper, LinkObserver
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.wire.frames import LaneRole

# The id of the lane that leads from a cell to itself. The others are numbered from 1.
LOOP_LANE = 0


class _Loop(Lane):
    """The lane from a cell to itself: whoever could hear a sign of life on it has sent it."""

    __slots__ = ()

    def handle_timer(self, now: float) -> None:
        """Nothing is due: no answer is waited for."""


class LoopKeeper(LaneKeeper, LinkKeeper, Protocol):
    """Who has the tables."""


def make_loop(context: Context, keeper: LoopKeeper, observer: LinkObserver) -> tuple[Link, Lane]:
    """Return the link of a cell to itself, and its lane."""
    link = Link(context, keeper, observer, LinkKind.SELF, context.fqcn, context.incarnation, b"")
    lane = _Loop(context, keeper, LOOP_LANE, LaneState.READY, role=LaneRole.CONTROL, link=link)
    link.lanes[lane.number] = lane
    return link, lane
