"""Peer links: short cuts between two cells beside the tree."""

from __future__ import annotations

import pytest

from streamcell.protocol.base.events import CellConnected, CellDisconnected, LaneWanted
from streamcell.protocol.wire.frames import Chunk, Hello, ResumeQuery, ResumeReply
from tests.core.harness import LARGE, SMALL, Net, Node
from tests.core.trees import branches, receive, routes


def with_peers(net: Net) -> tuple[dict[str, Node], int]:
    nodes = branches(net)
    number = nodes["left-leaf"].connect_peer("right-leaf")
    net.run()
    return nodes, number


def carriers(net: Net, since: int) -> set[str]:
    return {name for name, _, frame in net.carried[since:] if isinstance(frame, Chunk)}


def test_traffic_between_the_two_ends_takes_the_peer_link_and_nothing_else_does() -> None:
    net = Net()
    nodes, _ = with_peers(net)
    left, right = nodes["left-leaf"], nodes["right-leaf"]
    assert left.core.is_cell_connected("right-leaf")
    assert [link.is_peer for link in left.links] == [False, True]
    since = len(net.carried)
    ids = [left.send("right-leaf", LARGE), left.stream("right-leaf", SMALL)]
    back = right.send("left-leaf", LARGE)
    net.run()
    assert all(left.finished(stream_id) for stream_id in ids)
    assert right.finished(back)
    assert carriers(net, since) == {"left-leaf", "right-leaf"}
    since = len(net.carried)
    onward = left.send("right", LARGE)
    net.run()
    assert left.finished(onward)
    assert carriers(net, since) == {"left-leaf", "left", "root"}
    assert routes(nodes["right"]) == {"right-leaf": "right-leaf"}


def test_the_tree_carries_on_when_the_peer_link_breaks_and_it_is_taken_again_when_it_is_back() -> None:
    net = Net()
    nodes, _ = with_peers(net)
    left, right = nodes["left-leaf"], nodes["right-leaf"]
    stream_id = left.stream("right-leaf", None)
    left.supply(stream_id, LARGE)
    net.run()
    net.refuse_dials.add("right-leaf")
    for name, lane_id in [end for end in net.peers if end[0] == "left-leaf" and net.peers[end][0] == "right-leaf"]:
        net.cut(name, lane_id)
    since = len(net.carried)
    left.supply(stream_id, SMALL, end=True)
    net.advance(2.0)
    assert left.finished(stream_id)
    assert right.got(left.key(stream_id)) == LARGE + SMALL
    assert "root" in carriers(net, since)
    assert left.of(CellDisconnected) == []
    net.refuse_dials.clear()
    net.advance(10.0)
    since = len(net.carried)
    again = left.send("right-leaf", LARGE)
    net.run()
    assert left.finished(again)
    assert carriers(net, since) == {"left-leaf"}


def test_credit_that_went_through_the_tree_in_vain_is_given_again_over_the_peer_link() -> None:
    """The target goes to the tree and back, while the origin does not notice that a lane has broken."""
    net = Net()
    nodes, _ = with_peers(net)
    left, right = nodes["left-leaf"], nodes["right-leaf"]
    right.auto_read = False
    stream_id = left.stream("right-leaf", LARGE)
    net.run()
    for name, lane_id in [end for end in net.peers if end[0] == "right-leaf" and net.peers[end][0] == "left-leaf"]:
        net.cut_half(name, lane_id)
    net.run()
    right.auto_read = True
    right.read(left.key(stream_id))
    net.advance(60.0)
    assert left.finished(stream_id)
    assert right.got(left.key(stream_id)) == LARGE


def cut_between(net: Net, name: str, other: str) -> None:
    """Break every lane between two cells; none is dialled anew."""
    net.refuse_dials.add(other)
    for end in [end for end in net.peers if end[0] == name and net.peers[end][0] == other]:
        net.cut(*end)


def test_a_question_that_may_have_gone_through_the_tree_is_a_new_one_over_the_peer_link() -> None:
    """If one attempt had two ways, the target might give credit on the one of which the origin hears nothing."""
    net = Net()
    nodes, _ = with_peers(net)
    left, right = nodes["left-leaf"], nodes["right-leaf"]
    right.auto_read = False
    stream_id = left.stream("right-leaf", LARGE)
    key = left.key(stream_id)
    net.run()
    cut_between(net, "left-leaf", "right-leaf")
    # The question gets as far as the root when the lane that it went by breaks, too.
    held = {end for end in net.peers if end[0] == "root" and net.peers[end][0] == "right"}
    net.stuck.update(held)
    net.run()
    cut_between(net, "left-leaf", "left")
    net.refuse_dials.remove("right-leaf")
    net.advance(10.0)
    assert [query.attempt for query in net.sent("left-leaf", ResumeQuery)] == [2, 3]
    # It arrives when the stream has long gone on.
    net.stuck.clear()
    net.run()
    assert [query.attempt for query in net.sent("right", ResumeQuery)] == [2]
    right.auto_read = True
    right.core.callback_started(key, net.now)
    right.read(key)
    net.run()
    assert right.got(key) == LARGE
    assert left.finished(stream_id)


def test_an_answer_that_came_through_the_tree_lets_a_new_attempt_begin_over_the_peer_link() -> None:
    net = Net()
    nodes, _ = with_peers(net)
    left, right = nodes["left-leaf"], nodes["right-leaf"]
    right.auto_read = False
    stream_id = left.stream("right-leaf", SMALL)
    key = left.key(stream_id)
    net.run()
    cut_between(net, "left-leaf", "right-leaf")
    net.run_until(lambda: len(net.sent("left-leaf", ResumeQuery)) > 0)
    # It is known where to go on, and the credit of the relay is there; but no chunk has gone that way.
    net.stuck.update(end for end in net.peers if end[0] == "left-leaf")
    net.run()
    assert [reply.attempt for reply in net.sent("left", ResumeReply)] == [2]
    since = len(net.sent("left-leaf", Chunk))
    cut_between(net, "left-leaf", "left")
    net.stuck.clear()
    net.refuse_dials.remove("right-leaf")
    right.auto_read = True
    right.core.callback_started(key, net.now)
    right.read(key)
    net.advance(10.0)
    assert {chunk.attempt for chunk in net.sent("left-leaf", Chunk)[since:]} == {3}
    assert [query.attempt for query in net.sent("left-leaf", ResumeQuery)] == [2]
    assert right.got(key) == SMALL
    assert left.finished(stream_id)


def test_credit_that_was_given_to_a_way_that_is_over_is_given_again_where_the_origin_is_heard() -> None:
    """A relay that was restarted lets a late copy of a question through, which is that of the present attempt."""
    net = Net()
    nodes, _ = with_peers(net)
    left, right = nodes["left-leaf"], nodes["right-leaf"]
    right.auto_read = False
    stream_id = left.stream("right-leaf", LARGE, idle_timeout_s=40.0)
    key = left.key(stream_id)
    net.run()
    late = ResumeQuery(key, "right-leaf", attempt=1, probe=False, hops_left=16)
    receive(net, right, "right", late)
    right.auto_read = True
    right.core.callback_started(key, net.now)
    right.read(key)
    net.run()
    assert right.got(key) is None
    # The origin shows that it is alive.
    net.advance(11.0)
    assert right.got(key) == LARGE
    assert left.finished(stream_id)


def test_a_peer_link_can_be_ended() -> None:
    net = Net()
    nodes, number = with_peers(net)
    left = nodes["left-leaf"]
    left.core.remove_shortcut(number, net.now)
    net.advance(20.0)
    assert not left.core.is_cell_connected("right-leaf")
    assert [event.fqcn for event in left.of(CellDisconnected)] == ["right-leaf"]
    stream_id = left.send("right-leaf", LARGE)
    net.run()
    assert left.finished(stream_id)
    # One that never came up, too.
    other = left.connect_peer("nobody")
    left.core.remove_shortcut(other, net.now)
    sent = len(net.sent("left-leaf", Hello))
    net.advance(20.0)
    assert len(net.sent("left-leaf", Hello)) == sent


def test_cells_that_dial_each_other_keep_one_link() -> None:
    net = Net()
    nodes = branches(net)
    nodes["left-leaf"].connect_peer("right-leaf")
    nodes["right-leaf"].connect_peer("left-leaf")
    net.advance(20.0)
    for name, other in (("left-leaf", "right-leaf"), ("right-leaf", "left-leaf")):
        assert [link.fqcn for link in nodes[name].links if link.is_peer] == [other]
        stream_id = nodes[name].send(other, LARGE)
        net.run()
        assert nodes[name].finished(stream_id)


LEAVES = ("left-leaf", "right-leaf")
# Long enough for every wait between two tries, many times.
LONG_S = 200.0


def dial_each_other(net: Net, order: str) -> tuple[Node, Node, list[int]]:
    """Let two leaves dial each other; return the one whose dial is kept, the other, and the numbers of both dials."""
    nodes = branches(net)
    kept, refused = (nodes[name] for name in (reversed(LEAVES) if order == "right first" else LEAVES))
    numbers = [kept.connect_peer(refused.fqcn)]
    if order != "at once":
        net.run()
    numbers.append(refused.connect_peer(kept.fqcn))
    net.advance(1.0)
    for node in (kept, refused):
        assert node.core.is_cell_connected(kept.fqcn if node is refused else refused.fqcn)
        node.seen.clear()
    return kept, refused, numbers


def peer_dials(*nodes: Node) -> int:
    """Return how often cells have dialled peers since ``seen`` was cleared."""
    return sum(event.uplink in node.peers for node in nodes for event in node.of(LaneWanted))


ORDERS = pytest.mark.parametrize("order", ["left first", "right first", "at once"])


@ORDERS
def test_of_two_that_dial_each_other_the_refused_dial_rests(order: str) -> None:
    net = Net()
    kept, refused, _ = dial_each_other(net, order)
    net.advance(LONG_S)
    assert peer_dials(kept, refused) == 0
    for node, other in ((kept, refused), (refused, kept)):
        stream_id = node.send(other.fqcn, SMALL)
        net.run()
        assert node.finished(stream_id)
        assert node.of(CellDisconnected) == []
        assert node.refusals() == []


@ORDERS
def test_the_link_of_two_that_dial_each_other_survives_its_lanes(order: str) -> None:
    net = Net()
    kept, refused, _ = dial_each_other(net, order)
    for _ in range(5):
        net.cut_all()
        net.advance(10.0)
        assert kept.core.is_cell_connected(refused.fqcn)
    # One try for each cut, at most.
    assert peer_dials(refused) <= 5
    refused.seen.clear()
    net.advance(LONG_S)
    assert peer_dials(refused) == 0
    assert kept.of(CellDisconnected) == refused.of(CellDisconnected) == []


@ORDERS
def test_a_dial_that_rests_takes_over_when_the_other_end_wants_no_link_any_more(order: str) -> None:
    net = Net()
    kept, refused, (number, _) = dial_each_other(net, order)
    kept.core.remove_shortcut(number, net.now)
    net.advance(1.0)
    assert refused.core.is_cell_connected(kept.fqcn)
    assert peer_dials(refused) == 1
    net.advance(LONG_S)
    assert refused.core.is_cell_connected(kept.fqcn)
    assert peer_dials(kept, refused) == 1


@ORDERS
def test_a_dial_that_rests_takes_over_when_the_other_end_comes_back_without_one(order: str) -> None:
    net = Net()
    kept, refused, _ = dial_each_other(net, order)
    (parent,) = kept.dials[0]
    net.kill(kept.fqcn)
    again = net.node(kept.fqcn)
    again.connect(parent)
    net.advance(10.0)
    assert refused.core.is_cell_connected(again.fqcn)
    assert again.core.is_cell_connected(refused.fqcn)
    refused.seen.clear()
    net.advance(LONG_S)
    assert peer_dials(refused) == 0


@ORDERS
def test_a_dial_that_rests_can_be_ended(order: str) -> None:
    net = Net()
    kept, refused, (_, number) = dial_each_other(net, order)
    refused.core.remove_shortcut(number, net.now)
    net.cut_all()
    net.advance(LONG_S)
    assert kept.core.is_cell_connected(refused.fqcn)
    assert peer_dials(refused) == 0


def test_of_two_addresses_of_one_peer_the_second_is_dialled_when_the_first_is_given_up() -> None:
    net = Net()
    nodes, first = with_peers(net)
    left = nodes["left-leaf"]
    left.connect_peer("right-leaf")
    net.advance(10.0)
    left.seen.clear()
    net.advance(LONG_S)
    assert peer_dials(left) == 0
    net.cut_all()
    net.advance(10.0)
    assert peer_dials(left) == 1
    assert left.core.is_cell_connected("right-leaf")
    left.core.remove_shortcut(first, net.now)
    net.advance(1.0)
    assert left.core.is_cell_connected("right-leaf")
    assert nodes["right-leaf"].core.is_cell_connected("left-leaf")


def test_a_dial_of_the_parent_as_a_peer_rests_while_it_is_the_parent() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    leaf.connect_peer("left")
    net.advance(1.0)
    assert peer_dials(leaf) == 1
    net.advance(LONG_S)
    assert peer_dials(leaf) == 1
    # It finds another parent, and the one that it had becomes the peer.
    leaf.dials[0] = ("right",)
    net.cut_all()
    net.advance(60.0)
    assert {link.fqcn: link.is_peer for link in leaf.links} == {"right": False, "left": True}


def test_a_peer_link_to_the_parent_is_not_made() -> None:
    net = Net()
    nodes = branches(net)
    nodes["left-leaf"].connect_peer("left")
    nodes["left"].connect_peer("root")
    net.advance(10.0)
    assert [link.is_uplink for link in nodes["left-leaf"].links] == [True]
    assert nodes["left-leaf"].core.is_cell_connected("left")
    assert all(not link.is_peer for node in nodes.values() for link in node.links)


def test_a_peer_that_becomes_the_parent_is_the_parent() -> None:
    net = Net()
    nodes, _ = with_peers(net)
    right = nodes["right-leaf"]
    right.dials[0] = ("left-leaf",)
    for lane_id in net.lanes("right-leaf"):
        net.cut("right-leaf", lane_id)
    net.advance(40.0)
    assert routes(nodes["left-leaf"]) == {"right-leaf": "right-leaf"}
    assert routes(nodes["root"])["right-leaf"] == "left"
    stream_id = right.send("root", LARGE)
    net.run()
    assert right.finished(stream_id)


def test_both_ends_are_told_of_each_other() -> None:
    net = Net()
    nodes, _ = with_peers(net)
    assert [(event.fqcn, event.uplink) for event in nodes["left-leaf"].of(CellConnected)] == [
        ("left", 0),
        ("right-leaf", None),
    ]
    assert [event.fqcn for event in nodes["right-leaf"].of(CellConnected)] == ["right", "left-leaf"]


def test_what_is_not_from_the_peer_itself_is_refused_on_a_peer_link() -> None:
    net = Net()
    nodes, _ = with_peers(net)
    peer = next(net.peers[end] for end in net.peers if end[0] == "left-leaf" and net.peers[end][0] == "right-leaf")
    forged = Chunk(nodes["root"].key(1), "right-leaf", 1, "c", "t", 0, 0, True, 16, 0, b"forged")
    onward = Chunk(nodes["left-leaf"].key(9), "root", 1, "c", "t", 0, 0, True, 16, 0, b"onward")
    nodes["right-leaf"].core.receive(peer[1], [forged, onward], net.now)
    net.run()
    assert nodes["right-leaf"].core.stats().frames_refused == 2
