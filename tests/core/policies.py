"""Cells with a policy, and what they are told and tell."""

from __future__ import annotations

from streamcell.errors import CellError
from streamcell.protocol.base.events import AccessRefused
from streamcell.protocol.links.carrier import CarrierInfo
from tests.core.harness import Net, Node

# Everybody may be a neighbour, and announce and ask what it likes.
ALL = 'version = 1\n[[link]]\ncells = ["*", "**"]\nannounce = ["**"]\nrelay = ["**"]\nquery = "all"\n'
EVERYTHING = ALL + '[[allow]]\nfrom = ["**"]\nto = ["**"]\n'


def allowing(origin: str, target: str, **more: str) -> str:
    """A policy that lets one cell send another something, and nobody anything else."""
    conditions = {"from": origin, "to": target, **more}
    return ALL + "[[allow]]\n" + "".join(f"{name} = ['{value}']\n" for name, value in conditions.items())


def shows(net: Net, fqcn: str, identity: str = "", address: str = "10.0.0.1:4000", fingerprint: str = "") -> None:
    """Let a cell have proved something when it dials."""
    net.carriers[fqcn] = CarrierInfo("test", address, identity, fingerprint=fingerprint)


def hub_and(net: Net, policy: str, *sites: str) -> list[Node]:
    """Return a hub with a policy, and cells that dial it under names which they have proved, if not said otherwise."""
    hub = net.node("hub", policy=policy)
    nodes = [net.node(site) for site in sites]
    for node in nodes:
        if node.fqcn not in net.carriers:
            shows(net, node.fqcn, node.fqcn)
        node.connect("hub")
    net.run()
    return [hub, *nodes]


def refusal(node: Node) -> CellError:
    """Why a cell was refused by the one that it dials."""
    return node.refusals()[-1].error


def told(node: Node) -> list[str]:
    """What a cell tells its log about what it has refused."""
    sentences = [event.sentence for event in node.of(AccessRefused)]
    assert node.core.stats().accesses_refused == len(sentences)
    return sentences
