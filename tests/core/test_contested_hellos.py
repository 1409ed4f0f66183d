"""A second cell dials in under the name of a neighbour: who gets it, while and after the first is asked."""

from __future__ import annotations

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode, NameInUse
from streamcell.protocol.base.events import CellConnected, CellDisconnected, LaneDropped
from streamcell.protocol.wire.frames import Goodbye, Hello, HolderAnswer, Ping, Pong, Query, QueryReply
from tests.core.by_hand import greet, hello
from tests.core.harness import Net, Node


def claimed(net: Net, server: Node, client: Node) -> Node:
    """Let a second cell of the same name dial in; the first goes on under another name in the net."""
    net.nodes["holder"] = net.nodes.pop("client")
    for here, there in list(net.peers.items()):
        if here[0] == "client":
            net.peers["holder", here[1]] = net.peers.pop(here)
            net.roles["holder", here[1]] = net.roles.pop(here)
        elif there[0] == "client":
            net.peers[here] = ("holder", there[1])
    client.fqcn = "holder"
    newcomer = net.node("client")
    newcomer.connect("server")
    return newcomer


@pytest.mark.parametrize("newer", [True, False])
def test_the_second_cell_of_a_name_is_refused_while_the_first_answers(newer: bool) -> None:
    net = Net()
    server, client = net.pair()
    if newer:
        newcomer = claimed(net, server, client)
    else:
        net = Net()
        server, client = net.node("server"), net.node("client", incarnation=10**9)
        client.connect("server")
        net.run()
        newcomer = claimed(net, server, client)
    net.run()
    error = newcomer.refusals()[0].error
    assert isinstance(error, NameInUse)
    assert "from-client" in str(error)
    assert not newcomer.refusals()[0].firm
    assert server.links[0].incarnation == client.incarnation
    net.advance(51.0)
    assert len(newcomer.refusals()) in (10, 11, 12)
    assert client.of(CellDisconnected) == []


def test_it_gets_the_name_when_the_first_has_gone() -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.run()
    client.core.stop(net.now)
    net.advance(6.0)
    assert newcomer.core.is_cell_connected("server")
    assert server.links[0].incarnation == newcomer.incarnation


@pytest.mark.parametrize("way", ["stops", "breaks"])
def test_a_holder_that_goes_while_it_is_asked_leaves_the_name_at_once(way: str) -> None:
    net = Net()
    server, client = net.pair()
    other = net.node("other")
    other.connect("server")
    newcomer = claimed(net, server, client)
    net.mute.add("holder")
    net.run()
    net.cut("other", other.lane())
    net.advance(0.5)
    assert server.links[0].incarnation == client.incarnation
    net.mute.clear()
    if way == "stops":
        client.core.stop(net.now)
    else:
        net.cut("holder", net.lanes("holder")[0])
    net.advance(0.1)
    assert newcomer.core.is_cell_connected("server")


@pytest.mark.parametrize("patience_s", [2.5, 2.95, 3.0, 10.0])
def test_a_holder_that_is_silent_for_3_seconds_loses_the_name(patience_s: float) -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.nodes.pop("client")
    newcomer = net.node("client", CellConfig(hello_timeout_s=patience_s))
    newcomer.connect("server")
    net.mute.add("holder")
    net.run()
    net.advance(2.9)
    assert server.links[0].incarnation == client.incarnation
    net.advance(1.5)
    assert server.links[0].incarnation == newcomer.incarnation
    assert newcomer.core.is_cell_connected("server")
    assert [event.fqcn for event in server.of(CellDisconnected)] == ["client"]
    assert len(server.of(CellConnected)) == 2


def test_a_newcomer_that_gives_up_leaves_the_name_alone() -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.mute.add("holder")
    net.run_until(lambda: bool(net.sent("server", Query)))
    net.kill("client")
    net.advance(5.0)
    assert server.links[0].incarnation == client.incarnation
    assert newcomer.links == ()


def test_of_two_newcomers_only_one_gets_the_name() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(incarnation=1))
    first, _ = greet(net, server, hello(incarnation=2))
    second, _ = greet(net, server, hello(incarnation=3))
    net.advance(3.1)
    assert [type(frame) for frame in server.core.frames_to_send(first, net.now)][:1] == [Hello]
    assert server.links[0].incarnation == 2
    assert [(lane_id, frame.code) for _, lane_id, frame in net.carried if isinstance(frame, Goodbye)] == [
        (second, ErrorCode.NAME_IN_USE)
    ]


def test_a_newcomer_with_two_lanes_gets_the_name_with_one() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(incarnation=1))
    _first, _ = greet(net, server, hello(incarnation=2))
    second, _ = greet(net, server, hello(incarnation=2, lane_number=2))
    net.advance(3.1)
    assert (server.links[0].incarnation, len(server.links[0].lanes)) == (2, 1)
    assert second in [event.lane_id for event in server.of(LaneDropped)]


def test_a_claim_that_is_long_past_is_asked_anew() -> None:
    net = Net()
    server = net.node("server")
    holder, _ = greet(net, server, hello(incarnation=1))
    for _ in range(2):
        lane_id, _ = greet(net, server, hello(incarnation=2))
        server.core.lane_closed(lane_id, "gone", None, net.now)
        queries = [frame for frame in server.core.frames_to_send(holder, net.now) if isinstance(frame, Query)]
        assert len(queries) == 1
        server.core.receive(holder, [Pong(1)], net.now)
        net.advance(10.0)
        server.core.receive(holder, [Pong(1)], net.now)
        net.advance(10.0)
        server.core.receive(holder, [Pong(1)], net.now)
    assert server.links[0].incarnation == 1


def test_a_name_whose_holder_has_no_lane_is_taken_over_at_once() -> None:
    net = Net()
    server, _client = net.pair()
    newer = net.restart("client")
    net.run()
    assert newer.core.is_cell_connected("server")
    assert server.links[0].incarnation == newer.incarnation
    assert [event.fqcn for event in server.of(CellDisconnected)] == ["client"]


def test_the_same_life_without_its_link_id_takes_its_own_name_over_at_once() -> None:
    net = Net()
    server, client = net.pair()
    first = server.lane()
    client.connect("server")
    net.run_until(lambda: len(net.sent("server", Hello)) == 2)
    assert [reply.holder for reply in net.sent("client", QueryReply)] == [HolderAnswer.MOVED]
    assert server.lane() != first


def test_an_answer_to_a_question_that_was_not_asked_is_ignored() -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.mute.add("holder")
    net.run()
    server.core.receive(1, [QueryReply(4711, "server", "client", (), 16)], net.now)
    net.run()
    assert newcomer.refusals() == []


@pytest.mark.parametrize(("subject", "answered"), [("", True), ("server", True), ("other", False)])
def test_a_query_is_answered_by_whom_it_asks_for(subject: str, answered: bool) -> None:
    net = Net()
    server, _client = net.pair()
    server.core.receive(1, [Query(7, "client", subject, False, 16)], net.now)
    net.run()
    replies = net.sent("server", QueryReply)
    assert bool(replies) == answered
    if replies:
        (info,) = (cell for cell in replies[0].cells if cell.fqcn == "server")
        assert (replies[0].query_id, info.fqcn, info.incarnation, info.software) == (
            7,
            "server",
            server.incarnation,
            "test",
        )


def test_a_lane_that_waits_for_its_name_is_not_listened_to() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(incarnation=1))
    lane_id, said = greet(
        net, server, hello(incarnation=2), Query(1, "client", "", False, 16), Ping(5, settled_below=9)
    )
    assert said == [Pong(5)]
    server.core.receive(lane_id, [Goodbye(ErrorCode.UNSPECIFIED, "enough")], net.now)
    net.advance(5.0)
    assert server.links[0].incarnation == 1


def test_a_name_that_has_gone_to_another_kind_of_link_meanwhile_is_taken_over_by_a_new_link() -> None:
    net = Net()
    server = net.node("server")
    first, _ = greet(net, server, hello(incarnation=1))
    greet(net, server, hello(incarnation=2))
    server.core.receive(first, [Goodbye(ErrorCode.STOPPING, "gone")], net.now)
    greet(net, server, hello(incarnation=1, peer=True))
    assert [(link.incarnation, link.is_peer) for link in server.links] == [(1, True)]
    net.advance(5.0)
    assert [(link.incarnation, link.is_peer) for link in server.links] == [(2, False)]
    assert [(link.number, link.state) for link in server.links[0].lanes] == [(1, "ready")]
