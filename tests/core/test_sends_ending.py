"""Streams that end before they are done, seen from their origin: refused, cancelled, or out of time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamcell.errors import (
    BlobSizeError,
    CellError,
    ErrorCode,
    RequestFailed,
    StreamCancelled,
    StreamError,
    StreamRejected,
    StreamTimeout,
)
from streamcell.limits import KIB, MIB
from streamcell.protocol.base.events import StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, LaneRole, ResumeQuery, ResumeReply
from tests.core.harness import LARGE, SMALL, STREAMS, Net, Node, refusing
from tests.kit.payloads import pattern

# Refusals and cancels.


@pytest.mark.parametrize(
    ("code", "kind", "error"),
    [
        (ErrorCode.NO_CALLBACK, StreamKind.STREAM, StreamRejected),
        (ErrorCode.NO_CALLBACK, StreamKind.BLOB, StreamRejected),
        (ErrorCode.REJECTED, StreamKind.STREAM, StreamRejected),
        (ErrorCode.NO_CALLBACK, StreamKind.REQUEST, RequestFailed),
        (ErrorCode.REJECTED, StreamKind.REQUEST, RequestFailed),
        (ErrorCode.TOO_LARGE, StreamKind.REQUEST, BlobSizeError),
        (ErrorCode.INTERNAL, StreamKind.STREAM, StreamError),
    ],
)
def test_a_refusal_arrives_as_its_own_error(code: ErrorCode, kind: StreamKind, error: type[CellError]) -> None:
    net = Net()
    server, client = net.pair()
    server.on_opened = refusing(code, "no, thank you", server)
    stream_id = client.send("server", SMALL, kind=kind)
    net.run()
    assert type(client.error(stream_id)) is error
    assert (client.error(stream_id).code, str(client.error(stream_id))) == (code, "no, thank you")


Moment = Callable[[Net, Node, Node], None]


def nothing_yet(net: Net, server: Node, client: Node) -> None:
    pass


def offered(net: Net, server: Node, client: Node) -> None:
    server.auto_accept = False
    net.run()


def accepted_and_unread(net: Net, server: Node, client: Node) -> None:
    server.auto_read = server.auto_release = False
    net.run()


def received(net: Net, server: Node, client: Node) -> None:
    server.auto_release = False
    net.run()


def broken(net: Net, server: Node, client: Node) -> None:
    received(net, server, client)
    net.refuse_dials.add("server")
    net.cut_all()
    net.run()


def resuming(net: Net, server: Node, client: Node) -> None:
    received(net, server, client)
    net.tamper = lambda name, frame: None if isinstance(frame, ResumeReply) else frame
    net.cut_all()
    net.advance(1.0)


MOMENTS = (nothing_yet, offered, accepted_and_unread, received, broken, resuming)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", [*STREAMS, StreamKind.REQUEST])
def test_the_origin_can_cancel_at_any_moment(moment: Moment, data: bytes, kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.request("server", data) if kind is StreamKind.REQUEST else client.send("server", data, kind=kind)
    moment(net, server, client)
    client.core.cancel_send(stream_id, "changed my mind", net.now)
    net.refuse_dials.clear()
    net.advance(10.0)
    assert len(client.outcomes(stream_id)) == 1
    assert isinstance(client.error(stream_id), StreamCancelled)
    if kind is StreamKind.REQUEST:
        assert isinstance(client.request_error(stream_id), StreamCancelled)
    if client.key(stream_id) in server.opened:
        failure = server.failure(client.key(stream_id))
        assert isinstance(failure.error, StreamCancelled)
        assert failure.discard
    assert (server.core.stats().receives, client.core.stats().sends) == ((), ())
    assert client.core.open_sends() == 0


@pytest.mark.parametrize("moment", MOMENTS[1:])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", STREAMS)
def test_the_target_can_cancel_at_any_moment(moment: Moment, data: bytes, kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", data, kind=kind)
    moment(net, server, client)
    server.core.cancel_receive(client.key(stream_id), "do not want it", net.now)
    net.tamper = None
    net.refuse_dials.clear()
    net.advance(10.0)
    assert isinstance(client.error(stream_id), StreamCancelled)
    assert isinstance(server.receive_error(client.key(stream_id)), StreamCancelled)
    assert (server.core.stats().receives, client.core.stats().sends) == ((), ())


def test_a_cancel_that_overtakes_the_stream_calls_no_callback() -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    server.seen.clear()
    bulk_end = net.peers["client", client.lane(LaneRole.BULK)]
    net.hold.add(bulk_end)
    stream_id = client.send("server", LARGE)
    net.run()
    client.core.cancel_send(stream_id, "changed my mind", net.now)
    net.run()
    net.hold.clear()
    net.advance(1.0)
    assert server.of(StreamOpened) == []
    assert server.core.stats().receives == ()


# Time.


def test_a_reader_that_never_reads_times_out_at_both_ends() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", LARGE, idle_timeout_s=20.0)
    net.run()
    server.core.callback_started(client.key(stream_id), net.now)
    net.advance(19.0)
    assert client.outcomes(stream_id) == []
    net.advance(2.0)
    assert isinstance(client.error(stream_id), StreamTimeout)
    assert isinstance(server.receive_error(client.key(stream_id)), StreamTimeout)


def test_a_reader_that_reads_a_little_is_given_time() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", pattern(4 * MIB), idle_timeout_s=20.0)
    key = client.key(stream_id)
    net.run()
    server.core.callback_started(key, net.now)
    for number in range(1, 30):
        net.advance(19.0)
        server.read(key, number * 64 * KIB)
        net.run()
    assert client.outcomes(stream_id) == []


@pytest.mark.parametrize("first", [b"", SMALL, LARGE], ids=["nothing", "little", "much"])
def test_a_slow_source_never_times_out(first: bytes) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None, idle_timeout_s=20.0)
    client.supply(stream_id, first)
    net.advance(1000.0)
    client.supply(stream_id, SMALL, end=True)
    net.run()
    assert server.got(client.key(stream_id)) == first + SMALL
    assert client.finished(stream_id)


def test_a_callback_that_waits_for_a_thread_never_times_out() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", LARGE, idle_timeout_s=20.0)
    net.advance(1000.0)
    assert client.outcomes(stream_id) == []
    key = client.key(stream_id)
    server.core.callback_started(key, net.now)
    server.auto_read = True
    server.read(key)
    net.run()
    assert client.finished(stream_id)


def test_a_callback_that_works_on_after_the_end_never_times_out() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", LARGE, idle_timeout_s=20.0)
    net.advance(1000.0)
    assert client.outcomes(stream_id) == []
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


def test_an_offer_that_is_not_answered_yet_never_times_out() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.send("server", LARGE, idle_timeout_s=20.0)
    net.advance(1000.0)
    server.accept(client.key(stream_id), assemble=True)
    net.run()
    assert client.finished(stream_id)


def test_a_target_that_falls_silent_is_a_timeout() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL, idle_timeout_s=20.0)
    net.advance(1.0)
    net.kill("server")
    net.advance(21.0)
    assert isinstance(client.error(stream_id), StreamTimeout)


def test_an_origin_that_falls_silent_is_a_timeout() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", SMALL, end=False, idle_timeout_s=20.0)
    net.run()
    net.kill("client")
    net.advance(21.0)
    assert isinstance(server.receive_error(client.key(stream_id)), StreamTimeout)


def test_an_answer_to_a_probe_is_no_sign_of_life() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    client.stream("server", LARGE, idle_timeout_s=20.0)
    net.run()
    (key,) = server.opened
    server.core.callback_started(key, net.now)
    net.advance(25.0)
    replies = net.sent("server", ResumeReply)
    assert replies
    assert all(reply.probe for reply in replies)
    assert isinstance(client.error(key.stream_id), StreamTimeout)


def test_an_idle_timeout_of_zero_is_never() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", LARGE, idle_timeout_s=0.0)
    net.run()
    server.core.callback_started(client.key(stream_id), net.now)
    net.advance(1e5)
    assert client.outcomes(stream_id) == []


def test_life_is_shown_every_quarter_of_the_idle_timeout() -> None:
    net = Net()
    _server, client = net.pair()
    client.stream("server", None, idle_timeout_s=20.0)
    net.run()
    probes, acks = len(net.sent("client", ResumeQuery)), len(net.sent("server", Ack))
    net.advance(51.0)
    assert len(net.sent("client", ResumeQuery)) - probes == 10
    assert len(net.sent("server", Ack)) - acks == 10
