"""What becomes of streams, seen from their origin."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from streamcell.config import CellConfig
from streamcell.errors import (
    BlobSizeError,
    CellError,
    ErrorCode,
    Fault,
    ProtocolError,
    RequestFailed,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamOutcomeUnknown,
    StreamRejected,
    StreamResumeError,
    StreamTargetUnreachable,
    StreamTimeout,
)
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB, SHARED_LANE_IN_FLIGHT_BYTES, SMALL_STREAM_BYTES
from streamcell.protocol.events import SendFinished, SourceSeekWanted, StreamOpened
from streamcell.protocol.frames import (
    Ack,
    Chunk,
    Credit,
    Frame,
    LaneRole,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKind,
)
from tests.unit.protocol.harness import LARGE, SMALL, Net, Node, pattern, refusing

STREAMS = (StreamKind.STREAM, StreamKind.BLOB)
WHOLE = (StreamKind.BLOB, StreamKind.REQUEST)


def sending_states(node: Node) -> list[tuple[str, int]]:
    return [(send.state, send.attempt) for send in node.core.stats().sends]


# Completion.


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("known", [True, False])
def test_everything_arrives_and_is_confirmed(kind: StreamKind, data: bytes, known: bool) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", data, kind=kind, size=len(data) if known else None)
    net.run()
    assert server.got(client.key(stream_id)) == data
    assert client.outcomes(stream_id) == [SendFinished(stream_id, len(data))]
    assert (server.core.stats().receives, client.core.stats().sends) == ((), ())


@pytest.mark.parametrize("kind", STREAMS)
def test_the_listener_can_send_as_well(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = server.send("client", LARGE, kind=kind)
    net.run()
    assert client.got(server.key(stream_id)) == LARGE


def test_a_stream_succeeds_only_when_all_is_read_and_released() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", SMALL)
    key = client.key(stream_id)
    net.run()
    assert client.outcomes(stream_id) == []
    server.core.release(key, net.now)
    net.run()
    assert client.outcomes(stream_id) == []
    server.read(key)
    net.run()
    assert client.finished(stream_id)


def test_a_blob_succeeds_only_when_its_callback_has_started() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.send("server", SMALL)
    net.run()
    assert client.outcomes(stream_id) == []
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


def test_progress_is_what_the_target_confirmed() -> None:
    net = Net()
    _server, client = net.pair()
    stream_id = client.stream("server", LARGE)
    net.run()
    progress = client.progress(stream_id)
    assert progress == sorted(set(progress))
    assert progress[-1] == len(LARGE)


def test_a_complete_confirmation_may_be_the_first_news_of_progress() -> None:
    net = Net()
    _, client = net.pair()
    net.tamper = lambda name, frame: None if isinstance(frame, Ack) and not frame.complete else frame
    stream_id = client.send("server", SMALL)
    net.run()
    assert client.finished(stream_id)
    assert client.progress(stream_id) == [len(SMALL)]


def test_nothing_is_done_that_is_not_whole_even_if_the_target_says_so() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", SMALL, end=False)
    net.run()
    whole = Ack(client.key(stream_id), "server", 1, server.incarnation, len(SMALL), len(SMALL), True, 16)
    client.core.receive(client.lane(), [whole], net.now)
    net.run()
    assert client.outcomes(stream_id) == []


def test_a_target_that_confirms_more_than_was_sent_breaks_the_rules() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", SMALL, end=False)
    net.run()
    for received, consumed in ((len(SMALL) + 1, 0), (1, 2)):
        other = client.stream("server", SMALL, end=False)
        net.run()
        wrong = Ack(client.key(other), "server", 1, server.incarnation, received, consumed, False, 16)
        client.core.receive(client.lane(), [wrong], net.now)
        net.run()
        assert client.error(other).code is ErrorCode.PROTOCOL
        assert server.receive_error(client.key(other)).code is ErrorCode.PROTOCOL
    assert client.outcomes(stream_id) == []


# Sources.


def test_a_source_is_asked_for_no_more_than_there_is_room_for() -> None:
    net = Net()
    server, client = net.pair(CellConfig(read_ahead_bytes=64 * KIB))
    server.auto_accept = False
    stream_id = client.stream("server", None)
    net.run()
    supplied = 0
    while client.wanted.get(stream_id):
        room = client.wanted.pop(stream_id)
        assert room <= 64 * KIB
        client.supply(stream_id, pattern(room))
        supplied += room
        net.run()
    assert supplied == INITIAL_CREDIT_BYTES + 64 * KIB


def test_a_source_that_trickles_is_not_held_back() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    for piece in (b"a", b"bc", b"d"):
        client.supply(stream_id, piece)
        net.run()
        assert server.data[client.key(stream_id)].endswith(piece)
    client.supply(stream_id, b"", end=True)
    net.run()
    assert server.got(client.key(stream_id)) == b"abcd"


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("declared", [len(SMALL) - 1, len(SMALL) + 1])
def test_a_wrong_declared_size_fails_at_both_ends(kind: StreamKind, declared: int) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL, kind=kind, size=declared, end=False)
    net.run()
    client.supply(stream_id, b"" if kind is StreamKind.BLOB else SMALL, end=True)
    net.run()
    assert isinstance(client.error(stream_id), StreamIntegrityError)
    if client.key(stream_id) in server.opened:
        assert isinstance(server.receive_error(client.key(stream_id)), StreamIntegrityError)


def test_a_source_that_fails_fails_the_stream_with_its_error() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    client.core.fail_source(stream_id, StreamError("disk on fire", ErrorCode.SOURCE), net.now)
    client.core.fail_source(stream_id, StreamError("again", ErrorCode.SOURCE), net.now)
    net.run()
    failure = server.failure(client.key(stream_id))
    assert (failure.error.code, str(failure.error)) == (ErrorCode.SOURCE, "disk on fire")
    # What came before is still readable.
    assert not failure.discard
    assert server.data[client.key(stream_id)] == SMALL
    assert client.error(stream_id).code is ErrorCode.SOURCE


def test_verbs_for_a_stream_that_has_ended_are_ignored() -> None:
    net = Net()
    _server, client = net.pair()
    stream_id = client.send("server", SMALL)
    net.run()
    client.supply(stream_id, SMALL, end=True)
    client.core.cancel_send(stream_id, "late", net.now)
    net.run()
    assert client.outcomes(stream_id) == [SendFinished(stream_id, len(SMALL))]


def test_bytes_after_the_end_of_the_source_are_ignored() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.send("server", SMALL)
    client.supply(stream_id, b"more", end=True)
    net.run()
    assert server.data[client.key(stream_id)] == SMALL


def test_the_digest_of_the_source_arrives_with_the_end() -> None:
    net = Net()
    server, client = net.pair()
    client.stream("server", SMALL, source_digest="sha256:ab", digest_follows=True)
    net.run()
    (opened,) = server.opened.values()
    assert (opened.digest, opened.digest_follows) == ("", True)
    assert [event.digest for event in server.ends()] == ["sha256:ab"]


# Starting.


def test_streams_beyond_the_slots_wait_in_order() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_streams_per_peer=2))
    server.auto_release = False
    ids = [client.send("server", SMALL) for _ in range(5)]
    net.run()
    assert [key.stream_id for key in server.opened] == ids[:2]
    for number, stream_id in enumerate(ids):
        server.core.release(client.key(stream_id), net.now)
        net.run()
        assert len(server.opened) == min(5, 3 + number)
    assert all(client.finished(stream_id) for stream_id in ids)


def test_requests_have_slots_of_their_own_and_replies_need_none() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_streams_per_peer=1, max_requests_per_peer=1))
    server.auto_release = False
    client.send("server", SMALL)
    requests = [client.request("server", SMALL) for _ in range(2)]
    net.run()
    assert [opened.kind for opened in server.opened.values()] == [StreamKind.BLOB, StreamKind.REQUEST]
    blocker = server.send("client", SMALL)
    client.auto_release = False
    net.run()
    first = server.opened[client.key(requests[0])]
    server.reply(first, b"one")
    server.reply(first, b"two")
    net.run()
    assert len(client.opened) == 3
    assert server.outcomes(blocker) == []


def test_other_targets_do_not_wait_for_the_slots_of_one() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_streams_per_peer=1))
    other = net.node("other", CellConfig(max_streams_per_peer=1))
    other.connect("server")
    net.run()
    client.auto_release = False
    server.send("client", SMALL)
    free = server.send("other", SMALL)
    net.run()
    assert server.finished(free)


def test_a_stream_that_is_cancelled_while_it_waits_takes_no_slot() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_streams_per_peer=1))
    server.auto_release = False
    first, second, third = (client.send("server", SMALL) for _ in range(3))
    net.run()
    client.core.cancel_send(second, "not now", net.now)
    server.core.release(client.key(first), net.now)
    net.run()
    assert [key.stream_id for key in server.opened] == [first, third]
    assert isinstance(client.error(second), StreamCancelled)


def test_a_stream_that_never_started_frees_no_slot() -> None:
    net = Net()
    server, client = net.node("server"), net.node("client", CellConfig(max_streams_per_peer=1))
    server.auto_release = False
    for _ in range(3):
        client.send("server", SMALL, optional=True)
    client.connect("server")
    net.run()
    for _ in range(3):
        client.send("server", SMALL)
    net.run()
    assert len(server.opened) == 1


def test_a_stream_waits_for_its_target_to_connect() -> None:
    net = Net()
    server, client = net.node("server"), net.node("client")
    stream_id = client.send("server", LARGE)
    net.advance(100.0)
    client.connect("server")
    net.run()
    assert server.got(client.key(stream_id)) == LARGE


@pytest.mark.parametrize("kind", STREAMS)
def test_a_target_that_never_appears_is_unreachable_in_time(kind: StreamKind) -> None:
    net = Net()
    client = net.node("client")
    stream_id = client.send("server", LARGE, kind=kind, unreachable_timeout_s=7.0)
    net.advance(6.9)
    assert client.outcomes(stream_id) == []
    net.advance(0.2)
    assert isinstance(client.error(stream_id), StreamTargetUnreachable)
    assert client.core.next_deadline() is None


def test_without_a_timeout_it_is_waited_for_without_end() -> None:
    net = Net()
    client = net.node("client")
    stream_id = client.send("server", LARGE, unreachable_timeout_s=0.0)
    net.advance(1e6)
    assert client.outcomes(stream_id) == []


def test_the_time_runs_from_the_start_not_from_the_wait_for_a_slot() -> None:
    net = Net()
    client = net.node("client", CellConfig(max_streams_per_peer=1))
    first, second = (client.send("server", SMALL, unreachable_timeout_s=5.0) for _ in range(2))
    net.advance(5.5)
    assert isinstance(client.error(first), StreamTargetUnreachable)
    assert client.outcomes(second) == []
    net.advance(5.0)
    assert isinstance(client.error(second), StreamTargetUnreachable)


def test_optional_fails_at_once_without_a_way() -> None:
    net = Net()
    client = net.node("client")
    stream_id = client.send("server", SMALL, optional=True)
    net.run()
    assert isinstance(client.error(stream_id), StreamTargetUnreachable)


def test_optional_fails_when_the_link_goes_down() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    optional, patient = client.send("server", SMALL, optional=True), client.send("server", SMALL)
    net.run()
    net.kill("server")
    net.advance(31.0)
    assert isinstance(client.error(optional), StreamTargetUnreachable)
    assert client.outcomes(patient) == []


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


# Attempts.


def test_a_broken_lane_costs_only_what_was_not_confirmed() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", LARGE)
    net.run()
    net.cut_all()
    net.advance(1.0)
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)
    assert client.core.stats().bytes_retransmitted == 0
    assert client.core.stats().resumes == 1


def test_a_stream_that_has_nothing_to_confirm_keeps_its_attempt() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    # Make the Ack say all of it.
    net.advance(76.0)
    net.cut_all()
    net.advance(1.0)
    client.supply(stream_id, SMALL, end=True)
    net.run()
    assert server.got(client.key(stream_id)) == SMALL + SMALL
    assert {chunk.attempt for chunk in net.sent("client", Chunk)} == {1}


def test_each_attempt_is_asked_for_once_and_begun_with_an_open_part() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    client.stream("server", LARGE)
    net.run()
    for _ in range(3):
        net.cut_all()
        net.advance(10.0)
    queries = [query.attempt for query in net.sent("client", ResumeQuery) if not query.probe]
    opened = [chunk.attempt for chunk in net.sent("client", Chunk) if chunk.open is not None]
    assert (queries, opened) == ([2, 3, 4], [1, 2, 3, 4])


def test_within_an_attempt_each_byte_goes_once() -> None:
    net = Net()
    _server, client = net.pair()
    client.stream("server", LARGE)
    for _ in range(6):
        net.step()
    net.cut_all()
    net.advance(10.0)
    seen: set[tuple[int, int]] = set()
    for chunk in net.sent("client", Chunk):
        for byte in range(chunk.offset, chunk.offset + len(chunk.payload), 1024):
            assert (chunk.attempt, byte) not in seen
            seen.add((chunk.attempt, byte))


def lost(node: Node, stream_id: int, attempt: int = 1) -> Lost:
    return Lost(node.key(stream_id), "server", attempt, LostReason.NO_ROUTE, "relay", 16)


def test_lost_begins_an_attempt_and_a_second_one_waits() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Ack) else frame
    client.core.receive(client.lane(), [lost(client, stream_id)], net.now)
    net.run()
    assert sending_states(client) == [("finishing", 2)]
    client.core.receive(client.lane(), [lost(client, stream_id, 2)], net.now)
    net.run()
    assert sending_states(client) == [("backing_off", 2)]
    net.advance(1.0)
    assert sending_states(client) == [("finishing", 3)]


def test_the_wait_grows_to_its_maximum_and_an_ack_ends_it() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Ack) else frame
    waits = []
    for _ in range(9):
        ((_, attempt),) = sending_states(client)
        client.core.receive(client.lane(), [lost(client, stream_id, attempt)], net.now)
        net.run()
        began = net.now
        while sending_states(client)[0][0] == "backing_off":
            net.advance(0.05)
        waits.append(net.now - began)
    assert waits[0] == 0.0
    assert 0.1 <= waits[1] <= 0.5
    assert 2.4 <= waits[-1] <= 5.1
    net.tamper = None
    ((_, attempt),) = sending_states(client)
    client.core.receive(client.lane(), [lost(client, stream_id, attempt)], net.now)
    net.advance(6.0)
    ((_, attempt),) = sending_states(client)
    client.core.receive(client.lane(), [lost(client, stream_id, attempt)], net.now)
    net.run()
    assert sending_states(client) == [("finishing", attempt + 1)]


def test_a_query_that_is_lost_is_asked_again_after_a_wait() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()

    def lose_query(name: str, frame: Frame) -> Frame | None:
        return None if isinstance(frame, ResumeQuery) else frame

    net.tamper = lose_query
    client.core.receive(client.lane(), [lost(client, stream_id)], net.now)
    net.run()
    client.core.receive(client.lane(), [lost(client, stream_id, 2)], net.now)
    net.run()
    assert sending_states(client) == [("backing_off", 2)]
    net.tamper = None
    net.advance(1.0)
    assert sending_states(client) == [("finishing", 3)]


@pytest.mark.parametrize("kind", STREAMS)
def test_frames_of_an_earlier_attempt_are_dropped_but_a_complete_ack_counts(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.send("server", SMALL, kind=kind)
    net.run()
    net.cut_all()
    net.advance(1.0)
    key, size = client.key(stream_id), len(SMALL)
    before = client.core.stats().sends
    old: list[Frame] = [
        lost(client, stream_id),
        Credit(key, "server", 1, 999 * MIB),
        Ack(key, "server", 1, server.incarnation, 1, 1, False, 16),
        ResumeReply(key, "server", 1, server.incarnation, True, 0, 16),
    ]
    client.core.receive(client.lane(), old, net.now)
    net.run()
    assert client.core.stats().sends == before
    client.core.receive(client.lane(), [Ack(key, "server", 1, 0, size, size, True, 16)], net.now)
    net.run()
    assert client.finished(stream_id)


def test_frames_for_other_lives_and_other_streams_are_dropped() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    before = client.core.stats().sends
    for key in (client.key(stream_id)._replace(origin_incarnation=5), client.key(99), server.key(stream_id)):
        frames: list[Frame] = [
            Lost(key, "server", 1, LostReason.CORRUPT, "server", 16),
            Credit(key, "server", 1, 999 * MIB),
            Ack(key, "server", 1, 1, len(SMALL), len(SMALL), True, 16),
            Reset(key, "server", 1, True, ErrorCode.INTERNAL, Fault.TARGET, "no", 16),
            ResumeReply(key, "server", 1, 1, True, 0, 16),
        ]
        client.core.receive(client.lane(), frames, net.now)
    net.run()
    assert client.core.stats().sends == before


@pytest.mark.parametrize("kind", WHOLE)
def test_an_answer_outside_of_what_is_kept_ends_what_is_delivered_whole(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.send("server", LARGE, kind=kind, size=None)
    net.run()
    net.tamper = asks_for(10**9)
    net.cut_all()
    net.advance(1.0)
    assert isinstance(client.error(stream_id), StreamResumeError)


@pytest.mark.parametrize("offset", [0, 10**9])
def test_an_answer_outside_of_what_is_kept_has_the_source_of_a_stream_moved(offset: int) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", LARGE)
    net.run()
    net.tamper = asks_for(offset)
    net.cut_all()
    net.advance(1.0)
    # Beyond the end there is nothing to send, so it goes back to the start.
    assert [event.offset for event in client.of(SourceSeekWanted)] == [0]
    net.tamper = None
    server.core.release(client.key(stream_id), net.now)
    net.advance(1.0)
    assert client.finished(stream_id)
    assert server.got(client.key(stream_id)) == LARGE


def asks_for(offset: int) -> Callable[[str, Frame], Frame]:
    def lie(name: str, frame: Frame) -> Frame:
        if isinstance(frame, ResumeReply):
            frame.offset = offset
        return frame

    return lie


# Lanes.


def test_small_streams_take_the_control_lane_and_larger_ones_a_bulk_lane() -> None:
    net = Net()
    _server, client = net.pair()
    client.send("server", pattern(SMALL_STREAM_BYTES))
    net.run()
    assert len(client.links[0].lanes) == 1
    client.send("server", pattern(SMALL_STREAM_BYTES + 1))
    client.send("server", b"", size=None)
    net.run()
    assert [lane.role for lane in client.links[0].lanes] == ["control", "bulk"]
    roles = [net.roles[name, lane] for name, lane, frame in net.carried if isinstance(frame, Chunk)]
    assert roles == [LaneRole.CONTROL, LaneRole.BULK, LaneRole.BULK]


@pytest.mark.parametrize("without", ["client", "server"])
@pytest.mark.parametrize("chunk_bytes", [16 * KIB, MIB])
@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_with_one_lane_bulk_shares_it_with_little_in_flight(without: str, chunk_bytes: int, sender_name: str) -> None:
    net = Net()
    config = CellConfig(chunk_bytes=chunk_bytes)
    alone = CellConfig(chunk_bytes=chunk_bytes, bulk_lanes=0)
    server, client = net.pair(alone if without == "server" else config, alone if without == "client" else config)
    origin, target = (client, server) if sender_name == "client" else (server, client)
    first = origin.stream(target.fqcn, pattern(3 * MIB))
    second = origin.send(target.fqcn, pattern(2 * MIB))
    most = 0
    while net.step():
        most = max(most, sum(send.sent - send.received for send in origin.core.stats().sends))
    assert target.got(origin.key(first)) == pattern(3 * MIB)
    assert target.got(origin.key(second)) == pattern(2 * MIB)
    assert [len(node.links[0].lanes) for node in (server, client)] == [1, 1]
    assert 0 < most <= SHARED_LANE_IN_FLIGHT_BYTES


def test_small_streams_go_before_bulk_on_a_shared_lane() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(bulk_lanes=0))
    client.send("server", LARGE)
    small = client.send("server", SMALL)
    net.run()
    chunks = net.sent("client", Chunk)
    assert chunks[0].key.stream_id == small


def test_streams_on_one_lane_take_turns() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(chunk_bytes=256 * KIB))
    ids = [client.send("server", pattern(8 * MIB)) for _ in range(3)]
    net.run()
    order = [chunk.key.stream_id for chunk in net.sent("client", Chunk)]
    ends = [max(at for at, stream_id in enumerate(order) if stream_id == wanted) for wanted in ids]
    assert max(ends) - min(ends) < 16


def test_bulk_goes_by_the_control_lane_while_no_bulk_lane_can_be_had() -> None:
    net = Net()
    net.refuse_roles.add(LaneRole.BULK)
    server, client = net.pair()
    stream_id = client.send("server", LARGE)
    net.advance(1.0)
    assert server.got(client.key(stream_id)) == LARGE
    net.refuse_roles.clear()
    net.advance(20.0)
    assert [lane.role for lane in client.links[0].lanes] == ["control", "bulk"]


@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_a_bulk_lane_that_breaks_is_replaced(sender_name: str) -> None:
    net = Net()
    server, client = net.pair()
    origin, target = (client, server) if sender_name == "client" else (server, client)
    target.auto_read = False
    stream_id = origin.stream(target.fqcn, LARGE)
    net.run()
    net.cut("client", client.lane(LaneRole.BULK))
    target.auto_read = True
    key = origin.key(stream_id)
    target.core.callback_started(key, net.now)
    target.read(key)
    net.advance(10.0)
    assert target.got(key) == LARGE
    assert origin.finished(stream_id)


def test_an_attempt_stays_on_one_lane_until_its_first_credit() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None)
    client.supply(stream_id, pattern(100 * KIB))
    net.run()
    first = client.lane(LaneRole.BULK)
    # The bulk lane falls silent, and one is dialled beside it; the old one is heard again just in time.
    net.hold.update({("client", first), net.peers["client", first]})
    net.advance(8.5)
    assert client.lane(LaneRole.BULK) != first
    net.hold.clear()
    net.run()
    client.supply(stream_id, pattern(100 * KIB), end=True)
    net.run()
    used = {lane for name, lane, frame in net.carried if isinstance(frame, Chunk) and name == "client"}
    assert used == {first}
    server.accept(client.key(stream_id))
    net.run()
    assert server.got(client.key(stream_id)) == pattern(100 * KIB) * 2


def test_a_stream_that_waits_for_its_old_lane_goes_on_with_its_first_credit() -> None:
    """A small stream of which a part was sent must not be left behind on a control lane that was replaced."""
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None, size=10)
    client.supply(stream_id, b"hello")
    net.run()
    first = client.lane()
    net.hold.update({("client", first), net.peers["client", first]})
    net.advance(16.0)
    net.advance(3.0)
    assert client.lane() != first
    net.hold.clear()
    net.run()
    client.supply(stream_id, b"world", end=True)
    net.run()
    server.accept(client.key(stream_id))
    net.run()
    assert server.got(client.key(stream_id)) == b"helloworld"


# Restarts of the target.


def restarted(net: Net, fqcn: str = "server") -> Node:
    node = net.restart(fqcn)
    net.advance(10.0)
    return node


def test_a_blob_whose_end_was_not_sent_is_sent_again() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.send("server", LARGE)
    net.run()
    assert client.core.stats().sends[0].sent == INITIAL_CREDIT_BYTES
    server = restarted(net)
    assert server.got(client.key(stream_id)) == LARGE
    assert client.finished(stream_id)
    assert client.progress(stream_id)[-1] == len(LARGE)


@pytest.mark.parametrize("kind", [StreamKind.BLOB, StreamKind.REQUEST])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_one_whose_end_was_sent_has_an_unknown_outcome(data: bytes, kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.request("server", data) if kind is StreamKind.REQUEST else client.send("server", data)
    net.run()
    server = restarted(net)
    assert isinstance(client.error(stream_id), StreamOutcomeUnknown)
    assert server.opened == {}
    if kind is StreamKind.REQUEST:
        assert isinstance(client.request_error(stream_id), StreamOutcomeUnknown)


def test_unless_it_is_retried_by_wish() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.send("server", LARGE, retry_unknown=True)
    net.run()
    server = restarted(net)
    assert server.got(client.key(stream_id)) == LARGE
    assert client.finished(stream_id)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_stream_of_which_it_had_not_starts_again(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = lambda name, frame: None if name == "server" and isinstance(frame, Ack | Credit) else frame
    server.auto_accept = False
    stream_id = client.stream("server", data)
    net.run()
    net.tamper = None
    server = restarted(net)
    assert server.got(client.key(stream_id)) == data
    assert client.finished(stream_id)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_target_that_restarts_between_its_answer_and_the_first_chunk(kind: StreamKind) -> None:
    """The answer came from one life, the chunks go to another: nothing may be lost, nor asked for ever."""
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Chunk) else frame
    stream_id = client.send("server", pattern(500 * KIB), kind=kind, retry_unknown=True)
    net.run()
    net.tamper = None
    net.cut_all()
    # The answer arrives; the target dies before anything is sent.
    net.run_until(lambda: bool(net.sent("server", ResumeReply)))
    assert sending_states(client) == [("sending", 2)]
    server = restarted(net)
    net.advance(30.0)
    assert server.got(client.key(stream_id)) == pattern(500 * KIB)
    assert client.finished(stream_id)


def test_an_ack_of_a_newer_life_begins_an_attempt() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    newer = Ack(client.key(stream_id), "server", 1, server.incarnation + 1, 1, 0, False, 16)
    client.core.receive(client.lane(), [newer], net.now)
    assert sending_states(client) == [("resuming", 2)]


def test_an_ack_of_an_older_life_is_ignored() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    older = Ack(client.key(stream_id), "server", 1, server.incarnation - 1, 1, 0, False, 16)
    client.core.receive(client.lane(), [older], net.now)
    assert sending_states(client) == [("finishing", 1)]


def test_a_probe_that_finds_the_stream_unknown_begins_an_attempt() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.advance(1.0)
    reply = ResumeReply(client.key(stream_id), "server", 1, server.incarnation, True, 0, 16, probe=True)
    client.core.receive(client.lane(), [reply], net.now)
    assert sending_states(client) == [("resuming", 2)]


def test_one_line_of_what_a_source_says_travels() -> None:
    net = Net()
    _server, client = net.pair()
    stream_id = client.stream("server", None)
    net.run()
    client.core.fail_source(stream_id, StreamError("a\nb" + "ö" * 2000), net.now)
    net.run()
    (reset,) = net.sent("client", Reset)
    assert "\n" not in reset.sentence
    assert len(reset.sentence.encode()) <= 1024


def test_a_peer_that_overshoots_its_credit_is_cut_off() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    client.core.receive(client.lane(), [Credit(client.key(stream_id), "server", 1, 64 * MIB)], net.now)
    client.supply(stream_id, pattern(8 * MIB))
    net.run()
    assert isinstance(client.refusals()[0].error, ProtocolError)
    assert isinstance(server.receive_error(client.key(stream_id)), ProtocolError)


# Several ways, and none.


def triangle() -> tuple[Net, Node, Node, Node]:
    net = Net()
    server, client = net.pair()
    other = net.node("other")
    client.connect_peer("other")
    net.run()
    return net, server, client, other


def test_what_happens_to_one_link_does_not_concern_streams_on_another() -> None:
    net, server, client, _other = triangle()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    mine = server.stream("client", None)
    net.advance(1.0)
    before = client.core.stats().sends
    net.kill("other")
    net.advance(31.0)
    assert client.core.stats().sends == before
    server.core.release(client.key(stream_id), net.now)
    server.supply(mine, SMALL, end=True)
    net.run()
    assert client.finished(stream_id)
    assert server.finished(mine)


def test_a_stream_that_waits_for_a_slot_is_not_concerned_by_a_break() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_streams_per_peer=1))
    server.auto_release = False
    first, second = (client.send("server", SMALL) for _ in range(2))
    net.run()
    net.cut_all()
    net.advance(1.0)
    assert sending_states(client) == [("finishing", 2), ("queued", 1)]
    server.auto_release = True
    server.core.release(client.key(first), net.now)
    net.run()
    assert client.finished(second)


def test_a_query_whose_lane_breaks_is_asked_again_in_the_same_attempt() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", LARGE)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, ResumeReply) else frame
    net.cut_all()
    net.advance(1.0)
    assert sending_states(client) == [("resuming", 2)]
    net.cut_all()
    net.tamper = None
    net.advance(1.0)
    assert sending_states(client) == [("finishing", 2)]
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


@pytest.mark.parametrize("data", [b"", SMALL], ids=["unsent", "confirmed"])
def test_a_stream_with_nothing_to_confirm_outlives_its_link(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, data)
    net.advance(1.0)
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(40.0)
    assert client.links == ()
    net.refuse_dials.clear()
    net.advance(10.0)
    client.supply(stream_id, SMALL, end=True)
    net.run()
    assert server.got(client.key(stream_id)) == data + SMALL


def test_a_stream_that_was_resuming_outlives_its_link() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", LARGE)
    net.run()
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(40.0)
    assert client.links == ()
    net.refuse_dials.clear()
    net.advance(10.0)
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


def test_a_wait_that_ends_without_a_link_is_followed_by_the_question_later() -> None:
    net = Net()
    server, client = net.pair(CellConfig(link_down_s=0.05))
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Ack) else frame
    for attempt in (1, 2):
        client.core.receive(client.lane(), [lost(client, stream_id, attempt)], net.now)
        net.run()
    # What comes while it waits changes nothing.
    client.core.receive(client.lane(), [lost(client, stream_id, 2)], net.now)
    assert sending_states(client) == [("backing_off", 2)]
    net.tamper = None
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(2.0)
    assert (client.links, sending_states(client)) == ((), [("resuming", 3)])
    net.refuse_dials.clear()
    net.advance(5.0)
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


def test_an_answer_that_was_not_asked_for_changes_nothing() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    before = client.core.stats().sends
    reply = ResumeReply(client.key(stream_id), "server", 1, server.incarnation, False, 0, 16)
    client.core.receive(client.lane(), [reply], net.now)
    net.run()
    assert client.core.stats().sends == before


# Several bulk lanes.


def test_frames_of_two_bulk_lanes_may_arrive_in_any_order() -> None:
    for seed in range(30):
        shuffler = random.Random(seed)
        net = Net()
        server, client = net.pair(CellConfig(bulk_lanes=2, chunk_bytes=16 * KIB))
        stream_id = client.stream("server", pattern(2 * MIB))
        first_credit = len(net.carried)
        while not net.sent("server", Credit):
            net.step()
            first_credit = len(net.carried)
        ends = [net.peers["client", lane] for lane in net.lanes("client")]
        for _ in range(400):
            net.hold = {end for end in ends if shuffler.random() < 0.6}
            net.step()
        net.hold.clear()
        net.run()
        assert server.got(client.key(stream_id)) == pattern(2 * MIB)
        lanes = [
            [lane for name, lane, frame in part if isinstance(frame, Chunk)]
            for part in (net.carried[:first_credit], net.carried[first_credit:])
        ]
        assert (len(set(lanes[0])), len(set(lanes[1]))) == (1, 2)
        assert client.core.stats().resumes == 0


def test_tiny_pieces_that_pile_up_beyond_a_slow_lane_are_sent_again() -> None:
    net = Net()
    server, client = net.pair(CellConfig(bulk_lanes=2))
    stream_id = client.stream("server", None)
    net.run()
    slow = net.peers["client", client.lane(LaneRole.BULK)]
    net.hold.add(slow)
    data = pattern(5000)
    for at in range(len(data)):
        client.supply(stream_id, data[at : at + 1])
        net.step()
    net.hold.clear()
    client.supply(stream_id, b"", end=True)
    net.advance(10.0)
    assert server.got(client.key(stream_id)) == data
    assert client.finished(stream_id)
    assert client.refusals() == []
