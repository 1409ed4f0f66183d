"""What is sent again, seen from the origin: after a break, a loss, and a restart of the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from streamcell.errors import ErrorCode, Fault, StreamOutcomeUnknown, StreamResumeError
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.base.events import SourceSeekWanted
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Frame, Lost, LostReason, Reset, ResumeQuery, ResumeReply
from tests.core.by_hand import lost
from tests.core.harness import LARGE, SMALL, STREAMS, WHOLE, Net, Node, read_and_unreleased, sending_states
from tests.kit.payloads import pattern

# Attempts.


def test_a_broken_lane_costs_only_what_was_not_confirmed() -> None:
    net, server, client, stream_id = read_and_unreleased(LARGE)
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


def test_lost_begins_an_attempt_and_a_second_one_waits() -> None:
    net, _server, client, stream_id = read_and_unreleased(SMALL)
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
    net, _server, client, stream_id = read_and_unreleased(SMALL)
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
    net, _server, client, stream_id = read_and_unreleased(SMALL)

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


def test_a_query_whose_lane_breaks_is_asked_again_in_the_same_attempt() -> None:
    net, server, client, stream_id = read_and_unreleased(LARGE)
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
    net, server, client, stream_id = read_and_unreleased(SMALL)
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
    net, server, client, stream_id = read_and_unreleased(LARGE)
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
            return dataclasses.replace(frame, offset=offset)
        return frame

    return lie


def test_an_answer_that_was_not_asked_for_changes_nothing() -> None:
    net, server, client, stream_id = read_and_unreleased(SMALL)
    before = client.core.stats().sends
    reply = ResumeReply(client.key(stream_id), "server", 1, server.incarnation, False, 0, 16)
    client.core.receive(client.lane(), [reply], net.now)
    net.run()
    assert client.core.stats().sends == before


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


def test_a_probe_that_finds_the_stream_unknown_begins_an_attempt() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.advance(1.0)
    reply = ResumeReply(client.key(stream_id), "server", 1, server.incarnation, True, 0, 16, probe=True)
    client.core.receive(client.lane(), [reply], net.now)
    assert sending_states(client) == [("resuming", 2)]
