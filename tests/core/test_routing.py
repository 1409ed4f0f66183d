"""Ways in a tree of cells: who is known where, moves, and the end of routes."""

from __future__ import annotations

import dataclasses

import pytest

from streamcell.errors import ErrorCode, NameInUse, StreamTargetUnreachable
from streamcell.protocol.base.events import CellConnected
from streamcell.protocol.links.contest import CLAIM_S
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Announce, AnnounceReply, Goodbye, Hello
from tests.core.harness import LARGE, SMALL, Net
from tests.core.trees import branches, hear, minimal, move, routes, tree


def test_every_cell_is_known_above_it_and_by_the_way_that_leads_to_it() -> None:
    net = Net()
    nodes = branches(net)
    assert routes(nodes["root"]) == {"left": "left", "right": "right", "left-leaf": "left", "right-leaf": "right"}
    assert routes(nodes["left"]) == {"left-leaf": "left-leaf"}
    assert routes(nodes["left-leaf"]) == {}


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize(
    ("origin", "target"),
    [("left-leaf", "root"), ("root", "left-leaf"), ("left-leaf", "right-leaf"), ("left-leaf", "right")],
)
def test_any_cell_reaches_any_other(origin: str, target: str, data: bytes, kind: StreamKind) -> None:
    net = Net()
    nodes = branches(net)
    sender, receiver = nodes[origin], nodes[target]
    assert sender.core.is_cell_reachable(target)
    stream_id = sender.send(target, data, kind=kind, piece=50_000)
    net.run()
    assert sender.finished(stream_id)
    assert receiver.got(sender.key(stream_id)) == data
    assert all(node.core.stats().relays == () for node in nodes.values())


def test_requests_are_answered_across_the_tree() -> None:
    net = Net()
    nodes = branches(net)
    nodes["right-leaf"].answer = lambda request: request[::-1]
    request = nodes["left-leaf"].request("right-leaf", LARGE)
    net.run()
    assert nodes["left-leaf"].replies(request) == [LARGE[::-1]]


def test_a_cell_is_connected_when_the_root_knows_it() -> None:
    net = Net()
    tree(net, {"root": "", "relay": "root"})
    net.hold.update(end for end in net.peers if end[0] == "root")
    leaf = net.node("leaf")
    leaf.connect("relay")
    net.run()
    assert leaf.of(CellConnected) == []
    assert not leaf.core.is_cell_reachable("root")
    assert not net.nodes["relay"].core.is_cell_reachable("leaf") or routes(net.nodes["relay"]) == {}
    net.hold.clear()
    net.run()
    assert [event.fqcn for event in leaf.of(CellConnected)] == ["relay"]
    assert routes(net.nodes["root"]) == {"relay": "relay", "leaf": "relay"}


def test_a_relay_that_gets_no_answer_decides_alone() -> None:
    net = Net()
    tree(net, {"root": "", "relay": "root"})
    net.hold.update(end for end in net.peers if end[0] == "root")
    leaf = net.node("leaf")
    leaf.connect("relay")
    net.advance(5.1)
    assert leaf.core.is_cell_connected("relay")


def test_a_relay_without_an_uplink_decides_alone() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root", "leaf": "relay"})
    net.refuse_dials.add("root")
    net.cut_all()
    net.advance(40.0)
    assert not nodes["relay"].core.is_cell_reachable("root")
    other = net.node("other")
    other.connect("relay")
    net.run()
    stream_id = other.send("leaf", SMALL)
    net.run()
    assert other.finished(stream_id)


def test_an_unknown_target_is_unreachable_at_once_where_that_is_optional_and_after_its_time_where_not() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    optional = [leaf.send("nobody", SMALL, optional=True, kind=kind) for kind in (StreamKind.BLOB, StreamKind.STREAM)]
    waiting = leaf.send("nobody", SMALL, unreachable_timeout_s=20.0)
    net.run()
    for stream_id in optional:
        assert isinstance(leaf.error(stream_id), StreamTargetUnreachable)
        assert "root" in str(leaf.error(stream_id))
    assert leaf.outcomes(waiting) == []
    net.advance(21.0)
    assert isinstance(leaf.error(waiting), StreamTargetUnreachable)


def test_a_target_that_comes_later_gets_what_waits_for_it() -> None:
    net = Net()
    nodes = branches(net)
    ids = [nodes["left-leaf"].send("late", SMALL), nodes["left-leaf"].stream("late", LARGE)]
    from_root = nodes["root"].send("late", SMALL)
    net.advance(7.0)
    late = net.node("late")
    late.connect("right")
    net.advance(6.0)
    assert all(nodes["left-leaf"].finished(stream_id) for stream_id in ids)
    assert nodes["root"].finished(from_root)


# Moves.


def test_a_cell_that_moves_is_found_at_its_new_parent_at_once() -> None:
    net = Net()
    nodes = branches(net)
    move(net, "left-leaf", "right")
    net.advance(1.0)
    assert routes(nodes["root"])["left-leaf"] == "right"
    assert routes(nodes["right"]) == {"right-leaf": "right-leaf", "left-leaf": "left-leaf"}
    # The old parent was told, though its link is not down yet.
    assert "left-leaf" not in routes(nodes["left"])
    stream_id = nodes["left"].send("left-leaf", LARGE)
    net.run()
    assert nodes["left"].finished(stream_id)


def test_a_relay_that_moves_takes_along_what_is_behind_it() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root", "middle": "a", "leaf": "middle"})
    assert routes(nodes["root"])["leaf"] == "a"
    stream_id = nodes["leaf"].stream("root", None)
    nodes["leaf"].supply(stream_id, LARGE)
    net.run()
    move(net, "middle", "b")
    nodes["leaf"].supply(stream_id, SMALL, end=True)
    net.advance(5.0)
    assert routes(nodes["root"]) == {"a": "a", "b": "b", "middle": "b", "leaf": "b"}
    assert nodes["leaf"].finished(stream_id)
    assert nodes["root"].got(nodes["leaf"].key(stream_id)) == LARGE + SMALL


def test_the_old_parent_cannot_take_a_moved_cell_back() -> None:
    """It has not noticed yet, and announces anew what it knows, because its own uplink has changed."""
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root", "middle": "a", "leaf": "middle"})
    nodes["middle"].dials[0] = ("b",)
    # Its lanes break for itself only.
    for lane_id in net.lanes("middle"):
        if net.peers["middle", lane_id][0] == "a":
            net.cut_half("middle", lane_id)
    net.refuse_dials.add("b")
    net.run()
    assert routes(nodes["a"]) == {"middle": "middle", "leaf": "middle"}
    net.refuse_dials.clear()
    # The news does not get to the old parent.
    net.hold.update(end for end in net.peers if end[0] == "a")
    # Nobody there answers whether the cell that has moved is still behind it.
    net.advance(CLAIM_S + 1.0)
    assert routes(nodes["root"])["leaf"] == "b"
    net.hold.clear()
    net.restart("root")
    net.advance(6.0)
    assert routes(net.nodes["root"]) == {"a": "a", "b": "b", "middle": "b", "leaf": "b"}
    net.advance(40.0)
    assert routes(net.nodes["root"]) == {"a": "a", "b": "b", "middle": "b", "leaf": "b"}


def test_a_leaf_that_goes_is_withdrawn_everywhere() -> None:
    net = Net()
    nodes = branches(net)
    nodes["left-leaf"].core.stop(net.now)
    net.run()
    assert routes(nodes["root"]) == {"left": "left", "right": "right", "right-leaf": "right"}
    assert routes(nodes["left"]) == {}


def test_a_leaf_that_is_away_briefly_keeps_its_route_and_one_that_stays_away_loses_it() -> None:
    net = Net()
    nodes = branches(net)
    net.kill("left-leaf")
    net.advance(20.0)
    assert "left-leaf" in routes(nodes["root"])
    net.advance(15.0)
    assert "left-leaf" not in routes(nodes["root"])


def test_a_restarted_relay_and_a_restarted_root_are_told_everything_anew() -> None:
    for name in ("root", "left", "left-leaf"):
        net = Net()
        branches(net)
        net.restart(name)
        net.advance(6.0)
        assert routes(net.nodes["root"]) == {
            "left": "left",
            "right": "right",
            "left-leaf": "left",
            "right-leaf": "right",
        }
        origin = net.nodes["right-leaf"]
        stream_id = origin.send("left-leaf", LARGE)
        net.advance(3.0)
        assert origin.finished(stream_id), name


def test_a_ring_of_cells_comes_apart() -> None:
    net = Net()
    nodes = {name: net.node(name) for name in "abc"}
    for name, parent in zip("abc", "bca", strict=True):
        nodes[name].connect(parent)
    net.advance(1.0)
    errors = [refusal.error for node in nodes.values() for refusal in node.refusals()]
    assert errors
    assert all(isinstance(error, NameInUse) and "below" in str(error) for error in errors)
    stream_id = nodes["a"].send("nobody", SMALL, optional=True)
    net.run()
    assert nodes["a"].error(stream_id).code is ErrorCode.UNREACHABLE


def test_an_announcement_that_leads_nowhere_is_refused() -> None:
    net = Net()
    nodes = branches(net)
    for path in ((), ("x",), ("y", "left"), ("x", "root", "left")):
        nodes["root"].core.receive(1, [Announce("x", 1, 1, path)], net.now)
    nodes["root"].core.receive(1, [Announce("x", 1, 1, ("x", *("y",) * 16, "left"))], net.now)
    net.run()
    assert "x" not in routes(nodes["root"])


def test_a_cell_that_knows_nothing_of_announcements_is_announced_by_its_parent() -> None:
    net = Net()
    nodes = branches(net)
    minimal(net, nodes["left"], "small")
    assert routes(nodes["root"])["small"] == "left"
    assert [event.fqcn for event in nodes["left"].of(CellConnected)][-1] == "small"


def test_a_parent_that_knows_nothing_of_announcements_is_the_way_all_the_same() -> None:
    net = Net()
    net.tamper = lambda name, frame: dataclasses.replace(frame, capabilities=()) if isinstance(frame, Hello) else frame
    nodes = tree(net, {"root": "", "leaf": "root"})
    assert nodes["leaf"].core.is_cell_connected("root")
    assert net.sent("leaf", Announce) == []
    stream_id = nodes["leaf"].send("root", SMALL)
    net.run()
    assert nodes["leaf"].finished(stream_id)


def test_a_cell_that_is_refused_by_its_parent_in_the_other_way_leaves_it_and_comes_again() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    hear(net, leaf, "left", AnnounceReply("left-leaf", leaf.incarnation, 1, ErrorCode.NAME_IN_USE, "no"))
    assert isinstance(leaf.refusals()[0].error, NameInUse)
    assert not leaf.core.is_cell_connected("left")
    net.advance(5.5)
    assert leaf.core.is_cell_connected("left")
    assert routes(nodes["root"])["left-leaf"] == "left"


def test_names_that_wait_for_a_parent_that_goes_are_accepted_without_it() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root"})
    net.hold.update(end for end in net.peers if end[0] == "root")
    leaf = net.node("leaf")
    leaf.connect("relay")
    net.run()
    assert not leaf.core.is_cell_connected("relay")
    hear(net, nodes["relay"], "root", Goodbye(ErrorCode.STOPPING, ""))
    assert leaf.core.is_cell_connected("relay")
