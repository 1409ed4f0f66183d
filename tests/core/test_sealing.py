"""Handshakes through a tree of cells, and the sessions that come of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from streamcell import limits
from streamcell.errors import AuthenticationError
from streamcell.protocol.base.events import HandshakeWork, SessionBegun, SessionFailed
from streamcell.protocol.sealing.states import HANDSHAKE_TABLE, HandshakeAction, HandshakeState
from streamcell.protocol.wire.covered import Lives
from streamcell.protocol.wire.frames import Frame, Handshake
from tests.core.harness import Net, Node
from tests.core.policies import allowing, hub_and
from tests.core.trees import branches, receive, tree

ONE, OTHER = "left-leaf", "right-leaf"


def want(net: Net, node: Node, fqcn: str) -> None:
    node.core.sealing.want(fqcn, net.now)
    net.run()


def begun(node: Node) -> list[str]:
    return [event.proven for event in node.of(SessionBegun)]


def failures(node: Node) -> list[str]:
    return [event.error.sentence for event in node.of(SessionFailed)]


def test_two_cells_come_to_the_same_keys_through_others() -> None:
    net = Net()
    nodes = branches(net)
    want(net, nodes[ONE], OTHER)
    assert (begun(nodes[ONE]), begun(nodes[OTHER])) == ([OTHER], [ONE])
    here = nodes[ONE].core.sealing.session_with(OTHER, net.now)
    there = nodes[OTHER].core.sealing.session_with(ONE, net.now)
    assert here is not None
    assert there is not None
    assert (here.peer, here.peer_life) == (OTHER, nodes[OTHER].incarnation)
    assert (there.peer, there.peer_life) == (ONE, nodes[ONE].incarnation)
    assert here.lives == there.lives
    assert here.keys.peer_name == OTHER
    assert nodes[OTHER].core.sealing.find(ONE, here.lives.session_id) is there
    assert nodes[OTHER].core.sealing.find(ONE, bytes(16)) is None
    numbers = [(frame.number, frame.from_responder) for frame in net.sent("root", Handshake)]
    assert numbers == [(0, False), (1, True), (2, False), (3, True)]
    for name, node in nodes.items():
        assert (node.core.sealing.handshakes(), node.sealer.under_way) == (0, 0)
        stats = node.core.stats()
        counted = int(name in (ONE, OTHER))
        assert (stats.sessions, stats.handshakes_agreed, stats.handshakes_failed) == (counted, counted, 0)


def test_neighbours_come_to_keys_whoever_begins() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    want(net, nodes["leaf"], "root")
    want(net, nodes["root"], "leaf")
    assert [begun(node) for node in nodes.values()] == [["leaf"] * 2, ["root"] * 2]


def test_handshakes_that_cross_leave_two_sessions() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    nodes["leaf"].core.sealing.want("root", net.now)
    nodes["root"].core.sealing.want("leaf", net.now)
    net.run()
    ids = [{session.lives.session_id for session in node.core.sealing.sessions()} for node in nodes.values()]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


def test_what_is_wanted_twice_is_begun_once() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    nodes["leaf"].core.sealing.want("root", net.now)
    want(net, nodes["leaf"], "root")
    assert begun(nodes["leaf"]) == ["root"]


def test_it_waits_for_a_way() -> None:
    net = Net()
    leaf = net.node("leaf")
    want(net, leaf, "root")
    assert leaf.of(HandshakeWork) == []
    net.node("root")
    leaf.connect("root")
    net.run()
    assert begun(leaf) == ["root"]


def test_a_session_is_old_after_a_while() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    want(net, nodes["leaf"], "root")
    sealing = nodes["leaf"].core.sealing
    assert sealing.session_with("root", net.now + limits.SESSION_S - 1) is not None
    assert sealing.session_with("root", net.now + limits.SESSION_S) is None
    assert sealing.session_with("nobody", net.now) is None


def test_a_session_that_is_ended_is_no_more() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    want(net, nodes["leaf"], "root")
    sealing = nodes["leaf"].core.sealing
    (session,) = sealing.sessions()
    sealing.end("root", bytes(16), net.now)
    assert sealing.sessions() == [session]
    for _ in range(2):
        sealing.end("root", session.lives.session_id, net.now)
        assert sealing.sessions() == []


def test_sessions_with_a_life_end_with_it() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    want(net, nodes["root"], "leaf")
    leaf = net.restart("leaf")
    net.advance(10.0)
    sealing = nodes["root"].core.sealing
    # The life that is said to be there now was asked for a proof.
    (session,) = sealing.sessions()
    assert session.peer_life == leaf.incarnation


def test_only_the_newest_sessions_with_a_cell_are_kept() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    for _ in range(limits.SESSIONS_OF_ONE + 2):
        want(net, nodes["leaf"], "root")
    for node in nodes.values():
        lives = [event.lives for event in node.of(SessionBegun)]
        assert [session.lives for session in node.core.sealing.sessions()] == lives[2:]


def test_the_oldest_sessions_of_too_many_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.sealing.table.SESSIONS", 2)
    net = Net()
    nodes = tree(net, {"root": "", "one": "root", "two": "root", "three": "root"})
    for name in ("one", "two", "three"):
        want(net, nodes["root"], name)
    assert [session.peer for session in nodes["root"].core.sealing.sessions()] == ["two", "three"]


# --- who is not to be believed ---------------------------------------------------------------------


def test_somebody_else_answers() -> None:
    net = Net()
    nodes = branches(net)
    nodes[ONE].sealer.liars.add(OTHER)
    want(net, nodes[ONE], OTHER)
    assert failures(nodes[ONE]) == [f"the certificate that was shown for {OTHER} is that of another"]
    assert nodes[ONE].core.sealing.sessions() == []
    net.advance(limits.HANDSHAKE_S + 1)
    assert nodes[OTHER].core.sealing.sessions() == []
    assert [node.sealer.under_way for node in nodes.values()] == [0] * 5


def test_somebody_else_asks() -> None:
    net = Net()
    nodes = branches(net)
    nodes[OTHER].sealer.liars.add(ONE)
    want(net, nodes[ONE], OTHER)
    assert failures(nodes[ONE]) == [f"{OTHER} says: no"]
    assert failures(nodes[OTHER]) == [f"the certificate that was shown for {ONE} is that of another"]
    assert [event.begins for node in (nodes[ONE], nodes[OTHER]) for event in node.of(SessionFailed)] == [True, False]


def cannot_seal(net: Net, fqcn: str) -> Node:
    """A cell without certificates."""
    node = net.nodes[fqcn] = Node(net, fqcn, 99 << 20, net.nodes["root"].config, seals=False)
    node.connect("root")
    net.run()
    return node


def test_a_cell_that_cannot_seal_says_so() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    plain = cannot_seal(net, "plain")
    want(net, plain, "leaf")
    assert "plain cannot seal: give it TLSConfig" in failures(plain)[0]
    want(net, nodes["leaf"], "plain")
    assert failures(nodes["leaf"]) == ["plain cannot seal: it has no certificates"]
    assert all(isinstance(event.error, AuthenticationError) for event in nodes["leaf"].of(SessionFailed))


def test_a_policy_on_the_way_or_there_says_no() -> None:
    net = Net()
    hub, one, two = hub_and(net, allowing("one", "hub"), "one", "two")
    want(net, one, "hub")
    assert begun(one) == ["hub"]
    for node, target in ((one, "two"), (two, "hub")):
        want(net, node, target)
        (failure,) = failures(node)
        assert f"the policy of hub (the policy) does not let {node.fqcn} send anything to {target}" in failure
    assert begun(hub) == ["one"]


def test_a_cell_of_before_does_not_answer() -> None:
    net = Net()
    nodes = branches(net)
    net.tamper = lambda fqcn, frame: None if isinstance(frame, Handshake) and fqcn == OTHER else frame
    want(net, nodes[ONE], OTHER)
    net.advance(limits.HANDSHAKES_S + limits.HANDSHAKE_S)
    (failure,) = failures(nodes[ONE])
    assert f"{OTHER} has not come to keys with {ONE} within 15 s" in failure
    assert nodes[ONE].core.sealing.handshakes() == 0
    assert len(net.sent(ONE, Handshake)) >= 3


def test_time_without_a_way_does_not_count() -> None:
    net = Net()
    nodes = branches(net)
    nodes[ONE].core.sealing.want(OTHER, net.now)
    net.kill("left")
    net.run()
    net.advance(limits.HANDSHAKES_S * 2)
    assert failures(nodes[ONE]) == []
    net.node("left").connect("root")
    net.advance(60.0)
    assert begun(nodes[ONE]) == [OTHER]


# --- what happens on the way -----------------------------------------------------------------------


def once(change: Callable[[Handshake], Frame | None], number: int) -> Callable[[str, Frame], Frame | None]:
    """Have the part of that number of the first handshake changed at the root."""
    changed: list[bytes] = []

    def tamper(fqcn: str, frame: Frame) -> Frame | None:
        if not isinstance(frame, Handshake) or fqcn != "root" or frame.number != number:
            return frame
        if changed and changed[0] != frame.session_id:
            return frame
        changed.append(frame.session_id)
        return change(frame)

    return tamper


CHANGES: dict[str, Callable[[Handshake], Frame | None]] = {
    "dropped": lambda frame: None,
    "changed": lambda frame: dataclasses.replace(frame, data=frame.data[:-1] + b"x"),
    "renumbered": lambda frame: dataclasses.replace(frame, number=frame.number + 2),
    "of another life": lambda frame: dataclasses.replace(frame, responder_incarnation=7),
    "of another session": lambda frame: dataclasses.replace(frame, session_id=bytes(16)),
}


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("change", CHANGES)
def test_another_handshake_does_better(change: str, number: int) -> None:
    net = Net()
    nodes = branches(net)
    net.tamper = once(CHANGES[change], number)
    want(net, nodes[ONE], OTHER)
    net.advance(limits.HANDSHAKES_S)
    assert begun(nodes[ONE]) == [OTHER]
    assert failures(nodes[ONE]) == []
    session = nodes[ONE].core.sealing.session_with(OTHER, net.now)
    assert session is not None
    assert nodes[OTHER].core.sealing.find(ONE, session.lives.session_id) is not None
    for node in nodes.values():
        assert (node.core.sealing.handshakes(), node.sealer.under_way) == (0, 0)


@pytest.mark.parametrize("number", range(4))
def test_what_comes_twice_counts_once(number: int) -> None:
    net = Net()
    nodes = branches(net)
    copies: list[Handshake] = []

    def tamper(fqcn: str, frame: Frame) -> Frame | None:
        if isinstance(frame, Handshake) and fqcn == "root" and frame.number == number:
            copies.append(frame)
        return frame

    net.tamper = tamper
    want(net, nodes[ONE], OTHER)
    way, name = ("left", ONE) if copies[0].from_responder else ("right", OTHER)
    for _ in range(3):
        receive(net, nodes[name], way, copies[0])
    net.run()
    net.advance(limits.HANDSHAKE_S + 1)
    assert begun(nodes[ONE]) == [OTHER]
    assert len(nodes[OTHER].core.sealing.sessions()) == 1


def test_a_target_that_restarts_during_the_handshake() -> None:
    net = Net()
    nodes = branches(net)
    nodes[ONE].core.sealing.want(OTHER, net.now)
    net.run_until(lambda: len(nodes[OTHER].of(HandshakeWork)) == 1)
    fresh = net.restart(OTHER)
    net.advance(limits.HANDSHAKES_S)
    assert begun(nodes[ONE]) == [OTHER]
    session = nodes[ONE].core.sealing.session_with(OTHER, net.now)
    assert session is not None
    assert session.peer_life == fresh.incarnation


def test_an_initiator_that_restarts_during_the_handshake() -> None:
    net = Net()
    nodes = branches(net)
    nodes[ONE].core.sealing.want(OTHER, net.now)
    net.run_until(lambda: len(nodes[OTHER].of(HandshakeWork)) == 1)
    fresh = net.restart(ONE)
    want(net, fresh, OTHER)
    net.advance(limits.HANDSHAKES_S)
    assert begun(fresh) == [OTHER]
    assert nodes[OTHER].core.sealing.handshakes() == 0


def test_a_step_for_a_handshake_that_is_over_counts_no_more() -> None:
    net = Net()
    node = net.node("root")
    node.core.sealing.on_stepped(Lives("root", 1, "leaf", 2, bytes(16)), b"late", None, "", net.now)
    assert node.core.sealing.handshakes() == 0


def test_a_part_in_somebody_else_s_name_is_refused() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root", "liar": "root"})
    for initiator, responder, from_responder in (("leaf", "root", False), ("root", "leaf", True)):
        lie = Handshake(initiator, 5, responder, 0, from_responder, bytes(16), 0, b"0", limits.HOPS)
        receive(net, nodes["root"], "liar", lie)
    net.run()
    assert nodes["root"].core.stats().frames_refused == 2
    assert nodes["root"].of(HandshakeWork) == []


def test_a_refusal_of_another_cell_ends_nothing() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add(OTHER)
    nodes[ONE].core.sealing.want(OTHER, net.now)
    net.run()
    (work,) = nodes[ONE].of(HandshakeWork)
    frame = Handshake(*work.lives[:4], True, work.lives.session_id, 0, b"", limits.HOPS, "no")
    receive(net, nodes[ONE], "left", dataclasses.replace(frame, responder="right"))
    net.run()
    assert failures(nodes[ONE]) == []
    receive(net, nodes[ONE], "left", frame)
    net.run()
    assert failures(nodes[ONE]) == ["no"]


# --- how many --------------------------------------------------------------------------------------


def first_parts(initiators: int, each: int) -> list[Handshake]:
    return [
        Handshake(f"leaf.x{cell}", 5, "root", 0, False, bytes([cell, number] * 8), 0, b"0", limits.HOPS)
        for number in range(each)
        for cell in range(initiators)
    ]


def flooded(initiators: int, each: int) -> Node:
    net = Net()
    parents = {"root": "", "leaf": "root"} | {f"leaf.x{cell}": "leaf" for cell in range(initiators)}
    nodes = tree(net, parents)
    receive(net, nodes["root"], "leaf", *first_parts(initiators, each))
    return nodes["root"]


def test_a_cell_begins_only_so_many() -> None:
    assert flooded(1, 20).core.sealing.handshakes() == limits.HANDSHAKES_OF_ONE


def test_those_behind_a_neighbour_begin_only_so_many() -> None:
    assert flooded(20, 10).core.sealing.handshakes() == limits.HANDSHAKES_OF_NEIGHBOUR


def test_all_others_begin_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.sealing.table.HANDSHAKES", 6)
    assert flooded(4, 4).core.sealing.handshakes() == 6


def test_a_flood_is_not_passed_on() -> None:
    net = Net()
    nodes = branches(net)
    flood = [
        Handshake(ONE, 5, OTHER, 0, False, number.to_bytes(16, "big"), 0, b"0", limits.HOPS) for number in range(10_000)
    ]
    receive(net, nodes["left"], ONE, *flood)
    net.run()
    assert len(net.sent("left", Handshake)) <= limits.QUESTIONS_AT_ONCE
    assert nodes[OTHER].core.sealing.handshakes() == 0
    assert len(nodes[OTHER].of(HandshakeWork)) <= limits.QUESTIONS_AT_ONCE


def test_a_part_with_no_hops_left_goes_no_further() -> None:
    net = Net()
    nodes = branches(net)
    receive(net, nodes["left"], ONE, Handshake(ONE, 5, OTHER, 0, False, bytes(16), 0, b"0", 0))
    net.run()
    assert net.sent("left", Handshake) == []


# --- the table -------------------------------------------------------------------------------------


def test_nothing_follows_an_end() -> None:
    for (state, _), (action, after) in HANDSHAKE_TABLE.items():
        if state is HandshakeState.ENDED:
            assert (action, after) == (HandshakeAction.IGNORE, HandshakeState.ENDED)
