"""Names and ways in a tree of cells: announcements, moves, claims, and the end of routes."""

from __future__ import annotations

import dataclasses

import pytest

from streamcell.errors import ErrorCode, NameInUse, StreamTargetUnreachable
from streamcell.limits import MESSAGE_BYTES
from streamcell.protocol.base.events import CellConnected
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.contest import CLAIM_S
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Announce,
    AnnounceReply,
    CellInfo,
    Frame,
    Goodbye,
    Hello,
    LaneRole,
    Query,
    QueryReply,
    Withdraw,
)
from tests.core.harness import LARGE, SMALL, Net, Node
from tests.core.trees import branches, move, routes, tree


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


# Claims.


def test_the_second_cell_of_a_name_is_refused_wherever_it_is() -> None:
    net = Net()
    nodes = branches(net)
    first = nodes["left-leaf"]
    second = net.node("left-leaf")
    net.nodes["left-leaf"] = first
    net.nodes["double"] = second
    second.fqcn = "double"
    second.connect("right")
    net.run()
    (refusal,) = second.refusals()
    assert isinstance(refusal.error, NameInUse)
    assert not refusal.firm
    assert "from-left-leaf" in str(refusal.error)
    assert second.of(CellConnected) == []
    assert routes(nodes["root"])["left-leaf"] == "left"
    # It keeps trying, and gets the name when the first has gone.
    net.advance(11.0)
    assert len(second.refusals()) == 3
    first.core.stop(net.now)
    net.advance(6.0)
    assert routes(nodes["root"])["left-leaf"] == "right"


@pytest.mark.parametrize("name", ["root", "left", "right"])
def test_a_name_of_a_cell_above_is_in_use(name: str) -> None:
    net = Net()
    nodes = branches(net)
    second = net.node(name)
    net.nodes[name] = nodes[name]
    net.nodes["double"] = second
    second.fqcn = "double"
    second.connect("right")
    net.run()
    assert isinstance(second.refusals()[0].error, NameInUse)


def test_a_name_whose_holder_does_not_answer_is_taken_over() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    first = nodes["left-leaf"]
    second = net.node("left-leaf")
    net.nodes["left-leaf"] = first
    net.nodes["double"] = second
    second.fqcn = "double"
    second.connect("right")
    net.advance(3.5)
    assert second.core.is_cell_connected("right")
    assert routes(nodes["root"])["left-leaf"] == "right"


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


# What is rare.


def minimal(net: Net, node: Node, fqcn: str, incarnation: int = 1) -> int:
    """Let a cell that knows nothing of announcements greet ``node``; returns the node's number for its lane."""
    hello = Hello(fqcn, incarnation, 1, 1, 1, LaneRole.CONTROL, message_bytes=MESSAGE_BYTES, lanes=1)
    lane_id = node.core.lane_accepted(CarrierInfo("test", "stranger"), net.now)
    node.core.receive(lane_id, [hello], net.now)
    net.run()
    return lane_id


def receive(net: Net, node: Node, neighbour: str, *frames: Frame) -> None:
    """Give ``node`` frames on a lane from a neighbour."""
    lane_id = next(here[1] for here, there in net.peers.items() if here[0] == node.fqcn and there[0] == neighbour)
    node.core.receive(lane_id, frames, net.now)
    net.run()


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


def test_the_name_of_a_cell_two_hops_above_is_in_use() -> None:
    net = Net()
    nodes = branches(net)
    minimal(net, nodes["left-leaf"], "root")
    assert not nodes["left-leaf"].core.is_cell_connected("root")
    assert nodes["root"].links[0].fqcn == "left"
    assert "root" not in routes(nodes["left"])


def test_a_cell_keeps_a_way_to_so_many_cells_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 2)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root"})
    minimal(net, nodes["root"], "c")
    assert routes(nodes["root"]) == {"a": "a", "b": "b"}
    assert not nodes["root"].core.is_cell_connected("c")


def test_of_two_newcomers_the_second_is_refused_when_the_first_has_got_the_name() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    for parent, incarnation in (("right", 11 << 30), ("root", 12 << 30)):
        minimal(net, nodes[parent], "left-leaf", incarnation)
        # It says the same again while the holder is asked.
        minimal(net, nodes[parent], "left-leaf", incarnation)
    net.advance(3.1)
    assert [route.incarnation for route in nodes["root"].core.stats().routes if route.fqcn == "left-leaf"] == [11 << 30]


def test_a_newcomer_that_goes_away_or_is_withdrawn_claims_nothing_any_more() -> None:
    for how in ("goes", "is withdrawn"):
        net = Net()
        nodes = branches(net)
        net.mute.add("left-leaf")
        lane_id = minimal(net, nodes["right"], "left-leaf", 11 << 30)
        if how == "goes":
            net.kill("right")
            net.advance(40.0)
        else:
            receive(net, nodes["root"], "right", Withdraw("left-leaf", 99, 0))
            nodes["right"].core.receive(lane_id, [Goodbye(ErrorCode.STOPPING, "")], net.now)
            net.advance(4.0)
        assert routes(nodes["root"]).get("left-leaf") != "right"


def test_an_answer_of_the_newcomer_itself_or_of_somebody_else_does_not_keep_its_name_from_it() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    minimal(net, nodes["right"], "left-leaf", 11 << 30)
    (query,) = net.sent("root", Query)
    own = QueryReply(query.query_id, "root", "left-leaf", (CellInfo("left-leaf", 11 << 30),), 16)
    other = QueryReply(query.query_id, "root", "left", (CellInfo("left", 1),), 16)
    receive(net, nodes["root"], "left", own, other)
    net.advance(3.1)
    assert routes(nodes["root"])["left-leaf"] == "right"


def test_announcements_and_withdrawals_that_overtake_each_other_end_in_agreement() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    root, left = nodes["root"], nodes["left"]
    # An old Withdraw arrives late, and so does the answer to it.
    receive(net, root, "left", Withdraw("left-leaf", leaf.incarnation, 1))
    assert "left-leaf" in routes(root)
    receive(net, root, "left", Withdraw("left-leaf", leaf.incarnation, 0))
    assert "left-leaf" in routes(root)
    # An old Announce arrives after the cell has gone.
    leaf.core.stop(net.now)
    net.run()
    receive(net, root, "left", Announce("left-leaf", leaf.incarnation, 1, ("left-leaf", "left")))
    assert "left-leaf" not in routes(root)
    # Of a lower epoch than is known, and an answer of somebody who is not asked.
    receive(net, root, "left", Announce("left", left.incarnation, 0, ("left",)))
    receive(net, root, "left", AnnounceReply("left", left.incarnation, 1))
    assert routes(root)["left"] == "left"


def announced(net: Net, name: str, fqcn: str) -> list[int]:
    """Return the lives of a cell that another one has announced to its parent, one after the other."""
    return [frame.incarnation for frame in net.sent(name, Announce) if frame.fqcn == fqcn]


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
    receive(net, nodes["root"], "left", *late)
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
    receive(net, nodes["root"], "left", Announce("left-leaf", early, 1, ("left-leaf", "left")))
    net.run()
    assert "left-leaf" not in routes(nodes["root"])
    assert Withdraw("left-leaf", early, 1) in net.sent("left", Withdraw)
    said = len(net.sent("left", Withdraw))
    receive(net, left, "root", AnnounceReply("left-leaf", early, 1, withdrawn=True))
    receive(net, left, "root", AnnounceReply("left-leaf", early, 1, ErrorCode.STALE, "it has moved"))
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


def test_two_cells_of_one_name_cost_an_announcement_for_each_time_that_the_second_comes_again() -> None:
    net = Net()
    nodes = branches(net)
    first = nodes["left-leaf"]
    second = net.node("left-leaf")
    net.nodes["left-leaf"] = first
    net.nodes["double"] = second
    second.fqcn = "double"
    second.connect("right")
    net.advance(1.0)
    for early in range(1, 4):
        late = Announce("left-leaf", early, 1, ("left-leaf", "left"))
        receive(net, nodes["root"], "left", late)
        receive(net, nodes["root"], "right", dataclasses.replace(late, path=("left-leaf", "right")))
        net.advance(1.0)
    before = len(announced(net, "left", "left-leaf"))
    net.advance(60.0)
    assert announced(net, "left", "left-leaf")[before:] == []
    assert set(announced(net, "right", "left-leaf")) == {second.incarnation}
    assert len(announced(net, "right", "left-leaf")) <= 1 + 64 / 5
    assert routes(nodes["root"])["left-leaf"] == "left"


def test_a_cell_that_is_refused_by_its_parent_in_the_other_way_leaves_it_and_comes_again() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    receive(net, leaf, "left", AnnounceReply("left-leaf", leaf.incarnation, 1, ErrorCode.NAME_IN_USE, "no"))
    assert isinstance(leaf.refusals()[0].error, NameInUse)
    assert not leaf.core.is_cell_connected("left")
    net.advance(5.5)
    assert leaf.core.is_cell_connected("left")
    assert routes(nodes["root"])["left-leaf"] == "left"


def test_many_cells_are_announced_in_several_batches() -> None:
    net = Net()
    nodes = branches(net)
    names = [f"small-{number}" for number in range(600)]
    for name in names:
        minimal(net, nodes["left"], name)
    net.restart("root")
    net.advance(6.0)
    assert set(names) < set(routes(net.nodes["root"]))


def test_names_that_wait_for_a_parent_that_goes_are_accepted_without_it() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root"})
    net.hold.update(end for end in net.peers if end[0] == "root")
    leaf = net.node("leaf")
    leaf.connect("relay")
    net.run()
    assert not leaf.core.is_cell_connected("relay")
    receive(net, nodes["relay"], "root", Goodbye(ErrorCode.STOPPING, ""))
    assert leaf.core.is_cell_connected("relay")


def test_of_equal_epochs_the_path_decides() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root", "middle": "a", "leaf": "middle"})
    leaf = nodes["leaf"]
    receive(net, nodes["root"], "b", Announce("leaf", leaf.incarnation, 1, ("leaf", "middle", "b")))
    assert routes(nodes["root"])["leaf"] == "a"


def test_a_claim_is_decided_when_the_holder_is_withdrawn_or_the_newcomer_is() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    root, first = nodes["root"], nodes["left-leaf"]
    minimal(net, nodes["right"], "left-leaf", 11 << 30)
    receive(net, root, "left", Withdraw("left", 1, 99))
    receive(net, root, "right", Withdraw("left-leaf", 11 << 30, 0))
    receive(net, root, "right", Announce("left-leaf", 11 << 30, 0, ("left-leaf", "right")))
    receive(net, root, "left", Withdraw("left-leaf", first.incarnation, 1))
    net.advance(0.0)
    assert routes(root)["left-leaf"] == "right"


def test_a_claim_is_made_anew_when_the_name_has_got_another_holder_meanwhile() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    root = nodes["root"]
    minimal(net, nodes["right"], "left-leaf", 11 << 30)
    lanes = {there[0]: here[1] for here, there in net.peers.items() if here[0] == "root"}
    root.core.receive(lanes["left"], [Announce("left-leaf", 5, 1, ("left-leaf", "left"))], net.now)
    root.core.receive(lanes["right"], [Announce("left-leaf", 12 << 30, 0, ("left-leaf", "right"))], net.now)
    assert [route.incarnation for route in root.core.stats().routes if route.fqcn == "left-leaf"] == [5]
    net.run()
    assert len([query for query in net.sent("root", Query) if query.subject == "left-leaf"]) >= 2


def test_claims_over_a_link_that_goes_are_dropped() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    minimal(net, nodes["right"], "left-leaf", 11 << 30)
    nodes["right"].core.stop(net.now)
    net.advance(4.0)
    assert routes(nodes["root"])["left-leaf"] == "left"


# Room.


def many(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """So many cells behind one neighbour have room."""
    for module in ("announcements", "announcer"):
        monkeypatch.setattr(f"streamcell.protocol.tree.{module}.ROUTES_OF_NEIGHBOUR", most)


def test_names_beyond_the_room_of_the_parent_wait_and_are_told_when_others_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many(monkeypatch, 3)
    net = Net()
    leaves = [f"leaf-{number}" for number in range(5)]
    nodes = tree(net, {"root": "", "relay": "root"} | dict.fromkeys(leaves, "relay"))
    assert set(routes(nodes["root"])) == {"relay", "leaf-0", "leaf-1"}
    # Nobody was refused: those that wait are there for all below the root.
    assert set(routes(nodes["relay"])) == set(leaves)
    assert all(nodes[leaf].core.is_cell_connected("relay") for leaf in leaves)
    nodes["leaf-3"].core.stop(net.now)
    net.run()
    nodes["leaf-0"].core.stop(net.now)
    net.run()
    assert set(routes(nodes["root"])) == {"relay", "leaf-1", "leaf-2"}
    # A new parent is told of as many.
    net.restart("root")
    net.advance(5.0)
    assert set(routes(net.nodes["root"])) == {"relay", "leaf-1", "leaf-2"}


def test_a_parent_without_room_lets_names_wait_and_they_are_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 4)
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root", "other": "root", "a": "relay", "b": "relay", "c": "relay"})
    assert set(routes(nodes["root"])) == {"relay", "other", "a", "b"}
    assert nodes["c"].core.is_cell_connected("relay")
    assert [(reply.fqcn, reply.code) for reply in net.sent("root", AnnounceReply) if reply.wait] == [
        ("c", ErrorCode.LIMIT)
    ]
    net.advance(31.0)
    assert len([reply for reply in net.sent("root", AnnounceReply) if reply.wait]) == 2
    nodes["other"].core.stop(net.now)
    net.advance(31.0)
    assert set(routes(nodes["root"])) == {"relay", "a", "b", "c"}
    nodes["c"].core.stop(net.now)
    net.run()
    assert set(routes(nodes["root"])) == {"relay", "a", "b"}


def test_names_wait_here_whose_place_the_parent_had_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    many(monkeypatch, 3)
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 2)
    net = Net()
    leaves = [f"leaf-{number}" for number in range(4)]
    nodes = tree(net, {"root": "", "relay": "root"} | dict.fromkeys(leaves, "relay"))
    net.advance(31.0)
    assert set(routes(nodes["root"])) == {"relay", "leaf-0"}
    # Now the parent has room, and this cell may announce one more.
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 5)
    net.advance(61.0)
    first, *waiting = sorted(set(leaves) - {"leaf-0"}, key=lambda leaf: leaf not in routes(nodes["root"]))
    assert set(routes(nodes["root"])) == {"relay", "leaf-0", first}
    nodes[first].core.stop(net.now)
    net.advance(31.0)
    assert len(set(routes(nodes["root"])) & set(waiting)) == 1


def test_who_announces_more_than_there_is_room_for_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES_OF_NEIGHBOUR", 3)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root"})
    made_up = [Announce(f"x-{number}", 1, 1, (f"x-{number}", "a")) for number in range(10)]
    net.hold = {end for end in net.peers if end[0] == "a"}
    receive(net, nodes["root"], "a", *made_up, *made_up)
    assert set(routes(nodes["root"])) == {"a", "b", "x-0", "x-1"}


def test_announcements_beyond_what_is_looked_at_wait_the_last_word_of_each_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_AT_ONCE", 10)
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_PER_S", 20)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root"})
    net.advance(10.0)
    net.refuse_dials.add("root")
    made_up = [Announce(f"x-{number}", 1, 1, (f"x-{number}", "a")) for number in range(30)]
    receive(net, nodes["root"], "a", *made_up)
    assert len(routes(nodes["root"])) == 11
    # Ten wait, of one of them another word has come; and of the rest not even that is remembered.
    receive(net, nodes["root"], "a", Withdraw("x-12", 1, 1))
    assert len(routes(nodes["root"])) == 11
    net.hold = set(net.peers)
    net.advance(2.0)
    assert set(routes(nodes["root"])) == {"a"} | {f"x-{number}" for number in range(20) if number != 12}
    refused = [frame.fqcn for frame in net.sent("root", AnnounceReply) if frame.wait]
    assert refused == [f"x-{number}" for number in range(20, 30)]


@pytest.mark.parametrize("way", ["ends", "begins anew"])
def test_what_waits_is_forgotten_when_a_link(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_AT_ONCE", 2)
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_PER_S", 10)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root"})
    net.advance(1.0)
    made_up = [Announce(f"x-{number}", 1, 1, (f"x-{number}", "a")) for number in range(4)]
    receive(net, nodes["root"], "a", *made_up)
    if way == "ends":
        nodes["a"].core.stop(net.now)
        net.advance(2.0)
        assert routes(nodes["root"]) == {}
    else:
        net.restart("a")
        net.advance(5.0)
        assert routes(nodes["root"]) == {"a": "a"}
