"""A neighbour that goes beyond a limit is cut off by a handler: told why, warned of once, and never for good."""

from __future__ import annotations

from typing import NoReturn

import pytest

from streamcell.errors import ErrorCode, LinkError, ProtocolError
from streamcell.protocol.base.events import CellDisconnected, ProtocolBroken
from streamcell.protocol.receiving.table import ReceiveTable
from streamcell.protocol.wire.frames import Frame, Goodbye, LaneRole, Ping, Pong, ResumeQuery
from tests.core.by_hand import greet, hello
from tests.core.harness import LARGE, Net, Node

SENTENCE = "more questions than server remembers: wait for answers"


@pytest.fixture
def strict_about_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question about a stream is one too many."""

    def refuse(*_: object) -> NoReturn:
        raise ProtocolError(SENTENCE, ErrorCode.LIMIT)

    monkeypatch.setattr(ReceiveTable, "on_resume_query", refuse)


def ask(asker: Node, asked: Node) -> ResumeQuery:
    return ResumeQuery.showing_life(asker.fqcn, asker.incarnation, asked.fqcn)


@pytest.mark.usefixtures("strict_about_questions")
def test_a_child_beyond_a_limit_is_told_which_and_keeps_its_name() -> None:
    net = Net()
    server, client = net.pair()
    server.core.receive(server.lane(), [ask(client, server), Ping(7)], net.now)
    net.run()
    assert [(said.code, said.sentence) for said in net.sent("server", Goodbye)] == [(ErrorCode.LIMIT, SENTENCE)]
    # What is behind it in the batch was not heard.
    assert net.sent("server", Pong) == []
    (broken,) = server.of(ProtocolBroken)
    assert (broken.fqcn, broken.sentence, broken.by_neighbour) == ("client", SENTENCE, True)
    (refusal,) = client.refusals()
    assert (type(refusal.error), refusal.error.code, refusal.firm) == (LinkError, ErrorCode.LIMIT, False)
    net.advance(30.0)
    assert client.core.is_cell_connected("server")
    assert server.core.is_cell_connected("client")
    assert server.of(CellDisconnected) == []


@pytest.mark.usefixtures("strict_about_questions")
def test_a_parent_beyond_a_limit_is_told_which_and_dialled_again() -> None:
    net = Net()
    server, client = net.pair()
    client.core.receive(client.lane(), [ask(server, client)], net.now)
    net.run()
    assert [(said.code, said.sentence) for said in net.sent("client", Goodbye)] == [(ErrorCode.LIMIT, SENTENCE)]
    (refusal,) = client.refusals()
    assert (str(refusal.error), refusal.error.code, refusal.firm) == (SENTENCE, ErrorCode.LIMIT, False)
    (broken,) = server.of(ProtocolBroken)
    assert (broken.fqcn, broken.sentence, broken.by_neighbour) == ("client", SENTENCE, False)
    net.advance(30.0)
    assert client.core.is_cell_connected("server")
    assert server.of(CellDisconnected) == []


@pytest.mark.usefixtures("strict_about_questions")
def test_a_child_that_does_so_on_every_lane_is_warned_of_once() -> None:
    net = Net()
    server, client = net.pair()
    client.stream("server", LARGE)
    net.run()
    for role in (LaneRole.BULK, LaneRole.CONTROL):
        server.core.receive(server.lane(role), [ask(client, server)], net.now)
    net.advance(30.0)
    assert [said.code for said in net.sent("server", Goodbye)].count(ErrorCode.LIMIT) == 2
    assert len(server.of(ProtocolBroken)) == 1


@pytest.mark.usefixtures("strict_about_questions")
def test_what_a_cell_asks_of_itself_is_lost_with_the_lane_and_no_more() -> None:
    net = Net()
    server, _ = net.pair()
    server.core.receive(0, [ask(server, server)], net.now)
    net.run()
    assert [broken.fqcn for broken in server.of(ProtocolBroken)] == ["server"]
    assert server.core.is_cell_connected("client")


def test_a_stranger_whose_first_frame_is_no_hello_is_cut_off() -> None:
    net = Net()
    server = net.node("server")
    said: list[Frame] = greet(net, server, Ping(1), hello())[1]
    assert said == [Goodbye(ErrorCode.PROTOCOL, "the first frame on a lane must be a Hello")]
    assert not server.core.is_cell_connected("client")
