"""What is delivered once, seen from the target: last words, settled streams, and restarts of the origin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamcell.errors import ErrorCode, Fault, StreamCancelled, StreamError
from streamcell.limits import KIB, SETTLED_UNTOLD
from streamcell.protocol.base.events import ReceiveFailed, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Frame, LaneRole, Reset, ResumeQuery, ResumeReply
from tests.core.by_hand import answers, chunk
from tests.core.harness import LARGE, SMALL, Net, Node, make_open, refusing

# Last words.


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
        chunk(key, SMALL, last=True, opening=make_open(StreamKind.BLOB)),
        ResumeQuery(key, "server", 7, False, 16),
        ResumeQuery(key, "server", 1, True, 16),
    ):
        (word,) = answers(net, server, client, frame)
        assert isinstance(word, Ack)
        assert (word.complete, word.attempt) == (True, frame.attempt)
    assert len(server.of(StreamOpened)) == 1


def test_the_last_word_about_a_stream_is_the_last() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", LARGE)
    net.run()
    key = client.key(stream_id)
    server.read(key, 100 * KIB)
    server.close(key)
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


# Settled streams.


def is_stale(net: Net, server: Node, client: Node, stream_id: int) -> bool:
    """Ask the server about a stream of the client; tell whether it says that it is settled."""
    (word,) = answers(net, server, client, ResumeQuery(client.key(stream_id), "server", 2, False, 16))
    return isinstance(word, Reset) and word.code is ErrorCode.STALE


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
        chunk(key, SMALL, last=True, opening=make_open(StreamKind.BLOB)),
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
        assert is_stale(net, server, client, stream_id)
    client.supply(long, SMALL, end=True)
    net.run()
    assert client.finished(long)


def test_a_ping_says_what_is_settled_as_well() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL)
    net.advance(40.0)
    assert is_stale(net, server, client, stream_id)


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
    assert is_stale(net, server, client, first)


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
