"""The name of a cell that lives cannot be taken by who knows it, and an honest cell that has moved has it at once."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode
from streamcell.limits import ANSWERS, CONTESTED_QUESTIONS
from streamcell.protocol.base.events import CellDisconnected
from streamcell.protocol.links.contest import CLAIM_S
from streamcell.protocol.links.greeting import ROUTES_CAPABILITY
from streamcell.protocol.wire.frames import (
    Announce,
    AnnounceReply,
    CellInfo,
    Frame,
    Goodbye,
    Hello,
    HolderAnswer,
    Query,
    QueryReply,
    Withdraw,
)
from tests.core.by_hand import greet, hello
from tests.core.harness import LARGE, SMALL, Net, Node
from tests.core.trees import branches, move, receive, routes, tree


class Liar:
    """A neighbour that was let in under a name of its own, and is played by hand."""

    def __init__(self, net: Net, node: Node, fqcn: str = "liar") -> None:
        self.net, self.node = net, node
        greeting = hello(fqcn, incarnation=99, capabilities=(ROUTES_CAPABILITY,))
        self.lane_id, _ = greet(net, node, greeting, Announce(fqcn, 99, 1, (fqcn,)))
        net.run()
        self.hear()

    def say(self, *frames: Frame) -> list[Frame]:
        self.node.core.receive(self.lane_id, frames, self.net.now)
        self.net.run()
        return self.hear()

    def hear(self) -> list[Frame]:
        heard: list[Frame] = []
        while batch := self.node.core.frames_to_send(self.lane_id, self.net.now):
            heard += batch
        return heard


def claim_ends(net: Net, node: Node, *frames: Frame, seconds: float = 0.0) -> list[Frame]:
    """Dial a node by hand, and return what it says in the end."""
    lane_id, said = greet(net, node, *frames)
    net.run()
    net.advance(seconds)
    while batch := node.core.frames_to_send(lane_id, net.now):
        said += batch
    # What goes with a Goodbye was flushed when the lane was dropped.
    said += [frame for _, each, frame in net.carried if each == lane_id and isinstance(frame, Goodbye)]
    return said


def refused(said: list[Frame]) -> bool:
    return any(isinstance(frame, Goodbye) and frame.code is ErrorCode.NAME_IN_USE for frame in said)


def untouched(net: Net, origin: Node, target: Node, stream_id: int) -> None:
    """The stream that was under way goes on as if nothing had been."""
    origin.supply(stream_id, SMALL, end=True)
    net.advance(5.0)
    assert target.got(origin.key(stream_id)) == LARGE + SMALL
    assert origin.core.stats().resumes == target.core.stats().resumes == 0


# By a Hello.


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_hello_with_the_life_of_a_neighbour_asks_that_one(epoch: int) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, LARGE)
    net.run()
    claim = hello("client", incarnation=client.incarnation, lane_number=9 + epoch, claim_id=epoch)
    assert refused(claim_ends(net, server, claim))
    assert client.of(CellDisconnected) == []
    untouched(net, client, server, stream_id)


def test_a_hello_in_the_name_of_a_holder_that_stands_still_gets_it_after_3_s() -> None:
    net = Net()
    server, client = net.pair()
    net.mute.add("client")
    lane_id, _ = greet(net, server, hello("client", incarnation=client.incarnation, lane_number=9))
    net.advance(CLAIM_S - 0.1)
    assert server.core.frames_to_send(lane_id, net.now) == []
    net.advance(0.2)
    assert Hello in [type(frame) for frame in server.core.frames_to_send(lane_id, net.now)]


def test_an_answer_that_the_claimant_makes_up_does_nothing() -> None:
    net = Net()
    server, client = net.pair()
    liar = Liar(net, server)
    net.mute.add("client")
    lane_id, _ = greet(net, server, hello("client", incarnation=client.incarnation, lane_number=9))
    net.run()
    (asked,) = net.sent("server", Query)
    for holder in HolderAnswer:
        for responder in ("client", "liar"):
            liar.say(QueryReply(asked.query_id, "server", responder, (), 16, holder=holder, claim_id=asked.claim_id))
    net.run()
    assert server.core.frames_to_send(lane_id, net.now) == []
    net.mute.clear()
    net.run()


def test_a_child_takes_the_place_of_its_own_shortcut_but_nobody_else_does() -> None:
    net = Net()
    server, client = net.node("server"), net.node("client")
    client.connect_peer("server")
    net.run()
    assert refused(claim_ends(net, server, hello("client", incarnation=client.incarnation)))
    assert server.links[0].is_peer
    client.connect("server")
    net.run()
    net.advance(1.0)
    assert [(link.fqcn, link.is_peer) for link in server.links] == [("client", False)]
    assert client.core.is_cell_connected("server")


def test_a_child_of_before_takes_the_place_of_its_own_shortcut() -> None:
    net = Net()
    server, client = net.node("server"), net.node("client")
    client.connect_peer("server")
    net.run()
    # It answers a question with no more than who it is.
    net.tamper = lambda _, frame: (
        QueryReply(frame.query_id, frame.asker, frame.responder, (CellInfo("client", client.incarnation),), 16)
        if isinstance(frame, QueryReply)
        else frame
    )
    said = claim_ends(net, server, hello("client", incarnation=client.incarnation))
    assert any(isinstance(frame, Hello) for frame in said)


@pytest.mark.parametrize("at", ["root", "left"])
def test_a_shortcut_in_the_name_of_a_cell_in_the_tree_asks_that_one(at: str) -> None:
    net = Net()
    nodes = branches(net)
    leaf, node = nodes["right-leaf"], nodes[at]
    assert refused(claim_ends(net, node, hello("right-leaf", incarnation=leaf.incarnation, peer=True, claim_id=5)))
    leaf.connect_peer(at)
    net.run()
    assert node.core.is_cell_connected("right-leaf")


def test_a_shortcut_asks_the_cells_above_about_a_name_that_is_only_claimed_below() -> None:
    net = Net()
    nodes = branches(net)
    left, leaf = nodes["left"], nodes["right-leaf"]
    liar = Liar(net, left)
    # The root has not yet refused what the liar claims.
    net.hold = {here for here, there in net.peers.items() if here[0] == "left" and there[0] == "root"}
    liar.say(Announce("right-leaf", leaf.incarnation, 1, ("right-leaf", "liar")))
    lane_id, said = greet(net, left, hello("right-leaf", incarnation=leaf.incarnation + 1, peer=True))
    net.run()
    assert not any(isinstance(frame, Query) for frame in liar.hear())
    assert said == []
    net.hold.clear()
    net.run()
    goodbyes = [frame for _, each, frame in net.carried if each == lane_id and isinstance(frame, Goodbye)]
    assert refused(list(goodbyes))
    assert not left.core.is_cell_connected("right-leaf")


def test_a_question_from_below_goes_up_while_the_name_is_only_claimed_below() -> None:
    net = Net()
    nodes = branches(net)
    left, leaf = nodes["left"], nodes["right-leaf"]
    liar = Liar(net, left)
    net.hold = {here for here, there in net.peers.items() if here[0] == "left" and there[0] == "root"}
    liar.say(Announce("right-leaf", leaf.incarnation, 1, ("right-leaf", "liar")))
    receive(net, left, "left-leaf", Query(1, "left-leaf", "right-leaf", False, 16, contested=True))
    net.run()
    assert not any(isinstance(frame, Query) for frame in liar.hear())
    net.hold.clear()
    net.run()
    answers = {reply.asker: reply.holder for reply in net.sent("right-leaf", QueryReply)}
    assert answers["left-leaf"] is HolderAnswer.HERE


def test_a_shortcut_of_a_cell_that_is_not_in_the_tree_comes_up_at_once() -> None:
    net = Net()
    nodes = branches(net)
    other = net.node("other")
    other.connect_peer("left-leaf")
    net.run()
    assert nodes["left-leaf"].core.is_cell_connected("other")


def test_a_shortcut_that_waits_while_the_cell_becomes_a_child_is_not_wanted_any_more() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("right-leaf")
    life = nodes["right-leaf"].incarnation
    lane_id, _ = greet(net, nodes["left"], hello("right-leaf", incarnation=life, peer=True))
    net.run()
    claim_ends(net, nodes["left"], hello("right-leaf", incarnation=life))
    net.advance(CLAIM_S)
    goodbyes = [frame for _, each, frame in net.carried if each == lane_id and isinstance(frame, Goodbye)]
    assert [(frame.code, frame.linked_fqcn) for frame in goodbyes] == [(ErrorCode.UNSPECIFIED, "left")]


# By an announcement.


@pytest.mark.parametrize("epoch", [1, 2, 1000])
@pytest.mark.parametrize("path", [("left-leaf", "liar"), ("left-leaf", "left", "liar")])
def test_an_announcement_of_a_life_by_another_way_asks_that_one(epoch: int, path: tuple[str, ...]) -> None:
    net = Net()
    nodes = branches(net)
    root, leaf = nodes["root"], nodes["left-leaf"]
    stream_id = leaf.stream("root", None)
    leaf.supply(stream_id, LARGE)
    liar = Liar(net, root)
    (reply,) = liar.say(Announce("left-leaf", leaf.incarnation, epoch, path))
    assert isinstance(reply, AnnounceReply)
    assert reply.code in (ErrorCode.NAME_IN_USE, ErrorCode.STALE)
    assert routes(root)["left-leaf"] == "left"
    untouched(net, leaf, root, stream_id)


def test_an_announcement_of_a_neighbour_by_another_way_asks_that_one() -> None:
    net = Net()
    server, client = net.pair()
    liar = Liar(net, server)
    (reply,) = liar.say(Announce("client", client.incarnation, 7, ("client", "liar")))
    assert isinstance(reply, AnnounceReply)
    assert reply.code is ErrorCode.NAME_IN_USE
    assert "from-client" in reply.sentence


def test_a_holder_of_which_the_cells_above_know_nothing_yet_keeps_its_name() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "middle": "root", "relay": "middle"})
    # The root does not say whether the name is free.
    net.hold = {here for here, there in net.peers.items() if here[0] == "middle" and there[0] == "root"}
    leaf = net.node("leaf")
    leaf.connect("relay")
    net.run()
    assert "leaf" not in routes(nodes["middle"])
    liar = Liar(net, nodes["middle"])
    (reply,) = liar.say(Announce("leaf", leaf.incarnation, 7, ("leaf", "liar")))
    assert isinstance(reply, AnnounceReply)
    assert reply.code is ErrorCode.NAME_IN_USE


def test_a_flood_does_not_make_a_holder_mute() -> None:
    net = Net()
    nodes = branches(net)
    leaf, left = nodes["left-leaf"], nodes["left"]
    net.stuck = {(name, lane_id) for name in ("left-leaf", "left") for lane_id in net.lanes(name)}
    questions = [Query(number, "root", "left-leaf", True, 16) for number in range(2 * ANSWERS)]
    receive(net, left, "root", *questions)
    receive(net, leaf, "left", *questions)
    net.stuck.clear()
    liar = Liar(net, nodes["root"])
    (reply,) = liar.say(Announce("left-leaf", leaf.incarnation, 7, ("left-leaf", "liar")))
    assert isinstance(reply, AnnounceReply)
    assert reply.code is ErrorCode.NAME_IN_USE


# Cells that have moved.


def test_a_cell_that_moves_has_its_name_at_once_when_its_old_parent_has_noticed() -> None:
    net = Net()
    nodes = branches(net)
    move(net, "left-leaf", "right")
    net.run()
    began = net.now
    net.run_until(lambda: nodes["left-leaf"].core.is_cell_connected("right"))
    assert net.now - began <= 0.2
    assert routes(nodes["root"])["left-leaf"] == "right"


def test_a_cell_that_moves_has_its_name_after_3_s_when_its_old_parent_has_not_noticed() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    leaf.dials[0] = ("right",)
    net.cut_half("left-leaf", leaf.lane())
    net.run()
    began = net.now
    net.run_until(lambda: leaf.core.is_cell_connected("right"))
    assert net.now - began <= 0.2 + CLAIM_S
    assert routes(nodes["root"])["left-leaf"] == "right"


def test_a_parent_that_notices_while_it_is_asked_says_so() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    leaf.dials[0] = ("right",)
    old = next(end for end in net.peers if end[0] == "left" and net.peers[end][0] == "left-leaf")
    net.cut_half("left-leaf", leaf.lane())
    net.run_until(lambda: any(query.subject == "left-leaf" for query in net.sent("left", Query)))
    assert not leaf.core.is_cell_connected("right")
    began = net.now
    net.cut(*old)
    net.run_until(lambda: leaf.core.is_cell_connected("right"))
    assert net.now == began
    assert routes(nodes["root"])["left-leaf"] == "right"


def test_a_cell_whose_old_way_breaks_further_up_while_it_is_asked_has_its_name_at_once() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    leaf.dials[0] = ("right",)
    net.cut_half("left-leaf", leaf.lane())
    net.run_until(lambda: any(query.subject == "left-leaf" for query in net.sent("left", Query)))
    began = net.now
    net.refuse_dials.add("root")
    net.cut("left", nodes["left"].lane())
    net.run_until(lambda: leaf.core.is_cell_connected("right"))
    assert net.now == began


def test_those_behind_a_cell_that_moves_wait_with_it() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root", "middle": "a", "leaf": "middle", "low": "leaf"})
    middle = nodes["middle"]
    middle.dials[0] = ("b",)
    up = next(end for end in net.peers if end[0] == "middle" and net.peers[end][0] == "a")
    net.cut_half(*up)
    net.advance(1.0)
    assert routes(nodes["root"])["leaf"] == "a"
    assert [reply for reply in net.sent("root", AnnounceReply) if reply.code is ErrorCode.STALE] == []
    net.advance(CLAIM_S)
    assert routes(nodes["root"]) == {"a": "a", "b": "b", "middle": "b", "leaf": "b", "low": "b"}
    assert routes(nodes["b"]) == {"middle": "middle", "leaf": "middle", "low": "middle"}


def test_what_waits_behind_a_cell_that_has_not_moved_is_out_of_date() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "middle": "a", "leaf": "middle", "low": "leaf"})
    middle, leaf, low = nodes["middle"], nodes["leaf"], nodes["low"]
    liar = Liar(net, nodes["root"])
    net.stuck = {(name, lane_id) for name in ("a",) for lane_id in net.lanes(name)}
    gone = Announce("low", low.incarnation, 1, ("low", "middle", "liar"))
    assert liar.say(Announce("middle", middle.incarnation, 2, ("middle", "liar")), gone) == []
    assert liar.say(Announce("leaf", leaf.incarnation, 1, ("leaf", "middle", "liar"))) == []
    assert [type(frame) for frame in liar.say(Withdraw("low", low.incarnation, 1))] == [AnnounceReply]
    net.stuck.clear()
    net.run()
    for node in nodes.values():
        for lane_id in net.lanes(node.fqcn):
            net.awake.add((node.fqcn, lane_id))
    net.run()
    assert [(reply.fqcn, reply.code) for reply in liar.hear() if isinstance(reply, AnnounceReply)] == [
        ("middle", ErrorCode.NAME_IN_USE),
        ("leaf", ErrorCode.STALE),
    ]
    assert routes(nodes["root"])["leaf"] == "a"


def test_who_withdraws_a_claim_does_not_get_the_name() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    liar = Liar(net, nodes["root"])
    net.mute.add("left-leaf")
    liar.say(Announce("left-leaf", leaf.incarnation, 7, ("left-leaf", "liar")))
    liar.say(Announce("below", 5, 1, ("below", "left-leaf", "liar")), Withdraw("left-leaf", leaf.incarnation, 7))
    net.advance(CLAIM_S)
    assert routes(nodes["root"])["left-leaf"] == "left"


def test_a_name_that_another_life_has_got_meanwhile_is_asked_about_anew() -> None:
    net = Net()
    nodes = branches(net)
    root, leaf = nodes["root"], nodes["left-leaf"]
    liar = Liar(net, root)
    net.hold = {here for here, there in net.peers.items() if here[0] == "left" and there[0] == "root"}
    liar.say(Announce("left-leaf", leaf.incarnation, 7, ("left-leaf", "liar")))
    receive(net, root, "left", Announce("left-leaf", leaf.incarnation + 1, 1, ("left-leaf", "left")))
    net.advance(CLAIM_S)
    assert routes(root)["left-leaf"] == "left"
    assert [query.contested for query in net.sent("root", Query)].count(True) == 2


def test_what_waits_is_forgotten_with_its_link() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "middle": "a", "leaf": "middle"})
    middle, leaf = nodes["middle"], nodes["leaf"]
    net.mute.add("middle")
    liar = Liar(net, nodes["root"])
    liar.say(
        Announce("middle", middle.incarnation, 2, ("middle", "liar")),
        Announce("leaf", leaf.incarnation, 1, ("leaf", "middle", "liar")),
        Goodbye(ErrorCode.STOPPING, "gone"),
    )
    net.advance(CLAIM_S)
    assert routes(nodes["root"]) == {"a": "a", "middle": "a", "leaf": "a"}


# The way of a question.


def test_a_question_that_is_said_twice_is_answered_to_who_has_said_it_first() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    liar = Liar(net, nodes["left"])
    question = Query(1, "root", "left-leaf", False, 16, contested=True)
    receive(net, nodes["left"], "root", question, question)
    liar.say(Query(1, "liar", "left-leaf", False, 16, contested=True))
    net.kill("left-leaf")
    net.run()
    assert [(reply.asker, reply.query_id) for reply in net.sent("left", QueryReply)] == [("root", 1)]
    assert [(reply.asker, reply.query_id) for reply in liar.hear() if isinstance(reply, QueryReply)] == [("liar", 1)]


def test_questions_beyond_what_waits_are_dropped() -> None:
    net = Net()
    _server, client = net.pair()
    net.stuck.add(("client", client.lane()))
    questions = [Query(number, "server", "client", False, 16, contested=True) for number in range(ANSWERS + 1)]
    client.core.receive(client.lane(), questions, net.now)
    net.stuck.clear()
    net.run()
    assert len(net.sent("client", QueryReply)) == ANSWERS


def test_a_hop_that_knows_no_way_to_the_holder_says_so() -> None:
    net = Net()
    nodes = branches(net)
    receive(net, nodes["left"], "root", Query(1, "root", "nobody", False, 16, contested=True))
    net.run()
    (reply,) = net.sent("left", QueryReply)
    assert (reply.holder, reply.cells, reply.responder) == (HolderAnswer.GONE, (), "left")


def test_a_question_without_a_hop_left_goes_nowhere_and_neither_does_an_answer() -> None:
    net = Net()
    nodes = branches(net)
    receive(net, nodes["left"], "root", Query(1, "root", "left-leaf", False, 0, contested=True))
    net.run()
    assert net.sent("left", Query) == []
    assert net.sent("left", QueryReply) == []
    net.mute.add("left-leaf")
    receive(net, nodes["left"], "root", Query(2, "root", "left-leaf", False, 16, contested=True))
    reply = QueryReply(2, "root", "left-leaf", (), 0, holder=HolderAnswer.MOVED)
    receive(net, nodes["left"], "left-leaf", reply)
    net.run()
    assert net.sent("left", QueryReply) == []


def test_questions_that_nobody_answers_are_forgotten_the_oldest_first() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    for number in range(CONTESTED_QUESTIONS + 1):
        receive(net, nodes["left"], "root", Query(number, "root", "left-leaf", False, 16, contested=True))
    net.kill("left-leaf")
    net.run()
    told = [reply.query_id for reply in net.sent("left", QueryReply)]
    assert told == list(range(1, CONTESTED_QUESTIONS + 1))


def test_questions_that_are_past_are_forgotten() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    for number in (1, 2):
        receive(net, nodes["left"], "root", Query(number, "root", "left-leaf", False, 16, contested=True))
        net.advance(CLAIM_S)
    net.kill("left-leaf")
    net.run()
    assert [reply.query_id for reply in net.sent("left", QueryReply)] == [2]


def test_the_questions_of_a_neighbour_that_is_gone_are_forgotten() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left-leaf")
    receive(net, nodes["left"], "root", Query(1, "root", "left-leaf", False, 16, contested=True))
    nodes["root"].core.stop(net.now)
    net.run()
    net.kill("left-leaf")
    net.run()
    assert net.sent("left", QueryReply) == []
