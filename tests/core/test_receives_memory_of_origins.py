"""What a target remembers of origins is bounded: of one life, and of all that are over or gone."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode, Fault
from streamcell.limits import (
    PAST_LIVES,
    REMEMBERED_S,
    REMEMBERED_STREAMS,
    SETTLED_RUNS,
    SETTLED_RUNS_KEPT,
    SETTLED_UNTOLD,
    SMALL_STREAM_BYTES,
)
from streamcell.protocol.base.events import ProtocolBroken, StreamOpened
from streamcell.protocol.receiving.lives import OriginLife, PastLives
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Frame,
    Goodbye,
    Lost,
    LostReason,
    Ping,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from tests.core.by_hand import chunk
from tests.core.harness import SMALL, Net, Node, make_open
from tests.core.trees import receive, tree
from tests.kit.payloads import pattern

# It goes by no control lane, on which chunks tell what is settled.
BULK = pattern(SMALL_STREAM_BYTES + 1)

STAR = {"hub": "", "client": "hub", "server": "hub"}


def given_up(key: StreamKey) -> Reset:
    """The origin gave up what it had not begun."""
    return Reset(key, "server", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "", 16)


def question(key: StreamKey, attempt: int = 2) -> ResumeQuery:
    return ResumeQuery(key, "server", attempt, False, 16)


def fill(net: Net, server: Node, client: Node, neighbour: str) -> None:
    """Leave as many ended streams with the server as it remembers of one life."""
    first = 1000
    receive(
        net,
        server,
        neighbour,
        *(given_up(client.key(stream_id)) for stream_id in range(first, first + REMEMBERED_STREAMS)),
    )


def beginning(key: StreamKey) -> Frame:
    return chunk(key, SMALL, last=True, opening=make_open(StreamKind.BLOB, len(SMALL)))


def answered(net: Net, server: Node, frame: Frame) -> list[Frame]:
    """Return what the server says to a frame that comes by the hub."""
    before = len(net.carried)
    receive(net, server, "hub", frame)
    net.run()
    return [said for name, _, said in net.carried[before:] if name == "server"]


# An honest origin.


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
def test_what_went_through_a_hub_is_forgotten(kind: StreamKind) -> None:
    net = Net()
    nodes = tree(net, STAR)
    client, server = nodes["client"], nodes["server"]
    ids = []
    for _ in range(600):
        ids.append(client.send("server", BULK, kind=kind))
        net.run()
    stale = [
        stream_id
        for stream_id in ids
        if any(
            isinstance(said, Reset) and said.code is ErrorCode.STALE
            for said in answered(net, server, question(client.key(stream_id)))
        )
    ]
    assert stale == ids[: 600 - 600 % SETTLED_UNTOLD]


def test_what_other_cells_get_does_not_count() -> None:
    """Streams to others that stay open leave a gap at every second id: not one is told."""
    net = Net()
    nodes = tree(net, {**STAR, "other": "hub"})
    client = nodes["client"]
    nodes["other"].auto_read = False
    for _ in range(SETTLED_UNTOLD):
        client.stream("other", None)
        client.send("server", SMALL)
    net.run()
    told = [frame for frame in net.sent("client", ResumeQuery) if frame.target == "server" and frame.settled_below]
    assert told[-1].settled_below > 2 * SETTLED_UNTOLD - 2
    assert all(frame.settled == () for frame in told)


# One that says nothing of what is settled.


@pytest.mark.parametrize("what", ["chunk", "question", "reset"])
def test_a_neighbour_that_never_says_what_is_settled_is_cut_off(what: str) -> None:
    net = Net()
    server, client = net.pair()
    fill(net, server, client, "client")
    assert server.of(ProtocolBroken) == []
    frame = {"chunk": beginning, "question": question, "reset": given_up}[what](client.key(7))
    receive(net, server, "client", frame)
    net.run()
    (goodbye,) = net.sent("server", Goodbye)
    assert goodbye.code is ErrorCode.LIMIT
    assert "client has to say which are settled" in goodbye.sentence
    assert server.of(StreamOpened) == []
    net.advance(120.0)
    assert client.core.is_cell_connected("server")


def test_a_far_origin_that_never_says_what_is_settled_waits_and_its_relay_is_not_cut_off() -> None:
    net = Net()
    nodes = tree(net, STAR)
    client, server = nodes["client"], nodes["server"]
    fill(net, server, client, "hub")
    key = client.key(7)
    for frame, attempt in ((question(key), 2), (beginning(key), 1)):
        (lost,) = answered(net, server, frame)
        assert isinstance(lost, Lost)
        assert (lost.reason, lost.attempt) == (LostReason.LIMIT, attempt)
    assert answered(net, server, given_up(client.key(8))) == []
    assert net.sent("server", Goodbye) == []
    # It has asked about what it missed, by now.
    net.advance(REMEMBERED_S)
    assert isinstance(answered(net, server, beginning(key))[0], Lost)
    answered(net, server, beginning(key))
    assert server.got(key) == SMALL
    (stale,) = answered(net, server, question(client.key(1000)))
    assert isinstance(stale, Reset)
    assert stale.code is ErrorCode.STALE


def test_a_far_origin_that_says_what_is_settled_at_last_goes_on() -> None:
    net = Net()
    nodes = tree(net, STAR)
    client, server = nodes["client"], nodes["server"]
    fill(net, server, client, "hub")
    key = client.key(900)
    assert isinstance(answered(net, server, beginning(key))[0], Lost)
    answered(
        net,
        server,
        ResumeQuery.telling_settled("client", client.incarnation, "server", 900, ((1000, 1000 + REMEMBERED_STREAMS),)),
    )
    answered(net, server, beginning(key))
    assert server.got(key) == SMALL


def pings(runs: int) -> list[Ping]:
    """Every second id is settled."""
    ids = [(number, number) for number in range(2, 2 * runs + 2, 2)]
    return [Ping(1, 1, tuple(ids[first : first + SETTLED_RUNS])) for first in range(0, runs, SETTLED_RUNS)]


def test_a_neighbour_with_too_many_runs_is_cut_off() -> None:
    net = Net()
    server, client = net.pair()
    receive(net, server, "client", ResumeQuery.showing_life("client", client.incarnation, "server"))
    for ping in pings(SETTLED_RUNS_KEPT - SETTLED_RUNS):
        receive(net, server, "client", ping)
    net.run()
    assert server.of(ProtocolBroken) == []
    for ping in pings(SETTLED_RUNS_KEPT)[-1:]:
        receive(net, server, "client", ping)
    net.run()
    assert [said.code for said in net.sent("server", Goodbye)] == [ErrorCode.LIMIT]


def test_a_far_origin_with_too_many_runs_waits_until_they_are_fewer() -> None:
    net = Net()
    nodes = tree(net, STAR)
    client, server = nodes["client"], nodes["server"]
    for ping in pings(SETTLED_RUNS_KEPT + 10 * SETTLED_RUNS):
        said = ResumeQuery.telling_settled("client", client.incarnation, "server", ping.settled_below, ping.settled)
        assert answered(net, server, said) == []
    key = client.key(2 * SETTLED_RUNS_KEPT + 1000)
    assert isinstance(answered(net, server, beginning(key))[0], Lost)
    # What is above the most is not known.
    (unknown,) = answered(net, server, ResumeQuery(client.key(2 * SETTLED_RUNS_KEPT + 100), "server", 2, True, 16))
    assert isinstance(unknown, ResumeReply)
    fewer = ResumeQuery.telling_settled("client", client.incarnation, "server", 2 * SETTLED_RUNS_KEPT, ())
    assert answered(net, server, fewer) == []
    answered(net, server, beginning(key))
    assert server.got(key) == SMALL


def test_of_many_that_ended_only_so_many_runs_are_made() -> None:
    life = OriginLife(1)
    for number in range(2, 2 * REMEMBERED_STREAMS + 2, 2):
        life.on_stream_ended(number, given_up(StreamKey("client", 1, number)))
    assert not life.has_room(0.0)
    assert not life.has_room(REMEMBERED_S)
    assert life.settled.run_count == SETTLED_RUNS_KEPT
    assert len(life.ended) == REMEMBERED_STREAMS - SETTLED_RUNS_KEPT


# Lives that are over.


def buried(past: PastLives, origin: str, incarnation: int) -> None:
    life = past.begin((origin, False), incarnation)
    life.on_stream_ended(5, given_up(StreamKey(origin, incarnation, 5)))
    past.bury((origin, False), life)


def is_remembered(past: PastLives, origin: str, incarnation: int) -> bool:
    return 5 in past.begin((origin, False), incarnation).settled


def test_the_lives_that_were_heard_of_longest_ago_are_forgotten() -> None:
    past = PastLives()
    buried(past, "first", 1)
    for number in range(PAST_LIVES - 2):
        buried(past, f"cell-{number}", 1)
    buried(past, "first", 2)
    assert is_remembered(past, "cell-0", 1)
    # There is room for one: what has begun again is not over.
    buried(past, "last", 1)
    buried(past, "last", 2)
    assert not is_remembered(past, "cell-1", 1)
    assert is_remembered(past, "cell-2", 1)
    assert [is_remembered(past, "first", life) for life in (1, 2)] == [True, True]


def test_an_origin_loses_its_oldest_life_first() -> None:
    past = PastLives()
    buried(past, "first", 1)
    buried(past, "first", 2)
    for number in range(PAST_LIVES - 1):
        buried(past, f"cell-{number}", 1)
    assert [is_remembered(past, "first", life) for life in (1, 2)] == [False, True]


def test_of_one_origin_sixteen_lives_are_remembered() -> None:
    past = PastLives()
    for life in range(1, 18):
        buried(past, "first", life)
    assert [is_remembered(past, "first", life) for life in range(1, 18)] == [False] + 16 * [True]


def test_lives_that_nothing_leads_to_are_forgotten_when_there_are_very_many() -> None:
    net = Net()
    nodes = tree(net, STAR)
    client, server = nodes["client"], nodes["server"]
    answered(net, server, beginning(client.key(7)))
    net.advance(1.0)
    # Nothing that the hub does not vouch for would come: here it is played.
    for number in range(PAST_LIVES + 2048):
        key = StreamKey(f"cell-{number}", 1, 7)
        receive(net, server, "hub", given_up(key))
    # Its last word is forgotten, and that nothing is to be taken in twice is not.
    (stale,) = answered(net, server, question(client.key(7)))
    assert isinstance(stale, Reset)
    assert stale.code is ErrorCode.STALE
    # What the last one said is known word by word.
    (word,) = answered(net, server, question(StreamKey(f"cell-{PAST_LIVES + 2047}", 1, 7)))
    assert isinstance(word, Reset)
    assert word.code is ErrorCode.CANCELLED
