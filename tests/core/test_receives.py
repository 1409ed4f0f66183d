"""What becomes of streams, seen from their target: how they open and end, what is told to the origin, and integrity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from streamcell.digest import Digest
from streamcell.errors import (
    CellError,
    ErrorCode,
    ProtocolError,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamRejected,
)
from streamcell.limits import MIB
from streamcell.protocol.base.events import DataEnded, DataReceived, StreamAdmitted, StreamOpened
from streamcell.protocol.receiving.news import ACK_DELAY_S
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Credit,
    Frame,
    Lost,
    LostReason,
    Open,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.by_hand import answers, chunk
from tests.core.harness import LARGE, SMALL, Net, checksum, make_open, read_and_unreleased, refusing
from tests.kit.payloads import pattern

# Opening.


def test_an_offer_says_what_the_sender_said() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send(
        "server",
        SMALL,
        channel="images",
        topic="raw",
        headers=(("a", 1), ("b", "x")),
        resume_id="nightly",
        digest=Digest("sha256:00"),
        no_reply=True,
        reply_to=ReplyTo(0, 0, sentence="fine"),
    )
    net.run()
    opened = server.opened[client.key(stream_id)]
    assert (opened.channel, opened.topic, opened.seen_before) == ("images", "raw", False)
    assert opened.description == StreamDescription(
        StreamKind.BLOB,
        len(SMALL),
        (("a", 1), ("b", "x")),
        300.0,
        "nightly",
        digest=Digest("sha256:00"),
        reply_to=ReplyTo(0, 0, sentence="fine"),
        no_reply=True,
    )


def test_an_offer_is_made_once_however_often_it_comes() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    client.send("server", LARGE)
    net.run()
    for _ in range(3):
        net.cut_all()
        net.advance(10.0)
    assert len(server.of(StreamOpened)) == 1


def test_data_comes_after_admission_and_the_end_once() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", LARGE)
    net.run()
    kinds = [type(event) for event in server.seen if getattr(event, "key", None) == client.key(stream_id)]
    assert kinds[:2] == [StreamOpened, StreamAdmitted]
    assert kinds[-2:] == [DataEnded, type(server.seen[-1])]
    assert set(kinds[2:-2]) == {DataReceived}


@pytest.mark.parametrize("code", [ErrorCode.NO_CALLBACK, ErrorCode.REJECTED])
def test_a_rejected_stream_brings_nothing_more(code: ErrorCode) -> None:
    net = Net()
    server, client = net.pair()
    server.on_opened = refusing(code, "no", server)
    stream_id = client.stream("server", pattern(4 * MIB))
    net.run()
    assert isinstance(server.receive_error(client.key(stream_id)), StreamRejected)
    assert server.of(DataReceived) == []
    assert len(net.sent("client", Chunk)) == 1
    assert server.core.stats().receives == ()


def test_verbs_for_a_stream_that_is_not_there_are_ignored() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL)
    net.run()
    before = len(server.seen)
    for key in (
        client.key(stream_id),
        client.key(99),
        StreamKey("nobody", 1, 1),
        client.key(1)._replace(origin_incarnation=9),
    ):
        server.accept(key)
        server.core.reject(key, ErrorCode.REJECTED, "no", net.now)
        server.core.callback_started(key, net.now)
        server.core.consume(key, 5, net.now)
        server.core.approve(key, net.now)
        server.core.release(key, net.now)
        server.close(key)
        server.core.fail_receive(key, StreamError("no"), net.now)
        server.core.cancel_receive(key, "no", net.now)
    net.run()
    assert len(server.seen) == before


def test_accepting_twice_is_accepting_once() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    server.accept(client.key(stream_id))
    net.run()
    assert len(server.of(StreamAdmitted)) == 1


def test_the_kind_must_be_known() -> None:
    net = Net()
    server, client = net.pair()
    (reset,) = answers(net, server, client, chunk(client.key(1), opening=make_open(StreamKind.UNSPECIFIED)))
    assert isinstance(reset, Reset)
    assert reset.code is ErrorCode.PROTOCOL
    assert server.of(StreamOpened) == []


def test_a_chunk_for_another_cell_has_no_route() -> None:
    net = Net()
    server, client = net.pair()
    stray = dataclasses.replace(chunk(client.key(1)), target="elsewhere")
    (lost,) = answers(net, server, client, stray)
    assert isinstance(lost, Lost)
    assert (lost.reason, lost.target, lost.reporter) == (LostReason.NO_ROUTE, "elsewhere", "server")


def test_a_query_for_another_cell_has_no_route() -> None:
    net = Net()
    server, client = net.pair()
    (lost,) = answers(net, server, client, ResumeQuery(client.key(1), "elsewhere", 2, False, 16))
    assert isinstance(lost, Lost)
    assert lost.reason is LostReason.NO_ROUTE


@pytest.mark.parametrize("opening", [None, make_open(StreamKind.BLOB)])
def test_a_chunk_in_the_middle_of_a_stream_that_is_not_known_is_lost(opening: Open | None) -> None:
    net = Net()
    server, client = net.pair()
    (lost,) = answers(net, server, client, chunk(client.key(1), b"abc", offset=5, opening=opening))
    assert isinstance(lost, Lost)
    assert lost.reason is LostReason.UNKNOWN_HERE


def test_a_query_for_a_stream_that_is_not_known_says_so() -> None:
    net = Net()
    server, client = net.pair()
    (reply,) = answers(net, server, client, ResumeQuery(client.key(1), "server", 2, False, 16))
    assert isinstance(reply, ResumeReply)
    assert (reply.unknown, reply.attempt, reply.target_incarnation) == (True, 2, server.incarnation)


def test_what_an_earlier_attempt_left_behind_is_not_taken_in() -> None:
    """The lane broke for the origin first, and the query that follows overtook what was on its way."""
    net = Net()
    server, client = net.pair()
    key = client.key(1)
    answers(net, server, client, ResumeQuery(key, "server", 2, False, 16))
    late = chunk(key, b"abc", opening=make_open(StreamKind.STREAM))
    assert answers(net, server, client, late) == []
    assert server.opened == {}
    # A probe begins no attempt.
    other = client.key(2)
    answers(net, server, client, ResumeQuery(other, "server", 2, True, 16))
    answers(net, server, client, chunk(other, b"abc", opening=make_open(StreamKind.STREAM)))
    assert list(server.opened) == [other]
    # When both are settled nothing is remembered of them, and they are stale.
    (reset,) = answers(
        net, server, client, chunk(client.key(3), b"", opening=make_open(StreamKind.BLOB, settled_below=3))
    )[:1]
    assert not isinstance(reset, Lost)
    (stale,) = answers(net, server, client, late)
    assert isinstance(stale, Reset)
    assert stale.code is ErrorCode.STALE


def test_frames_of_an_earlier_attempt_change_nothing() -> None:
    net, server, client, stream_id = read_and_unreleased(SMALL)
    net.cut_all()
    net.advance(1.0)
    before = server.core.stats().receives
    key = client.key(stream_id)
    assert answers(net, server, client, chunk(key, b"abc", opening=make_open(StreamKind.STREAM))) == []
    assert answers(net, server, client, ResumeQuery(key, "server", 1, False, 16)) == []
    assert server.core.stats().receives == before


def test_a_chunk_of_a_higher_attempt_begins_it() -> None:
    net, server, client, stream_id = read_and_unreleased(SMALL)
    key = client.key(stream_id)
    fields = checksum_fields(key, 4, 0, len(SMALL), last=True)
    again = Chunk(
        key, "server", 4, "c", "t", 0, len(SMALL), True, 16, checksum(fields, 0), b"", make_open(StreamKind.STREAM)
    )
    assert {frame.attempt for frame in answers(net, server, client, again) if isinstance(frame, Ack)} == {4}
    assert server.core.stats().receives[0].attempt == 4


# Acks.


def test_news_too_small_for_an_ack_of_its_own_is_told_soon() -> None:
    net = Net()
    _server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, b"")
    net.run()
    client.supply(stream_id, SMALL)
    net.run()
    assert client.progress(stream_id) == []
    net.advance(0.2)
    assert client.progress(stream_id) == [len(SMALL)]
    assert client.core.stats().sends[0].consumed == len(SMALL)


def test_a_piece_that_is_no_news_owes_no_ack() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, SMALL)
    net.advance(1.0)
    key = client.key(stream_id)
    fields = checksum_fields(key, 1, 5, 5000, last=False)
    piece = Chunk(key, "server", 1, "c", "t", 5, 5000, False, 16, checksum(fields, checksum(b"x", 0)), b"x")
    assert answers(net, server, client, piece) == []
    before = len(net.sent("server", Ack))
    net.advance(1.0)
    assert len(net.sent("server", Ack)) == before


@pytest.mark.parametrize("data", [b"", SMALL])
def test_a_small_blob_that_comes_in_one_chunk_costs_one_ack_and_no_credit(data: bytes) -> None:
    net = Net()
    _server, client = net.pair()
    stream_id = client.send("server", data)
    net.advance(1.0)
    assert client.finished(stream_id)
    assert [(ack.received, ack.complete) for ack in net.sent("server", Ack)] == [(len(data), True)]
    assert net.sent("server", Credit) == []


@pytest.mark.parametrize("data", [b"", SMALL])
def test_a_small_blob_whose_callback_does_not_start_is_acked_soon_all_the_same(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.send("server", data)
    net.run()
    assert net.sent("server", Ack) == []
    net.advance(ACK_DELAY_S / 2)
    assert net.sent("server", Ack) == []
    net.advance(ACK_DELAY_S)
    assert [(ack.received, ack.complete) for ack in net.sent("server", Ack)] == [(len(data), False)]
    server.core.release(client.key(stream_id), net.now)
    net.advance(1.0)
    assert client.finished(stream_id)
    assert [ack.complete for ack in net.sent("server", Ack)] == [False, True]
    assert net.sent("server", Credit) == []


# Ending.


def test_a_reader_that_closes_early_cancels_and_says_where() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", SMALL)
    key = client.key(stream_id)
    net.run()
    server.read(key, 100)
    server.close(key)
    net.run()
    error = client.error(stream_id)
    assert isinstance(error, StreamCancelled)
    assert "server" in str(error)
    assert "offset 100" in str(error)
    assert server.failure(key).discard


def test_closing_at_the_declared_size_waits_for_the_end() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL, size=len(SMALL), end=False)
    net.run()
    server.close(client.key(stream_id))
    net.run()
    assert client.outcomes(stream_id) == []
    client.core.end_source(stream_id, None, net.now)
    net.run()
    assert client.finished(stream_id)


def test_closing_where_no_size_is_declared_is_early_until_the_end_is_known() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL, size=None, end=False)
    net.run()
    server.close(client.key(stream_id))
    net.run()
    assert "before its end was known" in str(client.error(stream_id))


@pytest.mark.parametrize("closes", [True, False])
def test_what_is_released_is_complete_when_it_is_approved_and_not_before(closes: bool) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", SMALL, size=len(SMALL))
    key = client.key(stream_id)
    net.run()
    server.core.consume(key, len(SMALL), net.now)
    if closes:
        server.core.close_receive(key, len(SMALL), net.now)
    else:
        server.core.release(key, net.now)
    net.run()
    assert client.outcomes(stream_id) == []
    server.core.approve(key, net.now)
    net.run()
    assert client.finished(stream_id)


def test_what_is_found_wrong_after_it_was_released_fails() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", SMALL, size=len(SMALL))
    key = client.key(stream_id)
    net.run()
    server.core.close_receive(key, len(SMALL), net.now)
    server.core.fail_receive(key, StreamIntegrityError("wrong digest"), net.now)
    net.run()
    assert isinstance(client.error(stream_id), StreamIntegrityError)
    assert server.failure(key).error.code is ErrorCode.INTEGRITY


def test_closing_at_the_end_is_a_release() -> None:
    net, server, client, stream_id = read_and_unreleased(SMALL)
    server.close(client.key(stream_id))
    net.run()
    assert client.finished(stream_id)


def test_what_was_read_to_its_end_and_is_held_all_the_same_is_counted() -> None:
    net, server, client, stream_id = read_and_unreleased(SMALL)
    assert server.core.unreleased_receives() == 1
    server.core.release(client.key(stream_id), net.now)
    assert server.core.unreleased_receives() == 0


@pytest.mark.parametrize("moment", ["offered", "accepted", "received"])
def test_the_application_can_fail_a_stream(moment: str) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = moment != "offered"
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", LARGE if moment == "accepted" else SMALL)
    net.run()
    server.core.fail_receive(client.key(stream_id), StreamRejected("callback raised ValueError"), net.now)
    net.run()
    assert isinstance(client.error(stream_id), StreamRejected)
    failure = server.failure(client.key(stream_id))
    assert (str(failure.error), failure.discard) == ("callback raised ValueError", False)


def test_a_blob_that_fails_ends_without_data_end() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", None, size=None)
    client.supply(stream_id, SMALL)
    net.run()
    client.core.cancel_send(stream_id, "enough", net.now)
    net.run()
    assert server.ends() == []
    assert isinstance(server.receive_error(client.key(stream_id)), StreamCancelled)


@pytest.mark.parametrize("error", [StreamError("x", ErrorCode.INTERNAL), StreamCancelled("y")])
def test_only_a_cancel_discards_what_was_not_read(error: CellError) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", SMALL)
    net.run()
    server.core.fail_receive(client.key(stream_id), error, net.now)
    net.run()
    assert server.failure(client.key(stream_id)).discard == isinstance(error, StreamCancelled)


def test_a_release_that_comes_early_counts_at_the_end() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = server.auto_release = False
    stream_id = client.stream("server", b"")
    net.run()
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.outcomes(stream_id) == []
    server.accept(client.key(stream_id))
    net.run()
    assert client.finished(stream_id)


def test_a_stream_that_is_given_up_while_its_link_is_down_says_so_later() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", SMALL)
    net.run()
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(40.0)
    assert server.links == ()
    server.core.cancel_receive(client.key(stream_id), "no use", net.now)
    net.refuse_dials.clear()
    net.advance(35.0)
    assert str(client.error(stream_id)) == "no use"


def test_times_that_do_not_add_up_exactly_do_no_harm() -> None:
    for step in range(100):
        net = Net()
        net.now = 0.1 * step
        server, client = net.pair()
        stream_id = client.stream("server", None, idle_timeout_s=0.7 + step / 7)
        net.run()
        net.kill("client")
        net.advance(60.0)
        assert server.receive_error(client.key(stream_id)).code is ErrorCode.TIMEOUT


# Integrity.


def corrupting(times: int) -> Callable[[str, Frame], Frame]:
    left = [times]

    def tamper(name: str, frame: Frame) -> Frame:
        if isinstance(frame, Chunk) and len(frame.payload) > 0 and left[0] > 0:
            left[0] -= 1
            payload = bytearray(frame.payload)
            payload[len(payload) // 2] ^= 1
            return dataclasses.replace(frame, payload=bytes(payload))
        return frame

    return tamper


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_corrupt_chunk_is_never_delivered_and_sent_again(kind: StreamKind, data: bytes, times: int) -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = corrupting(times)
    stream_id = client.send("server", data, kind=kind)
    net.advance(6.0)
    assert server.got(client.key(stream_id)) == data
    assert client.finished(stream_id)
    assert server.core.stats().corrupt_chunks == times


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_the_third_corrupt_chunk_ends_the_stream(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = corrupting(3)
    stream_id = client.stream("server", data)
    net.advance(20.0)
    assert isinstance(client.error(stream_id), StreamIntegrityError)
    assert isinstance(server.receive_error(client.key(stream_id)), StreamIntegrityError)
    assert server.data[client.key(stream_id)] == data[: len(server.data[client.key(stream_id)])]


@pytest.mark.parametrize(("declared", "sent"), [(2, b"abc"), (4, b"abc")])
def test_a_declared_size_that_the_bytes_contradict_is_refused_by_the_target(declared: int, sent: bytes) -> None:
    net = Net()
    server, client = net.pair()
    opening = make_open(StreamKind.STREAM, declared, idle_timeout_s=300.0)
    said = answers(net, server, client, chunk(client.key(1), sent, last=True, opening=opening))
    resets = [frame for frame in said if isinstance(frame, Reset)]
    assert [reset.code for reset in resets] == [ErrorCode.INTEGRITY]
    assert isinstance(server.receive_error(client.key(1)), StreamIntegrityError)


def test_a_peer_that_breaks_the_rules_of_credit_loses_its_lane() -> None:
    net = Net()
    server, client = net.pair()
    answers(net, server, client, chunk(client.key(1), opening=make_open(StreamKind.STREAM)))
    answers(net, server, client, chunk(client.key(1), b"x", offset=64 * MIB))
    assert isinstance(server.receive_error(client.key(1)), ProtocolError)
    assert isinstance(client.refusals()[0].error, ProtocolError)
