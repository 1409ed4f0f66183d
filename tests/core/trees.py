"""Trees of nodes for the tests of routes and relays."""

from __future__ import annotations

from typing import Any

from streamcell.config import CellConfig
from streamcell.protocol.wire.frames import Frame
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
