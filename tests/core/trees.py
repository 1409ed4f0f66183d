"""Trees of nodes for the tests of routes and relays."""

from __future__ import annotations

from typing import Any

from streamcell.config import CellConfig
from streamcell.limits import MESSAGE_BYTES
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Announce, Frame, Hello, LaneRole
from tests.core.harness import Net, Node


def tree(net: Net, parents: dict[str, str], **config: Any) -> dict[str, Node]:
    """Make the cells ``child: parent`` (an empty parent: the root) and let them connect."""
    nodes = {name: net.node(name, CellConfig(**config)) for name in parents}
    for name, parent in parents.items():
        if parent:
            nodes[name].connect(parent)
    net.run()
    return nodes


# Two branches of two hops below a root.
BRANCHES = {"root": "", "left": "root", "right": "root", "left-leaf": "left", "right-leaf": "right"}


def branches(net: Net, **config: Any) -> dict[str, Node]:
    """Return root, left, right, left-leaf and right-leaf, connected."""
    return tree(net, BRANCHES, **config)


def routes(node: Node) -> dict[str, str]:
    """Return which neighbour leads to which cell below."""
    return {route.fqcn: route.via for route in node.core.stats().routes if route.confirmed}


def move(net: Net, fqcn: str, parent: str) -> None:
    """Let a cell lose its uplink and find another parent at the same address book entry."""
    node = net.nodes[fqcn]
    node.dials[0] = (parent,)
    for lane_id in net.lanes(fqcn):
        if net.peers[fqcn, lane_id][0] in node_parents(net, fqcn):
            net.cut(fqcn, lane_id)


def node_parents(net: Net, fqcn: str) -> list[str]:
    """Return the cells that a cell has its uplink to."""
    return [link.fqcn for link in net.nodes[fqcn].links if link.is_uplink]


def receive(net: Net, node: Node, neighbour: str, *frames: Frame) -> None:
    """Give ``node`` frames on a lane from a neighbour."""
    lane_id = next(here[1] for here, there in net.peers.items() if here[0] == node.fqcn and there[0] == neighbour)
    node.core.receive(lane_id, frames, net.now)


def hear(net: Net, node: Node, neighbour: str, *frames: Frame) -> None:
    """Give ``node`` frames on a lane from a neighbour, and let all cells go on."""
    receive(net, node, neighbour, *frames)
    net.run()


def minimal(net: Net, node: Node, fqcn: str, incarnation: int = 1) -> int:
    """Let a cell that knows nothing of announcements greet ``node``; returns the node's number for its lane."""
    hello = Hello(fqcn, incarnation, 1, 1, 1, LaneRole.CONTROL, message_bytes=MESSAGE_BYTES, lanes=1)
    lane_id = node.core.lane_accepted(CarrierInfo("test", "stranger"), net.now)
    node.core.receive(lane_id, [hello], net.now)
    net.run()
    return lane_id


def announced(net: Net, name: str, fqcn: str) -> list[int]:
    """Return the lives of a cell that another one has announced to its parent, one after the other."""
    return [frame.incarnation for frame in net.sent(name, Announce) if frame.fqcn == fqcn]
