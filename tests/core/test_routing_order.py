"""News of routes that is late or comes in another order: lives, epochs, and what a restart costs."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode
from streamcell.protocol.wire.frames import Announce, AnnounceReply, Frame, Withdraw
from tests.core.harness import SMALL, Net
from tests.core.trees import announced, branches, hear, routes, tree


def test_announcements_and_withdrawals_that_overtake_each_other_end_in_agreement() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    root, left = nodes["root"], nodes["left"]
    # An old Withdraw arrives late, and so does the answer to it.
    hear(net, root, "left", Withdraw("left-leaf", leaf.incarnation, 1))
    assert "left-leaf" in routes(root)
    hear(net, root, "left", Withdraw("left-leaf", leaf.incarnation, 0))
    assert "left-leaf" in routes(root)
    # An old Announce arrives after the cell has gone.
    leaf.core.stop(net.now)
    net.run()
    hear(net, root, "left", Announce("left-leaf", leaf.incarnation, 1, ("left-leaf", "left")))
    assert "left-leaf" not in routes(root)
    # Of a lower epoch than is known, and an answer of somebody who is not asked.
    hear(net, root, "left", Announce("left", left.incarnation, 0, ("left",)))
    hear(net, root, "left", AnnounceReply("left", left.incarnation, 1))
    assert routes(root)["left"] == "left"


DEEP = {"top": "", "root": "top", "left": "root", "left-leaf": "left"}


@pytest.mark.parametrize("withdrawn", [True, False])
@pytest.mark.parametrize("announced_again", [True, False])
@pytest.mark.parametrize("accepted", [True, False])
def test_what_was_said_of_an_earlier_life_and_comes_last_does_not_count(
    withdrawn: bool, announced_again: bool, accepted: bool
) -> None:
    """On a lane so slow that the present life has been announced by another one meanwhile."""
    net = Net()
    nodes = tree(net, DEEP)
    old = nodes["left-leaf"].incarnation
    if not accepted:
        net.tamper = lambda name, frame: None if name == "top" and isinstance(frame, AnnounceReply) else frame
    leaf = net.restart("left-leaf")
    net.run()
    before = announced(net, "left", "left-leaf")
    late: list[Frame] = []
    if announced_again:
        late.append(Announce("left-leaf", old, 1, ("left-leaf", "left")))
    if withdrawn:
        late.append(Withdraw("left-leaf", old, 1))
    hear(net, nodes["root"], "left", *late)
    net.run()
    net.tamper = None
    net.advance(6.0)
    for name, way in (("top", "root"), ("root", "left"), ("left", "left-leaf")):
        assert routes(nodes[name])["left-leaf"] == way
    known = {route.fqcn: route.incarnation for route in nodes["top"].core.stats().routes}
    assert known["left-leaf"] == leaf.incarnation
    stream_id = nodes["top"].send("left-leaf", SMALL)
    net.run()
    assert nodes["top"].finished(stream_id)
    # Each answer about the earlier life has it said once more, and that is all.
    again = announced(net, "left", "left-leaf")[len(before) :]
    assert len(again) <= len(late)
    assert set(again) <= {leaf.incarnation}


def test_what_was_said_of_an_earlier_life_of_a_cell_that_goes_is_taken_back() -> None:
    net = Net()
    nodes = branches(net)
    leaf, left = nodes["left-leaf"], nodes["left"]
    # That the cell has gone is not confirmed yet.
    net.tamper = lambda name, frame: None if isinstance(frame, AnnounceReply) and frame.withdrawn else frame
    leaf.core.stop(net.now)
    net.run()
    assert "left-leaf" not in routes(nodes["root"])
    early = leaf.incarnation - 1
    hear(net, nodes["root"], "left", Announce("left-leaf", early, 1, ("left-leaf", "left")))
    net.run()
    assert "left-leaf" not in routes(nodes["root"])
    assert Withdraw("left-leaf", early, 1) in net.sent("left", Withdraw)
    said = len(net.sent("left", Withdraw))
    hear(net, left, "root", AnnounceReply("left-leaf", early, 1, withdrawn=True))
    hear(net, left, "root", AnnounceReply("left-leaf", early, 1, ErrorCode.STALE, "it has moved"))
    net.run()
    assert len(net.sent("left", Withdraw)) == said


def test_a_restart_costs_two_announcements_for_each_hop_above_at_most() -> None:
    net = Net()
    tree(net, DEEP)
    before = len(announced(net, "root", "left-leaf"))
    for _ in range(5):
        net.restart("left-leaf")
        net.advance(1.0)
    assert len(announced(net, "left", "left-leaf")) <= 1 + 2 * 5
    assert len(announced(net, "root", "left-leaf")) - before <= 3 * 5


def test_of_equal_epochs_the_path_decides() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root", "middle": "a", "leaf": "middle"})
    leaf = nodes["leaf"]
    hear(net, nodes["root"], "b", Announce("leaf", leaf.incarnation, 1, ("leaf", "middle", "b")))
    assert routes(nodes["root"])["leaf"] == "a"
