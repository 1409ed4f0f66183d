"""The link of a cell to itself.

It is a link like any other, with one lane that ends in the cell that it begins in: a stream to the cell's own name has
a sender and a receiver here, which know each other by frames only. So there is credit on it, and a bounded amount under
way. It is never dialled, needs no heartbeat, and ends with the cell. It is not in the table of links: the cell is not
its own neighbour, and nothing is announced or relayed over it.
"""

from __future__ import annotations

from streamcell.protocol.base.context import Context
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Link


def make_loop(context: Context, lanes: LaneTable) -> Link:
    """Return the link of a cell to itself."""
    link = Link(context.fqcn, context.incarnation, b"", LinkKind.SELF)
    lanes.loop.link = link
    link.lanes[lanes.loop.number] = lanes.loop
    return link
