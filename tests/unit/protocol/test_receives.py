"""What becomes of streams, seen from their target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import (
    BlobSizeError,
    CellError,
    ErrorCode,
    Fault,
    ProtocolError,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamRejected,
)
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB, SETTLED_UNTOLD
from streamcell.protocol.credit import WindowBudget
from streamcell.protocol.events import DataEnded, DataReceived, ReceiveFailed, StreamAdmitted, StreamOpened
from streamcell.protocol.frames import (
    Ack,
    Chunk,
    Credit,
    Frame,
    LaneRole,
    Lost,
    LostReason,
    Open,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
    StreamKind,
)
from streamcell.protocol.receiver import ACK_DELAY_S
from streamcell.protocol.sender import checksum_fields
from tests.unit.protocol.harness import LARGE, SMALL, Net, Node, checksum, pattern, refusing

WHOLE = (StreamKind.BLOB, StreamKind.REQUEST)


def send(node: Node, target: str, data: bytes, kind: StreamKind, **fields: Any) -> int:
    return (
        node.request(target, data, **fields)
        if kind is StreamKind.REQUEST
        else node.send(target, data, kind=kind, **fields)
    )


def chunk(
    key: StreamKey, payload: bytes = b"", *, offset: int = 0, last: bool = False, opening: Open | None = None
) -> Chunk:
    fields = checksum_fields(key, 1, 0, offset, last=last)
    total = checksum(fields, checksum(payload, 0))
    return Chunk(key, "server", 1, "c", "t", 0, offset, last, 16, total, payload, opening)


def answers(net: Net, server: Node, client: Node, frame: Frame) -> list[Frame]:
    """Let the server take in a frame of the client, and return what it says."""
    end = net.peers["client", client.lane()]
    before = len(net.carried)
    server.core.receive(end[1], [frame], net.now)
    net.run()
    return [frame for name, _, frame in net.carried[before:] if name == "server"]


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
        digest="sha256:00",
        no_reply=True,
        reply_sentence="fine",
    )
    net.run()
    opened = server.opened[client.key(stream_id)]
    assert (opened.channel, opened.topic, opened.size) == ("images", "raw", len(SMALL))
    assert (opened.headers, opened.resume_id, opened.digest) == ((("a", 1), ("b", "x")), "nightly", "sha256:00")
    assert (opened.no_reply, opened.reply_sentence, opened.resume) == (True, "fine", False)


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
        server.core.release(key, net.now)
        server.core.close_receive(key, net.now)
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
    (reset,) = answers(net, server, client, chunk(client.key(1), opening=Open(StreamKind.UNSPECIFIED)))
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


@pytest.mark.parametrize("opening", [None, Open(StreamKind.BLOB)])
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
    late = chunk(key, b"abc", opening=Open(StreamKind.STREAM))
    assert answers(net, server, client, late) == []
    assert server.opened == {}
    # A probe begins no attempt.
    other = client.key(2)
    answers(net, server, client, ResumeQuery(other, "server", 2, True, 16))
    answers(net, server, client, chunk(other, b"abc", opening=Open(StreamKind.STREAM)))
    assert list(server.opened) == [other]
    # When both are settled nothing is remembered of them, and they are stale.
    (reset,) = answers(net, server, client, chunk(client.key(3), b"", opening=Open(StreamKind.BLOB, settled_below=3)))[
        :1
    ]
    assert not isinstance(reset, Lost)
    (stale,) = answers(net, server, client, late)
    assert isinstance(stale, Reset)
    assert stale.code is ErrorCode.STALE


def test_frames_of_an_earlier_attempt_change_nothing() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    net.cut_all()
    net.advance(1.0)
    before = server.core.stats().receives
    key = client.key(stream_id)
    assert answers(net, server, client, chunk(key, b"abc", opening=Open(StreamKind.STREAM))) == []
    assert answers(net, server, client, ResumeQuery(key, "server", 1, False, 16)) == []
    assert server.core.stats().receives == before


# Ending.


def test_a_reader_that_closes_early_cancels_and_says_where() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = server.auto_release = False
    stream_id = client.stream("server", SMALL)
    key = client.key(stream_id)
    net.run()
    server.read(key, 100)
    server.core.close_receive(key, net.now)
    net.run()
    error = client.error(stream_id)
    assert isinstance(error, StreamCancelled)
    assert "server" in str(error)
    assert "offset 100" in str(error)
    assert server.failure(key).discard


def test_closing_at_the_end_is_a_release() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    server.core.close_receive(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


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


# Once.


def last_word_lost(net: Net) -> Callable[[str, Frame], Frame | None]:
    return lambda name, frame: None if isinstance(frame, Ack) and frame.complete else frame


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
def test_a_final_ack_that_is_lost_is_said_again_and_nothing_is_delivered_twice(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = last_word_lost(net)
    stream_id = client.send("server", LARGE, kind=kind)
    net.run()
    assert server.got(client.key(stream_id)) == LARGE
    assert client.outcomes(stream_id) == []
    net.tamper = None
    net.cut_all()
    net.advance(1.0)
    assert client.finished(stream_id)
    assert server.got(client.key(stream_id)) == LARGE
    assert len(server.of(StreamOpened)) == 1


def test_a_reset_that_is_lost_is_said_again() -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = lambda name, frame: None if isinstance(frame, Reset) else frame
    server.on_opened = refusing(ErrorCode.NO_CALLBACK, "nobody here", server)
    stream_id = client.send("server", LARGE)
    net.run()
    net.tamper = None
    net.cut_all()
    net.advance(1.0)
    assert str(client.error(stream_id)) == "nobody here"


def test_a_finished_stream_answers_every_frame_with_its_last_word() -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = last_word_lost(net)
    stream_id = client.send("server", SMALL)
    key = client.key(stream_id)
    net.run()
    for frame in (
        chunk(key, SMALL, last=True, opening=Open(StreamKind.BLOB)),
        ResumeQuery(key, "server", 7, False, 16),
        ResumeQuery(key, "server", 1, True, 16),
    ):
        (word,) = answers(net, server, client, frame)
        assert isinstance(word, Ack)
        assert (word.complete, word.attempt) == (True, frame.attempt)
    assert len(server.of(StreamOpened)) == 1


def test_what_is_settled_is_stale_and_not_delivered() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL)
    net.run()
    # The next stream says that the first is settled.
    client.send("server", SMALL)
    net.run()
    key = client.key(stream_id)
    for frame in (
        chunk(key, SMALL, last=True, opening=Open(StreamKind.BLOB)),
        ResumeQuery(key, "server", 7, False, 16),
    ):
        (word,) = answers(net, server, client, frame)
        assert isinstance(word, Reset)
        assert (word.code, word.attempt) == (ErrorCode.STALE, frame.attempt)
    assert len(server.of(StreamOpened)) == 2


def test_a_long_stream_does_not_make_the_target_remember_the_short_ones() -> None:
    net = Net()
    server, client = net.pair()
    long = client.stream("server", None)
    shorts = [client.send("server", SMALL) for _ in range(50)]
    net.run()
    client.send("server", SMALL)
    net.run()
    for stream_id in shorts:
        (word,) = answers(net, server, client, ResumeQuery(client.key(stream_id), "server", 2, False, 16))
        assert isinstance(word, Reset)
        assert word.code is ErrorCode.STALE
    client.supply(long, SMALL, end=True)
    net.run()
    assert client.finished(long)


def test_a_ping_says_what_is_settled_as_well() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL)
    net.advance(40.0)
    (word,) = answers(net, server, client, ResumeQuery(client.key(stream_id), "server", 2, False, 16))
    assert isinstance(word, Reset)
    assert word.code is ErrorCode.STALE


def test_what_is_settled_does_not_overtake_the_reset_that_says_why() -> None:
    net = Net()
    server, client = net.pair()
    failing = client.stream("server", None)
    net.run()
    client.supply(failing, LARGE)
    net.run()
    net.hold.add(("server", server.lane(LaneRole.CONTROL)))
    client.core.fail_source(failing, StreamError("the disk is gone", ErrorCode.SOURCE), net.now)
    # Its Open goes by the other lane, and arrives first.
    client.send("server", LARGE)
    net.run()
    assert server.of(ReceiveFailed) == []
    net.hold.clear()
    net.run()
    error = server.receive_error(client.key(failing))
    assert error.code is ErrorCode.SOURCE


def test_a_neighbour_that_gets_bulk_only_is_told_what_is_settled() -> None:
    net = Net()
    server, client = net.pair()
    first = client.send("server", LARGE)
    for _ in range(SETTLED_UNTOLD):
        client.send("server", LARGE)
        net.run()
    (word,) = answers(net, server, client, ResumeQuery(client.key(first), "server", 2, False, 16))
    assert isinstance(word, Reset)
    assert word.code is ErrorCode.STALE


def test_a_stream_that_its_origin_settled_and_whose_reset_was_lost_is_given_up() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Reset) else frame
    client.core.cancel_send(stream_id, "gone", net.now)
    client.send("server", SMALL)
    net.run()
    assert isinstance(server.receive_error(client.key(stream_id)), StreamCancelled)
    assert server.core.stats().receives == ()


def test_the_last_word_about_a_stream_is_the_last() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", LARGE)
    net.run()
    key = client.key(stream_id)
    server.read(key, 100 * KIB)
    server.core.close_receive(key, net.now)
    net.advance(10.0)
    said = [frame for name, _, frame in net.carried if name == "server" and isinstance(frame, Ack | Credit | Reset)]
    assert isinstance(said[-1], Reset)
    assert not client.finished(stream_id)


def test_a_cancel_is_repeated_when_its_lane_breaks() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Reset) else frame
    client.core.cancel_send(stream_id, "gone", net.now)
    net.run()
    net.tamper = None
    net.cut_all()
    net.advance(1.0)
    assert str(server.receive_error(client.key(stream_id))) == "gone"


# Restarts of the origin.


@pytest.mark.parametrize("says_something", [True, False])
def test_an_origin_that_was_restarted_fails_its_streams(says_something: bool) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id, key = client.stream("server", SMALL), client.key(1)
    net.run()
    assert key == client.key(stream_id)
    newer = net.restart("client")
    if says_something:
        newer.send("server", b"hello")
    net.advance(10.0)
    error = server.receive_error(key)
    assert error.code is ErrorCode.RESUME
    assert "restarted" in str(error)


def test_frames_of_a_life_that_is_over_are_ignored() -> None:
    net = Net()
    server, client = net.pair()
    net.restart("client")
    net.advance(10.0)
    newer = net.nodes["client"]
    newer.send("server", SMALL)
    net.run()
    before = len(server.seen)
    old = client.key(5)
    frames: list[Frame] = [
        chunk(old, SMALL, last=True, opening=Open(StreamKind.BLOB)),
        ResumeQuery(old, "server", 2, False, 16),
        Reset(old, "server", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "", 16),
    ]
    for frame in frames:
        assert answers(net, server, newer, frame) == []
    assert len(server.seen) == before


def test_a_stream_whose_last_byte_is_acknowledged_outlives_nothing() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    client.stream("server", SMALL)
    net.run()
    net.restart("client")
    net.nodes["client"].send("server", SMALL)
    net.advance(10.0)
    assert len(server.of(ReceiveFailed)) == 1


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
    opening = Open(StreamKind.STREAM, declared, idle_timeout_s=300.0)
    said = answers(net, server, client, chunk(client.key(1), sent, last=True, opening=opening))
    resets = [frame for frame in said if isinstance(frame, Reset)]
    assert [reset.code for reset in resets] == [ErrorCode.INTEGRITY]
    assert isinstance(server.receive_error(client.key(1)), StreamIntegrityError)


def test_a_peer_that_breaks_the_rules_of_credit_loses_its_lane() -> None:
    net = Net()
    server, client = net.pair()
    answers(net, server, client, chunk(client.key(1), opening=Open(StreamKind.STREAM)))
    answers(net, server, client, chunk(client.key(1), b"x", offset=64 * MIB))
    assert isinstance(server.receive_error(client.key(1)), ProtocolError)
    assert isinstance(client.refusals()[0].error, ProtocolError)


# Memory.


@pytest.mark.parametrize("kind", WHOLE)
def test_a_blob_above_the_limit_is_refused_before_it_is_sent(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=MIB))
    stream_id = send(client, "server", pattern(MIB + 1), kind)
    net.run()
    assert isinstance(client.error(stream_id), BlobSizeError)
    assert server.of(StreamOpened) == []
    assert sum(len(frame.payload) for frame in net.sent("client", Chunk)) <= INITIAL_CREDIT_BYTES


@pytest.mark.parametrize("kind", WHOLE)
def test_a_blob_of_unknown_size_is_refused_when_it_has_grown_above_the_limit(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=MIB))
    fits, too_large = (send(client, "server", pattern(size), kind, size=None) for size in (MIB, MIB + 1))
    net.run()
    assert client.finished(fits)
    assert isinstance(client.error(too_large), BlobSizeError)
    assert isinstance(server.receive_error(client.key(too_large)), BlobSizeError)


def test_a_stream_above_the_limit_is_refused_if_the_receiver_assembles_it() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=MIB))
    server.on_opened = lambda event: server.accept(event.key, assemble=True)
    stream_id = client.stream("server", pattern(MIB + 1))
    net.run()
    assert isinstance(client.error(stream_id), BlobSizeError)


def test_a_blob_may_be_read_piece_by_piece() -> None:
    net = Net()
    server, client = net.pair()
    server.on_opened = lambda event: server.accept(event.key)
    stream_id = client.send("server", LARGE)
    net.run()
    assert client.outcomes(stream_id) == []
    server.read(client.key(stream_id), INITIAL_CREDIT_BYTES)
    net.run()
    server.read(client.key(stream_id))
    net.run()
    assert server.got(client.key(stream_id)) == LARGE


def admitted(node: Node) -> list[int]:
    return [event.key.stream_id for event in node.of(StreamAdmitted)]


def test_blobs_wait_for_memory_in_order_of_arrival() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    first, second, third = (client.send("server", pattern(size)) for size in (700 * KIB, 600 * KIB, 100 * KIB))
    net.run()
    assert admitted(server) == [first]
    server.core.release(client.key(first), net.now)
    net.run()
    assert admitted(server) == [first, second, third]
    server.core.release(client.key(second), net.now)
    server.core.release(client.key(third), net.now)
    net.run()
    assert all(client.finished(stream_id) for stream_id in (first, second, third))


def test_while_it_waits_a_blob_gets_no_credit_beyond_the_initial() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    client.send("server", pattern(700 * KIB))
    client.send("server", pattern(800 * KIB))
    net.run()
    waiting = [send for send in client.core.stats().sends if send.stream_id == 2]
    assert [send.sent for send in waiting] == [INITIAL_CREDIT_BYTES]


def test_a_blob_larger_than_the_budget_is_served_alone() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    stream_id = client.send("server", pattern(2 * MIB))
    net.run()
    assert client.finished(stream_id)


def test_a_blob_that_fails_gives_its_memory_back() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    first, second = (client.send("server", pattern(700 * KIB)) for _ in range(2))
    net.run()
    client.core.cancel_send(first, "never mind", net.now)
    net.run()
    assert admitted(server) == [first, second]


def test_a_blob_that_fails_while_it_waits_lets_the_next_one_in() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    first, second, third = (client.send("server", pattern(size)) for size in (700 * KIB, 700 * KIB, 100 * KIB))
    net.run()
    client.core.cancel_send(second, "never mind", net.now)
    net.run()
    assert admitted(server) == [first, third]


def test_blobs_do_not_wait_for_requests_nor_for_what_has_memory_of_its_own() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB, request_budget_bytes=MIB))
    server.auto_release = False
    request = client.request("server", pattern(700 * KIB))
    blob = client.send("server", pattern(700 * KIB))
    net.run()
    server.on_opened = lambda event: server.accept(event.key, assemble=True, reserve=False)
    own = client.send("server", pattern(700 * KIB))
    net.run()
    assert sorted(admitted(server)) == [request, blob, own]


def test_a_blob_of_unknown_size_may_have_memory_of_its_own() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=KIB))
    server.on_opened = lambda event: server.accept(event.key, assemble=True, reserve=False)
    stream_id = client.send("server", pattern(2 * MIB), size=None)
    net.run()
    assert server.got(client.key(stream_id)) == pattern(2 * MIB)


def test_of_blobs_of_unknown_size_the_oldest_always_goes_on() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB, chunk_bytes=64 * KIB))
    server.auto_release = False
    ids = [client.send("server", pattern(900 * KIB + number), size=None) for number in range(4)]
    net.run()
    for stream_id in ids:
        assert [event.key.stream_id for event in server.ends()].count(stream_id) == 1
        server.core.release(client.key(stream_id), net.now)
        net.run()
    assert all(client.finished(stream_id) for stream_id in ids)


def test_a_blob_of_unknown_size_that_waits_for_memory_never_times_out() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB, chunk_bytes=64 * KIB))
    server.auto_release = False
    ids = [client.send("server", pattern(900 * KIB), size=None, idle_timeout_s=20.0) for _ in range(3)]
    net.advance(500.0)
    assert [client.outcomes(stream_id) for stream_id in ids] == [[], [], []]


def test_streams_share_the_receive_budget_and_give_it_back() -> None:
    net = Net()
    server, client = net.pair(CellConfig(receive_budget_bytes=MIB, chunk_bytes=64 * KIB))
    ids = [client.stream("server", None) for _ in range(4)]
    most = 0
    for _ in range(100):
        for stream_id in ids:
            client.supply(stream_id, pattern(64 * KIB))
        net.run()
        windows = [receive.window_bytes - INITIAL_CREDIT_BYTES for receive in server.core.stats().receives]
        most = max(most, sum(windows))
    assert most == MIB
    for stream_id in ids[:3]:
        client.supply(stream_id, b"", end=True)
    for _ in range(100):
        client.supply(ids[3], pattern(64 * KIB))
        net.run()
    (last,) = server.core.stats().receives
    assert last.window_bytes == INITIAL_CREDIT_BYTES + MIB


def test_a_slow_reader_stalls_its_own_stream_only() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stalled = client.stream("server", pattern(4 * MIB))
    net.run()
    server.auto_read = True
    free = client.stream("server", pattern(4 * MIB))
    net.run()
    assert client.finished(free)
    assert client.outcomes(stalled) == []
    assert len(server.data[client.key(stalled)]) <= INITIAL_CREDIT_BYTES + MIB


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


# Corners.


def test_a_chunk_of_a_higher_attempt_begins_it() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    key = client.key(stream_id)
    fields = checksum_fields(key, 4, 0, len(SMALL), last=True)
    again = Chunk(
        key, "server", 4, "c", "t", 0, len(SMALL), True, 16, checksum(fields, 0), b"", Open(StreamKind.STREAM)
    )
    assert {frame.attempt for frame in answers(net, server, client, again) if isinstance(frame, Ack)} == {4}
    assert server.core.stats().receives[0].attempt == 4


def test_a_newer_life_that_is_known_by_its_chunks_only_ends_the_older() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None)
    net.run()
    newer = client.key(1)._replace(origin_incarnation=client.incarnation + 1)
    answers(net, server, client, chunk(newer, SMALL, opening=Open(StreamKind.STREAM)))
    assert server.receive_error(client.key(stream_id)).code is ErrorCode.RESUME
    assert newer in server.opened


def test_blobs_of_a_life_that_is_over_do_not_come_in_when_it_makes_room() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    for _ in range(3):
        client.send("server", pattern(700 * KIB))
    net.run()
    net.restart("client")
    net.advance(1.0)
    assert len(server.of(StreamAdmitted)) == 1
    assert len(server.of(ReceiveFailed)) == 3
    stream_id = net.nodes["client"].send("server", pattern(700 * KIB))
    net.run()
    assert admitted(server)[-1] == stream_id


def crowded() -> tuple[Net, Node, Node, int, int]:
    """Return a server whose memory is taken by one blob, while one that has grown too large waits for it."""
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=100 * KIB, blob_budget_bytes=50 * KIB))
    server.auto_release = False
    first = client.send("server", pattern(90 * KIB))
    net.run()
    second = client.send("server", None)
    client.supply(second, pattern(200 * KIB))
    net.run()
    assert admitted(server) == [first]
    return net, server, client, first, second


def test_stopping_ends_each_stream_once_even_if_the_end_of_one_ends_another() -> None:
    net, server, client, first, second = crowded()
    server.core.stop(net.now)
    net.run()
    assert sorted(event.key.stream_id for event in server.of(ReceiveFailed)) == [first, second]
    assert isinstance(client.error(second), BlobSizeError)


def test_settling_ends_each_stream_once_even_if_the_end_of_one_ends_another() -> None:
    net, server, client, first, second = crowded()
    net.tamper = lambda name, frame: None if isinstance(frame, Reset) else frame
    for stream_id in (first, second):
        client.core.cancel_send(stream_id, "gone", net.now)
    client.send("server", SMALL)
    net.run()
    assert sorted(event.key.stream_id for event in server.of(ReceiveFailed)) == [first, second]
    assert server.receive_error(client.key(second)).code is ErrorCode.TOO_LARGE


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


def test_a_blob_of_unknown_size_gets_no_more_credit_for_a_piece_beyond_a_gap() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    before = server.core.stats().receives[0].credit
    answers(net, server, client, chunk(client.key(stream_id), b"x", offset=5000))
    assert server.core.stats().receives[0].credit == before


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
    net.advance(10.0)
    assert str(client.error(stream_id)) == "no use"


def test_a_reset_of_a_stream_that_is_settled_is_nothing_new() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL)
    net.run()
    client.send("server", SMALL)
    net.run()
    before = len(server.seen)
    reset = Reset(client.key(stream_id), "server", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "", 16)
    assert answers(net, server, client, reset) == []
    assert len(server.seen) == before


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


def test_what_is_assembled_has_no_share_of_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[CountingBudget] = []

    class CountingBudget(WindowBudget):
        def __init__(self, capacity_bytes: int) -> None:
            super().__init__(capacity_bytes)
            self.windows = 0
            budgets.append(self)

        def enter(self) -> None:
            super().enter()
            self.windows += 1

        def leave(self) -> None:
            super().leave()
            self.windows -= 1

    monkeypatch.setattr("streamcell.protocol.cell.WindowBudget", CountingBudget)
    net = Net()
    server, client = net.pair()
    for _ in range(3):
        client.send("server", LARGE)
    net.run()
    assert len(server.ends()) == 3
    assert [budget.windows for budget in budgets] == [0, 0]


def test_a_late_chunk_of_an_earlier_life_is_not_delivered_again_once_the_next_life_is_there() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL)
    key = client.key(stream_id)
    net.run()
    (late,) = net.sent("client", Chunk)
    assert len(server.ends()) == 1
    net.restart("client")
    net.advance(1.0)
    server.core.receive(server.lane(), [late], net.now)
    net.run()
    assert [event.key for event in server.of(StreamOpened)] == [key]


def first_credit(net: Net, client: Node, stream_id: int) -> int:
    key = client.key(stream_id)
    return next(credit.offset for credit in net.sent("server", Credit) if credit.key == key)


def test_a_stream_begins_with_the_window_that_another_one_over_its_link_has_used() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(chunk_bytes=64 * KIB))

    def first_credit_of(size: int, declared: int | None) -> int:
        stream_id = client.stream("server", pattern(size), size=declared)
        net.run()
        assert client.finished(stream_id)
        return first_credit(net, client, stream_id)

    # What is read at once of the first 256 KiB counts, and lets the window grow once.
    at_first = range(INITIAL_CREDIT_BYTES, 5 * INITIAL_CREDIT_BYTES + 1)
    assert first_credit_of(16 * MIB, None) in at_first
    assert first_credit_of(16 * MIB, None) >= 4 * MIB
    # No more than there is to come, and nothing for what has come whole.
    assert first_credit_of(2 * MIB, 2 * MIB) in range(2 * MIB, 2 * MIB + INITIAL_CREDIT_BYTES + 1)
    whole = client.stream("server", SMALL)
    net.run()
    assert client.finished(whole)
    assert [credit for credit in net.sent("server", Credit) if credit.key == client.key(whole)] == []
    net.advance(61.0)
    assert first_credit_of(16 * MIB, None) in at_first


def test_a_reader_that_stands_still_is_sent_no_more_than_the_window_that_it_began_with() -> None:
    net = Net()
    server, client = net.pair(CellConfig(chunk_bytes=64 * KIB, receive_budget_bytes=8 * MIB, max_window_bytes=4 * MIB))
    client.stream("server", pattern(16 * MIB))
    net.run()
    server.auto_read = False
    ids = [client.stream("server", pattern(4 * MIB)) for _ in range(8)]
    net.run()
    received = [receive.received for receive in server.core.stats().receives]
    windows = [receive.window_bytes for receive in server.core.stats().receives]
    assert len(ids) == len(received)
    # Half of the budget is left to those that read.
    assert sum(windows) - 8 * INITIAL_CREDIT_BYTES <= 4 * MIB
    assert max(windows) > MIB
    assert all(have <= window + 64 * KIB for have, window in zip(received, windows, strict=True))


@pytest.mark.parametrize("ends", ["open", "finished", "restarted"])
def test_answers_from_before_the_origin_went_on_are_not_repeated_when_lanes_break(ends: str) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", None)
    for _ in range(3):
        client.supply(stream_id, SMALL)
        net.step()
        net.cut_all()
        net.advance(1.0)
    assert client.core.stats().sends[0].attempt == 3
    if ends == "finished":
        server.auto_read = True
        client.supply(stream_id, SMALL, end=True)
        net.run()
        assert client.finished(stream_id)
    elif ends == "restarted":
        net.restart("client")
        net.advance(1.0)
    since = len(net.carried)
    for _ in range(5):
        net.cut_all()
        net.advance(1.0)
    said = [frame for _, _, frame in net.carried[since:] if isinstance(frame, ResumeReply) and not frame.probe]
    assert [frame.attempt for frame in said] == ([3] * 5 if ends == "open" else [])
