"""What one origin may have open at a target, and what its streams may hold before anybody takes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.limits import (
    INITIAL_CREDIT_BYTES,
    KIB,
    MIB,
    REQUESTS_IN_EXCESS,
    REQUESTS_OF_ORIGIN,
    STREAMS_IN_EXCESS,
    STREAMS_OF_FREE_CREDIT,
    STREAMS_OF_ORIGIN,
)
from streamcell.protocol.base.events import ReceiveFailed, SendFinished, StreamOpened
from streamcell.protocol.wire.description import ReplyTo, StreamKind
from streamcell.protocol.wire.frames import Chunk, Frame, Goodbye, Lost, LostReason, Open, ResumeQuery, ResumeReply
from tests.core.by_hand import chunk
from tests.core.harness import SMALL, Net, Node, make_open
from tests.core.trees import receive
from tests.kit.payloads import pattern

MOST_STREAMS = STREAMS_OF_ORIGIN + STREAMS_IN_EXCESS
MOST_REQUESTS = REQUESTS_OF_ORIGIN + REQUESTS_IN_EXCESS


def patient(**config: Any) -> tuple[Net, Node, Node]:
    """A server that takes no stream before it is told to, and its client."""
    net = Net()
    server, client = net.pair(CellConfig(**config), CellConfig())
    server.auto_accept = False
    return net, server, client


def beginning(client: Node, stream_id: int, opening: Open, payload: bytes = b"") -> Chunk:
    return chunk(client.key(stream_id), payload, opening=opening)


def losses(net: Net, server: Node, frames: Iterable[Frame]) -> list[int]:
    """Return the streams for which there was no room."""
    before = len(net.sent("server", Lost))
    receive(net, server, "client", *frames)
    net.run()
    lost = net.sent("server", Lost)[before:]
    assert {frame.reason for frame in lost} <= {LostReason.LIMIT}
    return [frame.key.stream_id for frame in lost]


def end(net: Net, server: Node, client: Node, stream_id: int) -> None:
    server.core.reject(client.key(stream_id), ErrorCode.REJECTED, "no", net.now)
    net.run()


# How many.


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
def test_so_many_streams_of_one_origin_are_open(kind: StreamKind) -> None:
    net, server, client = patient()
    opening = make_open(kind, 0)
    assert losses(net, server, (beginning(client, number, opening) for number in range(1, MOST_STREAMS + 1))) == []
    assert losses(net, server, [beginning(client, 5000, opening)]) == [5000]
    # What it asks about is not remembered, so that it may ask as often as it likes.
    assert losses(net, server, [ResumeQuery(client.key(5000), "server", 2, False, 16)]) == [5000]
    end(net, server, client, 7)
    (reply,) = answers(net, server, ResumeQuery(client.key(5000), "server", 3, False, 16))
    assert isinstance(reply, ResumeReply)
    assert reply.unknown
    assert losses(net, server, [beginning(client, 5001, opening)]) == []
    assert net.sent("server", Goodbye) == []


def answers(net: Net, server: Node, frame: Frame) -> list[Frame]:
    before = len(net.carried)
    receive(net, server, "client", frame)
    net.run()
    return [said for name, _, said in net.carried[before:] if name == "server"]


def test_requests_and_replies_are_counted_apart() -> None:
    net, server, client = patient()
    request = make_open(StreamKind.REQUEST, 0)
    ids = itertools.count(1)
    assert losses(net, server, (beginning(client, next(ids), request) for _ in range(MOST_REQUESTS))) == []
    assert losses(net, server, [beginning(client, 5000, request)]) == [5000]
    asked = [server.request("client", SMALL, timeout_s=0) for _ in range(1)]
    net.run()
    reply = make_open(StreamKind.REPLY, 0, reply_to=ReplyTo(asked[0], server.incarnation))
    assert losses(net, server, (beginning(client, next(ids), reply) for _ in range(MOST_REQUESTS))) == []
    assert losses(net, server, [beginning(client, 5001, reply)]) == [5001]
    assert losses(net, server, [beginning(client, 5002, make_open(StreamKind.STREAM, 0))]) == []


def test_a_request_counts_until_its_reply_is_settled() -> None:
    net = Net()
    server, client = net.pair()
    request = make_open(StreamKind.REQUEST, len(SMALL))
    frames = [chunk(client.key(number), SMALL, last=True, opening=request) for number in range(1, MOST_REQUESTS + 1)]
    assert losses(net, server, frames) == []
    # The application has them all: none is open any more.
    assert len(server.ends()) == MOST_REQUESTS
    assert losses(net, server, [beginning(client, 5000, request)]) == [5000]
    silent = make_open(StreamKind.REQUEST, len(SMALL), no_reply=True)
    server.send("client", b"", kind=StreamKind.REPLY, reply_to=ReplyTo(1, client.incarnation))
    net.run()
    # One that wants no reply counts no longer than it is open.
    for number in range(6000, 6005):
        assert losses(net, server, [chunk(client.key(number), SMALL, last=True, opening=silent)]) == []
    assert losses(net, server, [beginning(client, 7000, request)]) == []
    assert losses(net, server, [beginning(client, 7001, request)]) == [7001]


def test_a_reply_to_another_life_frees_nothing() -> None:
    net = Net()
    server, client = net.pair()
    request = make_open(StreamKind.REQUEST, len(SMALL))
    frames = [chunk(client.key(number), SMALL, last=True, opening=request) for number in range(1, MOST_REQUESTS + 1)]
    assert losses(net, server, frames) == []
    server.send("client", b"", kind=StreamKind.REPLY, reply_to=ReplyTo(1, client.incarnation + 1))
    server.send("nobody", b"", kind=StreamKind.REPLY, reply_to=ReplyTo(1, client.incarnation), optional=True)
    net.run()
    assert losses(net, server, [beginning(client, 5000, request)]) == [5000]


def test_an_application_that_asks_for_more_than_a_target_takes_gets_it_in_turns() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(max_streams_per_peer=100_000, max_requests_per_peer=100_000))
    ids = [client.send("server", SMALL) for _ in range(2 * MOST_STREAMS)]
    requests = [client.send("server", SMALL, kind=StreamKind.REQUEST, no_reply=True) for _ in range(2 * MOST_REQUESTS)]
    net.run()
    assert sorted(event.stream_id for event in client.of(SendFinished)) == ids + requests
    assert net.sent("server", Lost) == []


def test_an_origin_that_keeps_no_limit_of_its_own_gets_all_through_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 20
    monkeypatch.setattr("streamcell.protocol.receiving.lives._MOST_STREAMS", most)
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    ids = [client.send("server", SMALL) for _ in range(2 * most)]
    # Longer than a target may be out of reach: those for which there is no room wait as in line.
    net.advance(500.0)
    assert len(server.of(StreamOpened)) == most
    assert [client.outcomes(stream_id) for stream_id in ids if client.outcomes(stream_id)] == []
    server.auto_accept = True
    for opened in server.of(StreamOpened):
        server.accept(opened.key, assemble=True)
    net.advance(60.0)
    assert [stream_id for stream_id in ids if not client.finished(stream_id)] == []
    assert net.sent("server", Goodbye) == []


# What they hold.


def test_the_initial_credit_of_more_than_the_first_streams_is_taken_from_the_budget() -> None:
    room = 3
    net, server, client = patient(receive_budget_bytes=room * INITIAL_CREDIT_BYTES)
    opening = make_open(StreamKind.STREAM)
    # Half of the budget more is there for those who come when others hold all of it.
    most = STREAMS_OF_FREE_CREDIT + room
    assert losses(net, server, (beginning(client, number, opening) for number in range(1, most + 1))) == []
    assert losses(net, server, [beginning(client, 5000, opening)]) == [5000]
    # What says that it is small takes as little.
    assert losses(net, server, [beginning(client, 5001, make_open(StreamKind.STREAM, 0))]) == []
    end(net, server, client, most)
    assert losses(net, server, [beginning(client, 5002, opening)]) == []


def test_a_blob_that_is_admitted_is_counted_once() -> None:
    net, server, client = patient(receive_budget_bytes=INITIAL_CREDIT_BYTES)
    small, opening = make_open(StreamKind.STREAM, 0), make_open(StreamKind.BLOB, MIB)
    frames = [beginning(client, number, small) for number in range(1, STREAMS_OF_FREE_CREDIT + 1)]
    assert losses(net, server, frames) == []
    assert losses(net, server, [beginning(client, 5000, opening)]) == []
    assert losses(net, server, [beginning(client, 5001, opening)]) == [5001]
    server.accept(client.key(5000), assemble=True)
    assert losses(net, server, [beginning(client, 5001, opening)]) == []


def test_before_its_first_credit_a_stream_goes_no_further_than_the_initial_one() -> None:
    net, server, client = patient()
    key, opening = client.key(5000), make_open(StreamKind.STREAM)
    within = chunk(key, pattern(100 * KIB), opening=opening)
    assert losses(net, server, [within]) == []
    assert losses(net, server, [chunk(key, pattern(200 * KIB), offset=100 * KIB)]) == [5000]
    # An end without a byte needs no credit.
    assert losses(net, server, [chunk(key, b"", offset=INITIAL_CREDIT_BYTES + 1)]) == []
    server.accept(key)
    net.run()
    assert losses(net, server, [chunk(key, pattern(2 * MIB), offset=100 * KIB)]) == []
    assert server.of(ReceiveFailed) == []


def test_large_headers_are_taken_from_the_budget_until_the_stream_ends() -> None:
    net, server, client = patient(receive_budget_bytes=MIB)
    large = make_open(StreamKind.STREAM, 0, headers=(("key", bytes(500_000)),))
    assert losses(net, server, [beginning(client, 1, large), beginning(client, 2, large)]) == []
    assert losses(net, server, [beginning(client, 3, large)]) == [3]
    # Small ones of the first streams are free.
    small = make_open(StreamKind.STREAM, 0, headers=(("key", bytes(1000)),))
    assert losses(net, server, [beginning(client, 4, small)]) == []
    # They are kept when the stream is taken.
    server.accept(client.key(1))
    net.run()
    assert losses(net, server, [beginning(client, 3, large)]) == [3]
    end(net, server, client, 2)
    assert losses(net, server, [beginning(client, 3, large)]) == []


def test_a_stream_of_a_restarted_origin_takes_the_headers_of_its_new_life() -> None:
    net = Net()
    server, client = net.pair(CellConfig(receive_budget_bytes=MIB), CellConfig())
    fields: dict[str, Any] = {"resume_id": "r", "source_stamp": b"s", "awaits_offset": True}
    large = make_open(StreamKind.STREAM, 1000, headers=(("key", bytes(500_000)),), **fields)
    assert losses(net, server, [beginning(client, 1, large)]) == []
    for _ in range(3):
        net.restart("client")
        net.run()
        assert losses(net, server, [beginning(net.nodes["client"], 1, large)]) == []
    other = make_open(StreamKind.STREAM, 0, headers=(("key", bytes(500_000)),))
    client = net.nodes["client"]
    assert losses(net, server, [beginning(client, 2, other), beginning(client, 3, other)]) == [3]
    end(net, server, client, 1)
    assert losses(net, server, [beginning(client, 3, other)]) == []
