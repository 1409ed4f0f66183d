"""What becomes of streams, seen from their origin: how they start, their sources, and when they are done."""

from __future__ import annotations

import pytest

from streamcell.config import CellConfig
from streamcell.digest import Digest
from streamcell.errors import ErrorCode, StreamCancelled, StreamError, StreamIntegrityError, StreamTargetUnreachable
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.base.events import SendFinished
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Reset
from tests.core.harness import LARGE, SMALL, STREAMS, Net
from tests.kit.payloads import pattern

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
    client.stream("server", SMALL, source_digest=Digest("sha256:ab"), digest_follows=True)
    net.run()
    (opened,) = server.opened.values()
    assert (opened.description.digest, opened.description.digest_follows) == (None, True)
    assert [event.digest for event in server.ends()] == [Digest("sha256:ab")]


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
    assert [opened.description.kind for opened in server.opened.values()] == [StreamKind.BLOB, StreamKind.REQUEST]
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
    patient, other = client.send("server", SMALL), client.send("server", SMALL, optional=True)
    net.run()
    assert isinstance(client.error(other), StreamTargetUnreachable)
    assert client.outcomes(patient) == []


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
