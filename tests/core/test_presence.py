"""Which life of another cell is there: numbers tell lives apart, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from streamcell.errors import ErrorCode, Fault, StreamOutcomeUnknown
from streamcell.limits import KIB
from streamcell.protocol.base.events import LifeDoubted, ReceiveFailed, StreamAdopted, StreamOpened
from streamcell.protocol.tree.presence import ASK_AGAIN_S
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    NO_STREAM,
    Ack,
    CellInfo,
    Chunk,
    Frame,
    Lost,
    LostReason,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from tests.core.by_hand import answers, chunk
from tests.core.harness import LARGE, SMALL, Net, Node, make_open
from tests.core.trees import receive, tree

STAR = {"hub": "", "origin": "hub", "target": "hub"}
KINDS = [StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST]
# What the clock says at the starts of three lives: back, further back, and between; never later; always later.
CLOCKS = [(9, 2, 5), (9, 5, 2), (2, 5, 9)]


def numbered(net: Net, name: str, clock: int) -> Node:
    """Start a cell again at a time by its wall clock."""
    return net.restart(name, clock << 40)


def doubts(node: Node) -> list[int]:
    """Return the lives that a cell has asked about."""
    return [event.incarnation for event in node.of(LifeDoubted)]


@pytest.mark.parametrize("clocks", CLOCKS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("restarted", ["origin", "target", "hub"])
def test_what_a_life_sends_arrives_whatever_its_clock_says(
    kind: StreamKind, restarted: str, clocks: tuple[int, ...]
) -> None:
    net = Net()
    tree(net, STAR)
    for clock in clocks:
        numbered(net, restarted, clock)
        net.advance(1.0)
        origin, target = net.nodes["origin"], net.nodes["target"]
        for data in (SMALL, LARGE):
            stream_id = origin.send("target", data, kind=kind)
            net.advance(2.0)
            assert target.got(origin.key(stream_id)) == data
            assert origin.finished(stream_id)


@pytest.mark.parametrize("clocks", CLOCKS, ids=str)
@pytest.mark.parametrize("restarted", ["server", "client"])
def test_neighbours_know_each_other_by_their_link(restarted: str, clocks: tuple[int, ...]) -> None:
    net = Net()
    net.pair()
    for clock in clocks:
        numbered(net, restarted, clock)
        net.advance(1.0)
        for name, other in (("server", "client"), ("client", "server")):
            stream_id = net.nodes[name].send(other, SMALL)
            net.run()
            assert net.nodes[other].got(net.nodes[name].key(stream_id)) == SMALL
            assert doubts(net.nodes[name]) == []


@pytest.mark.parametrize("clock", [1, 1 << 20])
def test_a_named_stream_goes_on_when_its_origin_was_restarted(clock: int) -> None:
    net = Net()
    nodes = tree(net, STAR)
    before, target = nodes["origin"], nodes["target"]
    named: dict[str, Any] = {"resume_id": "r", "source_stamp": b"s", "size": len(LARGE)}
    stream_id = before.stream("target", LARGE[: 300 * KIB], end=False, **named)
    net.advance(1.0)
    origin = numbered(net, "origin", clock)
    net.advance(1.0)
    again = origin.stream("target", LARGE, **named)
    net.advance(2.0)
    assert target.got(origin.key(again)) == LARGE
    assert target.of(StreamAdopted) == [StreamAdopted(before.key(stream_id), origin.key(again))]


@pytest.mark.parametrize("clock", [1, 1 << 20])
def test_a_stream_goes_on_when_its_target_was_restarted(clock: int) -> None:
    net = Net()
    nodes = tree(net, STAR)
    origin = nodes["origin"]
    nodes["target"].auto_read = False
    stream_id = origin.stream("target", LARGE)
    net.advance(1.0)
    assert origin.core.stats().sends[0].received > 0
    target = numbered(net, "target", clock)
    net.advance(2.0)
    assert target.got(origin.key(stream_id)) == LARGE


def test_the_first_frames_of_a_life_lead_to_one_question_and_come_again() -> None:
    net = Net()
    nodes = tree(net, STAR)
    nodes["origin"].send("target", SMALL)
    net.run()
    origin = net.restart("origin", 1)
    net.advance(1.0)
    target = nodes["target"]
    stream_id = origin.send("target", SMALL)
    net.run()
    assert target.got(origin.key(stream_id)) == SMALL
    assert doubts(target) == [1]
    assert [query.subject for query in net.sent("target", Query)] == ["origin"]
    assert [lost.reason for lost in net.sent("target", Lost)] == [LostReason.LANE_LOST]
    nodes["hub"].send("origin", SMALL)
    # The parent has asked when the name was confirmed, by the greeting.
    assert net.sent("hub", Query)[-1].asker == "target"


def test_frames_of_a_life_that_is_over_lead_to_a_question_and_are_not_taken_in() -> None:
    net = Net()
    server, client = net.pair()
    net.restart("client", 1)
    net.advance(10.0)
    newer = net.nodes["client"]
    newer.send("server", SMALL)
    net.run()
    old = client.key(5)
    reset = Reset(old, "server", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "", 16)
    frames: list[tuple[Frame, list[type[Frame]]]] = [
        (chunk(old, SMALL, last=True, opening=make_open(StreamKind.BLOB)), [Query, Lost]),
        (ResumeQuery(old, "server", 2, False, 16), [Query, Lost]),
        (ResumeQuery(old._replace(stream_id=NO_STREAM), "server", 0, True, 16), [Query]),
        (reset, [Query]),
    ]
    opened = len(server.of(StreamOpened))
    for frame, expected in frames:
        assert [type(answer) for answer in answers(net, server, newer, frame)] == expected
    assert len(server.of(StreamOpened)) == opened
    stream_id = newer.send("server", SMALL)
    net.run()
    assert newer.finished(stream_id)
    assert doubts(server) == []


def test_a_life_that_nobody_else_confirms_takes_no_place() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None)
    net.run()
    made_up = client.key(1)._replace(origin_incarnation=1 << 60)
    said = answers(net, server, client, chunk(made_up, SMALL, opening=make_open(StreamKind.STREAM)))
    assert [type(frame) for frame in said] == [Query, Lost]
    assert doubts(server) == [1 << 60]
    assert server.of(ReceiveFailed) == []
    assert list(server.opened) == [client.key(stream_id)]


def test_a_life_is_known_by_its_chunks_only_when_it_has_answered() -> None:
    """A neighbour without announcements, say, whose link the listener still takes for that of the life before."""
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None)
    net.run()
    newer = client.key(1)._replace(origin_incarnation=1)
    net.tamper = as_life("client", 1)
    answers(net, server, client, chunk(newer, SMALL, opening=make_open(StreamKind.STREAM)))
    assert server.receive_error(client.key(stream_id)).code is ErrorCode.RESUME
    answers(net, server, client, chunk(newer, SMALL, opening=make_open(StreamKind.STREAM)))
    assert newer in server.opened


def as_life(name: str, incarnation: int | None) -> Any:
    """Let the answers of a cell to questions name another life (None: none at all)."""

    def tamper(sender: str, frame: Frame) -> Frame:
        if isinstance(frame, QueryReply) and sender == name:
            cells = () if incarnation is None else (CellInfo(name, incarnation),)
            return dataclasses.replace(frame, cells=cells)
        return frame

    return tamper


def test_only_the_answer_to_the_question_counts() -> None:
    net = Net()
    server, client = net.pair()
    key = client.key(1)._replace(origin_incarnation=1)
    net.tamper = as_life("client", None)
    said = answers(net, server, client, chunk(key, SMALL, opening=make_open(StreamKind.STREAM)))
    (query,) = [frame for frame in said if isinstance(frame, Query)]
    for query_id, responder in ((query.query_id + 1, "client"), (query.query_id, "stranger")):
        late = QueryReply(query_id, "server", responder, (CellInfo(responder, 1),), 16)
        answers(net, server, client, late)
    answers(net, server, client, chunk(key, SMALL, opening=make_open(StreamKind.STREAM)))
    assert server.opened == {}
    answers(net, server, client, QueryReply(query.query_id, "server", "client", (CellInfo("client", 1),), 16))
    answers(net, server, client, chunk(key, SMALL, opening=make_open(StreamKind.STREAM)))
    assert list(server.opened) == [key]


def test_a_question_that_was_swallowed_is_asked_again_when_there_is_reason_to() -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = lambda name, frame: None if isinstance(frame, Query) else frame
    frame = ResumeQuery(client.key(1)._replace(origin_incarnation=1), "server", 1, False, 16)
    for _ in range(3):
        answers(net, server, client, frame)
    assert len(net.sent("server", Query)) == 1
    net.advance(ASK_AGAIN_S)
    for _ in range(3):
        answers(net, server, client, frame)
    first, second = net.sent("server", Query)
    # Any answer was given after the first time.
    assert first.query_id == second.query_id
    assert doubts(server) == [1]


def test_a_life_that_is_heard_of_while_another_is_asked_about_is_asked_about_next() -> None:
    net = Net()
    server, client = net.pair()
    lane = net.peers["client", client.lane()][1]
    for incarnation in (1, 2, 2, *range(1000, 1100)):
        key = client.key(1)._replace(origin_incarnation=incarnation)
        server.core.receive(lane, [ResumeQuery(key, "server", 1, False, 16)], net.now)
    net.run()
    queries = net.sent("server", Query)
    assert len({query.query_id for query in queries}) == len(queries) == 2
    net.advance(5.0)
    stream_id = client.send("server", SMALL)
    net.run()
    assert client.finished(stream_id)


def test_a_life_that_comes_back_delivers_nothing_twice() -> None:
    """Two cells have the name in turn, as a spare one and one whose process stood still."""
    net = Net()
    server, first = net.pair()
    done = first.send("server", SMALL)
    net.run()
    key = first.key(done)
    late = net.sent("client", Chunk)[0]
    net.kill("client")
    second = net.node("client")
    second.connect("server")
    net.advance(10.0)
    second.send("server", SMALL)
    net.run()
    net.kill("client")
    net.nodes["client"] = first
    net.advance(20.0)
    stream_id = first.send("server", SMALL)
    net.advance(10.0)
    assert first.finished(stream_id)
    assert server.got(first.key(stream_id)) == SMALL
    (again,) = answers(net, server, first, late)
    assert isinstance(again, Reset)
    assert again.code is ErrorCode.STALE
    assert [event.key for event in server.of(StreamOpened)].count(key) == 1


def test_more_lives_than_are_remembered() -> None:
    net = Net()
    server, client = net.pair()
    for clock in range(40, 0, -1):
        client = numbered(net, "client", clock)
        net.advance(1.0)
        stream_id = client.send("server", SMALL)
        net.run()
        assert client.finished(stream_id)
    assert server.core.stats().receives == ()


def test_a_known_life_is_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    # None but that of the hub, which is a neighbour.
    monkeypatch.setattr("streamcell.protocol.tree.presence.LIVES", 0)
    net = Net()
    nodes = tree(net, {"hub": "", "origin": "hub", "a": "hub", "b": "hub"})
    for target in ("a", "b", "a"):
        there = nodes["origin"].send(target, SMALL)
        back = nodes[target].send("origin", SMALL)
        net.run()
        assert nodes["origin"].finished(there)
        assert nodes[target].finished(back)
    # What is left of a life that was forgotten goes when the next one is heard of.
    nodes["origin"].auto_release = False
    nodes["a"].stream("origin", SMALL)
    net.run()
    nodes["b"].send("origin", SMALL)
    net.run()
    again = net.restart("a", 1)
    net.advance(1.0)
    stream_id = again.send("origin", SMALL, kind=StreamKind.BLOB)
    net.run()
    assert [failed.error.code for failed in nodes["origin"].of(ReceiveFailed)] == [ErrorCode.RESUME]
    assert nodes["origin"].data[again.key(stream_id)] == SMALL


# Seen from the origin.


@pytest.mark.parametrize("kind", KINDS)
def test_two_lives_that_know_earlier_ones_of_each_other_find_together(kind: StreamKind) -> None:
    """What was refused for both reasons was delivered nowhere, so nothing is unknown."""
    net = Net()
    nodes = tree(net, STAR)
    before = nodes["target"]
    target = net.restart("target")
    net.advance(1.0)
    nodes["origin"].send("target", SMALL)
    net.run()
    origin = net.restart("origin", 1)
    net.advance(1.0)
    sign = StreamKey("target", before.incarnation, NO_STREAM)
    receive(net, origin, "hub", ResumeQuery(sign, "origin", 0, True, 16))
    stream_id = origin.send("target", SMALL, kind=kind)
    net.advance(5.0)
    assert target.got(origin.key(stream_id)) == SMALL
    assert origin.finished(stream_id)
    assert [lost.reason for lost in net.sent("target", Lost)] == [LostReason.OTHER_LIFE]


def held(net: Net) -> tuple[Node, Node, StreamKey]:
    """Return an origin and a far target that has all of a stream and does not release it."""
    nodes = tree(net, STAR)
    nodes["target"].auto_release = False
    stream_id = nodes["origin"].stream("target", SMALL)
    net.advance(1.0)
    return nodes["origin"], nodes["target"], nodes["origin"].key(stream_id)


@pytest.mark.parametrize("incarnation", [1, 1 << 60])
def test_an_ack_of_another_life_begins_an_attempt(incarnation: int) -> None:
    net = Net()
    origin, target, key = held(net)
    receive(net, origin, "hub", Ack(key, "target", 1, incarnation, 1, 0, False, 16))
    assert [(send.state, send.attempt) for send in origin.core.stats().sends] == [("resuming", 2)]
    net.run()
    assert doubts(origin) == [incarnation]
    target.core.release(key, net.now)
    net.run()
    assert origin.finished(key.stream_id)


def test_an_ack_of_a_life_that_is_over_is_ignored() -> None:
    net = Net()
    nodes = tree(net, STAR)
    origin, before = nodes["origin"], nodes["target"]
    origin.send("target", SMALL)
    net.run()
    target = net.restart("target", 1)
    net.advance(1.0)
    target.send("origin", SMALL)
    net.run()
    target.auto_release = False
    key = origin.key(origin.stream("target", SMALL))
    net.run()
    (state,) = [(send.state, send.attempt) for send in origin.core.stats().sends]
    receive(net, origin, "hub", Ack(key, "target", state[1], before.incarnation, 1, 0, False, 16))
    assert [(send.state, send.attempt) for send in origin.core.stats().sends] == [state]


def test_of_two_answers_in_one_attempt_only_that_of_who_got_the_offer_counts() -> None:
    net = Net()
    nodes = tree(net, STAR)
    origin, target = nodes["origin"], nodes["target"]
    target.choose = lambda event: None
    stream_id = origin.stream("target", LARGE, resume_id="r")
    net.run()
    key = origin.key(stream_id)
    receive(net, origin, "hub", ResumeReply(key, "target", 1, target.incarnation + 1, False, 5, 16))
    assert [send.state for send in origin.core.stats().sends] == ["awaiting_offset"]
    target.core.choose_offset(key, 0, None, net.now)
    net.run()
    assert target.got(key) == LARGE


@pytest.mark.parametrize("clock", [1, 1 << 40])
def test_a_request_whose_far_target_was_restarted_ends_when_that_shows(clock: int) -> None:
    net = Net()
    nodes = tree(net, STAR)
    origin = nodes["origin"]
    stream_id = origin.request("target", SMALL)
    net.run()
    target = net.restart("target", clock)
    net.advance(1.0)
    target.send("origin", SMALL)
    net.run()
    assert isinstance(origin.request_error(stream_id), StreamOutcomeUnknown)


def test_a_peer_that_dials_again_is_asked_which_life_it_is() -> None:
    net = Net()
    nodes = tree(net, STAR)
    nodes["origin"].connect_peer("target")
    net.run()
    nodes["origin"].send("target", SMALL)
    net.run()
    origin = net.restart("origin", 1)
    net.advance(5.0)
    stream_id = origin.send("target", SMALL)
    net.run()
    assert origin.finished(stream_id)
    assert doubts(nodes["target"]) == [1]


def test_a_greeting_of_a_life_that_is_over_proves_nothing() -> None:
    """It comes back as a neighbour: its frames are asked about all the same."""
    net = Net()
    _, first = net.pair()
    first.send("server", SMALL)
    net.run()
    net.restart("client", 1)
    net.advance(1.0)
    again = net.restart("client", first.incarnation)
    net.advance(1.0)
    ids = [again.send("server", SMALL) for _ in range(2)]
    net.advance(5.0)
    # Ids that were seen in it are not taken in again; a life has each only once.
    assert again.error(ids[0]).code is ErrorCode.STALE
    assert again.finished(ids[1])
    assert net.sent("server", Query) != []
