"""Requests and replies between two cells."""

from __future__ import annotations

import pytest

from streamcell.config import CellConfig
from streamcell.errors import (
    BlobSizeError,
    ErrorCode,
    RequestFailed,
    RequestTimeout,
    StreamCancelled,
    StreamError,
    StreamOutcomeUnknown,
    StreamTargetUnreachable,
)
from streamcell.limits import MIB
from streamcell.protocol.base.events import RequestEnded, StreamOpened
from streamcell.protocol.requests import Request, RequestTable, Standing
from streamcell.protocol.wire.description import ReplyTo, StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Reset
from tests.core.harness import LARGE, SMALL, Net, Node, make_context, refusing
from tests.kit.payloads import pattern


def ended(node: Node) -> list[int]:
    return [event.stream_id for event in node.of(RequestEnded)]


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_a_reply_comes_once_and_ends_the_request(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    server.answer = lambda request: request[::-1]
    request = client.request("server", data)
    net.run()
    assert client.replies(request) == [data[::-1]]
    net.advance(100.0)
    assert ended(client) == []
    assert (client.core.open_sends(), client.core.stats().receives, server.core.stats().sends) == (0, (), ())


def test_a_reply_carries_its_code() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    request = client.request("server", SMALL)
    net.run()
    server.core.release(client.key(request), net.now)
    failed = ReplyTo(request, client.incarnation, ErrorCode.REQUEST_FAILED, "it raised")
    server.reply(server.opened[client.key(request)], b"", reply_to=failed)
    net.run()
    (opened,) = client.of(StreamOpened)
    assert opened.description.reply_to == failed


def test_a_reply_may_come_before_the_request_is_confirmed() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    request = client.request("server", SMALL)
    net.run()
    server.reply(server.opened[client.key(request)], LARGE)
    net.run()
    assert client.replies(request) == [LARGE]
    assert client.outcomes(request) == []
    server.core.release(client.key(request), net.now)
    net.run()
    assert client.finished(request)


def test_a_target_that_is_not_there_is_unreachable() -> None:
    net = Net()
    client = net.node("client")
    request = client.request("server", SMALL, timeout_s=7.0)
    net.advance(6.9)
    assert ended(client) == []
    net.advance(0.2)
    assert isinstance(client.request_error(request), StreamTargetUnreachable)


@pytest.mark.parametrize("released", [True, False])
def test_a_target_that_acknowledged_and_does_not_reply_is_a_timeout(released: bool) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = released
    request = client.request("server", SMALL, timeout_s=7.0)
    net.advance(7.1)
    error = client.request_error(request)
    assert isinstance(error, RequestTimeout)
    assert ("all request threads of server are in use" in str(error)) is not released


def test_a_request_that_has_come_in_part_is_a_timeout() -> None:
    net = Net()
    _server, client = net.pair()
    net.tamper = lambda name, frame: None if isinstance(frame, Chunk) and frame.last else frame
    request = client.request("server", LARGE, timeout_s=7.0)
    net.advance(7.1)
    assert str(client.request_error(request)).endswith("server got the request c/t and did not reply in time")


def test_a_request_that_waits_for_others_is_a_timeout_that_says_so() -> None:
    net = Net()
    server, client = net.node("server"), net.node("client", CellConfig(max_requests_per_peer=1))
    client.connect("server")
    net.run()
    server.auto_release = False
    client.request("server", SMALL, timeout_s=0.0)
    request = client.request("server", SMALL, timeout_s=7.0)
    net.advance(7.1)
    error = client.request_error(request)
    assert isinstance(error, RequestTimeout)
    assert "was not sent in time: as many others to server" in str(error)


def test_a_request_that_was_not_acknowledged_is_unreachable_even_if_it_was_sent() -> None:
    net = Net()
    _server, client = net.pair()
    net.tamper = lambda name, frame: None if isinstance(frame, Ack) else frame
    request = client.request("server", SMALL, timeout_s=7.0)
    net.advance(7.1)
    assert isinstance(client.request_error(request), StreamTargetUnreachable)


def test_without_a_timeout_a_reply_is_waited_for_without_end() -> None:
    net = Net()
    server, client = net.pair()
    request = client.request("server", SMALL, timeout_s=0.0)
    net.advance(10_000.0)
    assert ended(client) == []
    server.reply(server.opened[client.key(request)], b"at last")
    net.run()
    assert client.replies(request) == [b"at last"]


@pytest.mark.parametrize("way", ["queued", "unreachable", "unread"])
def test_at_its_end_a_request_is_not_sent_any_more(way: str) -> None:
    net = Net()
    server, client = net.node("server"), net.node("client", CellConfig(max_requests_per_peer=1))
    if way != "unreachable":
        client.connect("server")
        net.run()
    server.auto_accept = False
    if way == "queued":
        client.request("server", SMALL, timeout_s=0.0)
    client.request("server", LARGE, timeout_s=5.0)
    net.advance(6.0)
    assert client.core.open_sends() == (2 if way == "queued" else 0)
    assert len(ended(client)) == 1
    if way == "unread":
        assert server.receive_error(client.key(1)).code is ErrorCode.TIMEOUT


def test_a_callback_that_is_missing_fails_the_request_at_once() -> None:
    net = Net()
    server, client = net.pair()
    server.on_opened = refusing(ErrorCode.NO_CALLBACK, "none for c/t", server)
    request = client.request("server", SMALL)
    net.run()
    assert isinstance(client.request_error(request), RequestFailed)
    net.advance(100.0)
    assert ended(client) == [request]


def test_a_reply_that_nobody_waits_for_is_refused() -> None:
    net = Net()
    server, client = net.pair()
    request = client.request("server", SMALL, timeout_s=5.0)
    net.advance(6.0)
    reply = server.reply(server.opened[client.key(request)], SMALL)
    net.run()
    assert isinstance(server.error(reply), StreamCancelled)
    assert client.of(StreamOpened) == []


def test_a_second_reply_is_refused() -> None:
    net = Net()
    server, client = net.pair()
    request = client.request("server", SMALL)
    net.run()
    opened = server.opened[client.key(request)]
    server.reply(opened, b"one")
    net.run()
    second = server.reply(opened, b"two")
    net.run()
    assert client.replies(request) == [b"one"]
    assert isinstance(server.error(second), StreamCancelled)


def test_only_the_target_of_a_request_can_reply() -> None:
    net = Net()
    server, client = net.pair()
    stranger = net.node("stranger")
    client.connect_peer("stranger")
    net.run()
    request = client.request("server", SMALL)
    net.run()
    forged = stranger.reply(server.opened[client.key(request)], b"forged")
    net.run()
    assert isinstance(stranger.error(forged), StreamCancelled)
    server.reply(server.opened[client.key(request)], b"true")
    net.run()
    assert client.replies(request) == [b"true"]
    assert ended(client) == []


def test_a_request_that_is_cancelled_forgets_its_reply() -> None:
    net = Net()
    server, client = net.pair()
    request = client.request("server", SMALL)
    net.run()
    client.core.cancel_send(request, "not needed", net.now)
    net.run()
    assert isinstance(client.request_error(request), StreamCancelled)
    server.reply(server.opened[client.key(request)], SMALL)
    net.run()
    assert client.of(StreamOpened) == []


def test_a_reply_that_fails_ends_the_request() -> None:
    net = Net()
    server, client = net.pair()
    request = client.request("server", SMALL)
    net.run()
    reply = server.reply(server.opened[client.key(request)], LARGE[:100], size=len(LARGE), end=False)
    net.run()
    server.core.cancel_send(reply, "changed my mind", net.now)
    net.run()
    assert isinstance(client.request_error(request), StreamCancelled)


def test_a_reply_that_is_too_large_ends_the_request() -> None:
    net = Net()
    server, client = net.pair(CellConfig(), CellConfig(max_blob_bytes=MIB))
    server.answer = lambda request: pattern(MIB + 1)
    request = client.request("server", SMALL)
    net.run()
    assert isinstance(client.request_error(request), BlobSizeError)


def test_requests_go_through_a_broken_link() -> None:
    net = Net()
    server, client = net.pair()
    server.answer = lambda request: request
    request = client.request("server", LARGE)
    for _ in range(5):
        net.step()
    net.cut_all()
    net.advance(1.0)
    assert client.replies(request) == [LARGE]


def test_a_message_that_wants_no_reply_is_confirmed_like_a_blob() -> None:
    net = Net()
    server, client = net.pair()
    server.answer = lambda request: request
    stream_id = client.send("server", SMALL, kind=StreamKind.REQUEST, no_reply=True)
    net.run()
    assert client.finished(stream_id)
    assert server.of(StreamOpened)[0].description.no_reply
    assert net.sent("server", Reset) == []
    assert client.of(StreamOpened) == []


def test_a_timer_without_an_owner_is_nothing() -> None:
    request = Request(1, "server", "c/t", 5.0, sealed=False)
    request.handle_timer(9.0)
    assert request.holder is None


def test_a_reply_to_an_earlier_life_is_not_taken_for_one_to_this() -> None:
    net = Net()
    server, client = net.pair()
    asked = client.request("server", b"question of the first life")
    net.run()
    newer = net.restart("client")
    net.run()
    asked_again = newer.request("server", b"question of the second life")
    net.run()
    assert asked == asked_again
    server.reply(server.opened[client.key(asked)], b"answer to the first life")
    net.run()
    server.reply(server.opened[newer.key(asked_again)], b"answer to the second life")
    net.run()
    assert newer.replies(asked_again) == [b"answer to the second life"]
    assert ended(newer) == []


def test_a_reply_whose_sender_was_restarted_leaves_the_outcome_unknown() -> None:
    context = make_context()
    requests = RequestTable(context, lambda stream_id: Standing.WHOLE, lambda stream_id, error, now: None)
    requests.add(1, "server", "c/t", None)
    mine, other_life = context.incarnation, context.incarnation + 1
    for nobodys in (None, ReplyTo(2, mine), ReplyTo(1, other_life)):
        assert not requests.awaits(nobodys, "server")
        requests.on_reply_ended(nobodys, "server", StreamError("that nobody waits for", ErrorCode.RESUME))
    assert not requests.awaits(ReplyTo(1, mine), "another")
    requests.on_reply_ended(
        ReplyTo(1, mine), "server", StreamError("server was restarted in the middle of stream 9", ErrorCode.RESUME)
    )
    (event,) = context.events
    assert isinstance(event, RequestEnded)
    assert isinstance(event.error, StreamOutcomeUnknown)
    assert len(requests) == 0
