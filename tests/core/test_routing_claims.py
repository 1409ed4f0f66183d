"""Names in a tree of cells: who claims one that is held, and who gets it."""

from __future__ import annotations

import dataclasses

import pytest

from streamcell.errors import ErrorCode, NameInUse
from streamcell.protocol.base.events import CellConnected
from streamcell.protocol.wire.frames import Announce, CellInfo, Goodbye, Query, QueryReply, Withdraw
from tests.core.harness import Net
from tests.core.trees import announced, branches, hear, minimal, routes


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


def test_the_name_of_a_cell_two_hops_above_is_in_use() -> None:
    net = Net()
    nodes = branches(net)
    minimal(net, nodes["left-leaf"], "root")
    assert not nodes["left-leaf"].core.is_cell_connected("root")
    assert nodes["root"].links[0].fqcn == "left"
    assert "root" not in routes(nodes["left"])


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
            hear(net, nodes["root"], "right", Withdraw("left-leaf", 99, 0))
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
    hear(net, nodes["root"], "left", own, other)
    net.advance(3.1)
    assert routes(nodes["root"])["left-leaf"] == "right"


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
        hear(net, nodes["root"], "left", late)
        hear(net, nodes["root"], "right", dataclasses.replace(late, path=("left-leaf", "right")))
        net.advance(1.0)
    before = len(announced(net, "left", "left-leaf"))
    net.advance(60.0)
    assert announced(net, "left", "left-leaf")[before:] == []
    assert set(announced(net, "right", "left-leaf")) == {second.incarnation}
    assert len(announced(net, "right", "left-leaf")) <= 1 + 64 / 5
    assert routes(nodes["root"])["left-leaf"] == "left"


def test_a_claim_is_decided_when_the_holder_is_withdrawn_or_the_newcomer_is() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    root, first = nodes["root"], nodes["left-leaf"]
    minimal(net, nodes["right"], "left-leaf", 11 << 30)
    hear(net, root, "left", Withdraw("left", 1, 99))
    hear(net, root, "right", Withdraw("left-leaf", 11 << 30, 0))
    hear(net, root, "right", Announce("left-leaf", 11 << 30, 0, ("left-leaf", "right")))
    hear(net, root, "left", Withdraw("left-leaf", first.incarnation, 1))
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
