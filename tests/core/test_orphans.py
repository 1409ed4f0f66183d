"""The origin is restarted in the middle of a stream, and its next life sends it again under the same name."""

from __future__ import annotations

from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.digest import Digest
from streamcell.errors import (
    ErrorCode,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamOutcomeUnknown,
    StreamResumeError,
    StreamTimeout,
)
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.base.events import ReceiveFailed, StreamAdopted, StreamOpened, StreamPlaced
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Goodbye, ResumeReply, StreamKey
from tests.core.harness import Net, Node, make_spec
from tests.core.trees import tree
from tests.kit.payloads import pattern

DATA = pattern(900 * KIB)
CONFIG = CellConfig(chunk_bytes=32 * KIB, max_window_bytes=256 * KIB)
STAMP = b"the same file"


class Transfer:
    """A stream of which the target has read the first half when its origin is killed."""

    def __init__(self, **fields: Any) -> None:
        self.net = Net()
        self.server, self.client = self.net.pair(CONFIG)
        self.fields: dict[str, Any] = {"resume_id": "name", "source_stamp": STAMP, **fields}
        self.stream_id = self.client.stream("server", DATA, **self.fields)
        self.key = self.client.key(self.stream_id)
        self.server.slow.add(self.key)
        self.net.run()
        self.server.read(self.key, 256 * KIB)
        self.net.run()
        assert 0 < len(self.server.data[self.key]) < len(DATA)

    def restart(self) -> Node:
        self.client = self.net.restart("client")
        self.net.advance(1.0)
        return self.client

    def send_again(self, data: bytes = DATA, **fields: Any) -> StreamKey:
        """Let the new life send the stream again, and the reader read on."""
        self.stream_id = self.client.stream("server", data, **{**self.fields, **fields})
        self.net.advance(1.0)
        self.server.slow.clear()
        key = self.client.key(self.stream_id)
        if key in self.server.data:
            self.server.read(key)
        self.net.advance(5.0)
        return key

    def failure(self) -> ReceiveFailed:
        return self.server.failure(self.key)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {}),
        ({"digest": Digest("sha256:1")}, {"digest": Digest("sha256:1")}),
        # A copy of the file: the digest says more than the stamp.
        ({"digest": Digest("sha256:1")}, {"digest": Digest("sha256:1"), "source_stamp": b"a copy"}),
        ({"digest": Digest("sha256:1")}, {}),
        ({}, {"size": None}),
    ],
)
def test_the_call_that_waits_goes_on_if_the_source_is_the_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    transfer = Transfer(**before)
    held = len(transfer.server.data[transfer.key])
    transfer.restart()
    if "digest" in before and not now:
        transfer.fields["digest"] = None
    new_key = transfer.send_again(**now)
    server = transfer.server
    assert server.of(StreamAdopted) == [StreamAdopted(transfer.key, new_key)]
    assert server.got(new_key) == DATA
    assert len(server.of(StreamOpened)) == 1
    assert server.of(ReceiveFailed) == []
    assert transfer.client.finished(transfer.stream_id)
    assert transfer.client.core.stats().bytes_sent == len(DATA) - held


@pytest.mark.parametrize(
    ("before", "now", "error"),
    [
        ({}, {"source_stamp": b"another file"}, StreamIntegrityError),
        ({"digest": Digest("sha256:1")}, {"digest": Digest("sha256:2")}, StreamIntegrityError),
        ({}, {"size": len(DATA) - 1, "data": DATA[:-1]}, StreamIntegrityError),
        ({"source_stamp": b""}, {"size": len(DATA) - 1, "data": DATA[:-1]}, StreamIntegrityError),
        ({"source_stamp": b""}, {}, StreamResumeError),
        ({"source_stamp": b""}, {"source_stamp": STAMP}, StreamResumeError),
    ],
)
def test_otherwise_it_fails_and_there_is_a_new_one(
    before: dict[str, Any], now: dict[str, Any], error: type[Exception]
) -> None:
    transfer = Transfer(**before)
    transfer.restart()

    def choose(opened: StreamOpened) -> int:
        transfer.server.had[opened.key] = DATA
        return 7

    transfer.server.choose = choose
    new_key = transfer.send_again(**now)
    server = transfer.server
    assert type(transfer.failure().error) is error
    _, opened = server.of(StreamOpened)
    assert not opened.seen_before
    assert opened.description.resume_id == "name"
    # Where the source is another one, it begins at 0 whatever the application says.
    forced = error is StreamIntegrityError
    assert opened.awaits_offset is not forced
    assert server.of(StreamPlaced)[-1] == StreamPlaced(new_key, 0 if forced else 7)
    assert transfer.client.finished(transfer.stream_id)


@pytest.mark.parametrize("fields", [{"channel": "other"}, {"topic": "other"}, {"resume_id": "other"}])
def test_the_name_is_that_of_a_channel_and_topic(fields: dict[str, str]) -> None:
    transfer = Transfer()
    transfer.restart()
    new_key = transfer.send_again(DATA, **fields)
    assert transfer.server.got(new_key) == DATA
    assert transfer.server.of(StreamAdopted) == []
    new_key = transfer.send_again()
    assert transfer.server.got(new_key) == DATA
    assert transfer.server.of(StreamAdopted) == [StreamAdopted(transfer.key, new_key)]


def test_a_stream_without_a_name_fails_at_once() -> None:
    transfer = Transfer(resume_id="")
    transfer.restart()
    assert transfer.failure().error.code is ErrorCode.RESUME


@pytest.mark.parametrize("kind", [StreamKind.BLOB, StreamKind.STREAM])
def test_what_is_assembled_fails_at_once(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair(CONFIG)
    server.on_opened = lambda opened: server.accept(opened.key, assemble=True)
    stream_id = client.send("server", DATA, kind=kind, resume_id="name", end=kind is StreamKind.BLOB)
    net.tamper = lambda name, frame: None if name == "client" and getattr(frame, "last", False) else frame
    net.run()
    net.tamper = None
    net.restart("client")
    net.advance(1.0)
    assert server.receive_error(client.key(stream_id)).code is ErrorCode.RESUME


def test_it_waits_for_its_idle_timeout() -> None:
    transfer = Transfer(idle_timeout_s=8.0)
    transfer.restart()
    transfer.net.advance(5.0)
    assert transfer.server.of(ReceiveFailed) == []
    transfer.net.advance(3.0)
    assert isinstance(transfer.failure().error, StreamTimeout)
    new_key = transfer.send_again()
    assert transfer.server.got(new_key) == DATA
    assert transfer.server.of(StreamAdopted) == []


def test_its_reader_may_read_on_close_it_and_cancel_it_while_it_waits() -> None:
    transfer = Transfer()
    transfer.restart()
    transfer.server.read(transfer.key)
    assert transfer.server.core.stats().receives[0].consumed == len(transfer.server.data[transfer.key])
    transfer.server.close(transfer.key)
    transfer.net.run()
    assert isinstance(transfer.failure().error, StreamCancelled)
    assert transfer.server.core.stats().receives == ()
    new_key = transfer.send_again()
    assert transfer.server.got(new_key) == DATA


def test_one_that_is_all_there_is_complete_without_its_origin() -> None:
    net = Net()
    server, client = net.pair(CONFIG)
    stream_id = client.stream("server", b"all of it", resume_id="name")
    key = client.key(stream_id)
    server.slow.add(key)
    net.run()
    net.restart("client")
    net.advance(1.0)
    server.read(key)
    net.run()
    assert server.got(key) == b"all of it"


def all_there_and_sent_again() -> tuple[Net, Node, Node, int]:
    """Return a target that has all of a stream and has not read it, and the next life of its origin, which sends it."""
    net = Net()
    server, client = net.pair(CONFIG)
    stream_id = client.stream("server", b"all of it", resume_id="name", source_stamp=STAMP)
    server.slow.add(client.key(stream_id))
    net.run()
    client = net.restart("client")
    net.advance(1.0)
    return net, server, client, client.stream("server", b"all of it", resume_id="name", source_stamp=STAMP)


def test_one_that_is_all_there_is_confirmed_to_the_next_life() -> None:
    net, server, client, stream_id = all_there_and_sent_again()
    net.advance(1.0)
    assert not client.finished(stream_id)
    server.read(client.key(stream_id))
    net.advance(1.0)
    assert client.finished(stream_id)
    assert server.got(client.key(stream_id)) == b"all of it"
    assert client.core.stats().bytes_sent == 0


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
def test_what_an_earlier_life_said_of_the_end_does_not_count_for_what_the_next_one_sends(fails: bool) -> None:
    """The reader hears from the life that sends the rest that this is all, and of which digest it is."""
    net = Net()
    server, client = net.pair(CONFIG)
    data = DATA[: 100 * KIB]
    fields: dict[str, Any] = {"resume_id": "name", "source_stamp": STAMP, "digest_follows": True}
    net.tamper = lambda _, frame: None if isinstance(frame, Chunk) and frame.offset == 32 * KIB else frame
    client.stream("server", data, source_digest=Digest("sha256:1"), **fields)
    net.run()
    assert [chunk.offset for chunk in net.sent("client", Chunk) if chunk.last] == [96 * KIB]
    client = net.restart("client")
    net.tamper = None
    net.advance(2.0)
    client.on_seek = lambda event: client.core.move_source(event.stream_id, event.offset, net.now)
    stream_id = client.stream("server", None, size=len(data), **fields)
    key = client.key(stream_id)
    net.advance(1.0)
    client.supply(stream_id, data[32 * KIB :])
    net.advance(1.0)
    assert bytes(server.data[key]) == data
    assert server.ends() == []
    if fails:
        client.core.fail_source(stream_id, StreamError("the disk is gone", ErrorCode.SOURCE), net.now)
        net.advance(1.0)
        assert server.receive_error(key).code is ErrorCode.SOURCE
        assert server.ends() == []
    else:
        client.core.end_source(stream_id, Digest("sha256:2"), net.now)
        net.advance(1.0)
        assert [(end.size_bytes, end.digest) for end in server.ends()] == [(len(data), Digest("sha256:2"))]
        assert server.got(key) == data
        assert client.finished(stream_id)


def test_one_that_is_not_decided_yet_is_decided_for_the_next_life() -> None:
    net = Net()
    server, client = net.pair(CONFIG)
    server.choose = lambda opened: None
    first = client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
    net.run()
    old_key = client.key(first)
    client = net.restart("client")
    net.advance(1.0)
    stream_id = client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
    net.advance(1.0)
    key = client.key(stream_id)
    server.had[key] = DATA
    assert server.of(StreamAdopted) == [StreamAdopted(old_key, key)]
    server.core.choose_offset(key, 500, None, net.now)
    net.advance(5.0)
    assert server.of(StreamPlaced) == [StreamPlaced(key, 500)]
    assert server.got(key) == DATA


def test_a_choice_that_the_old_life_was_told_is_told_to_the_next() -> None:
    net = Net()
    server, client = net.pair(CONFIG)
    server.choose = lambda opened: 500
    net.tamper = lambda name, frame: None if isinstance(frame, ResumeReply) else frame
    client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
    net.run()
    net.tamper = None
    client = net.restart("client")
    net.advance(1.0)
    stream_id = client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
    server.had[client.key(stream_id)] = DATA
    net.advance(5.0)
    assert server.of(StreamPlaced) == [StreamPlaced(client.key(stream_id), 500)]
    assert server.got(client.key(stream_id)) == DATA


def test_of_two_of_one_name_the_later_waits() -> None:
    net = Net()
    server, client = net.pair(CONFIG)
    ids = [client.stream("server", DATA, resume_id="name", source_stamp=STAMP) for _ in range(2)]
    server.slow.update(map(client.key, ids))
    net.run()
    first, second = map(client.key, ids)
    client = net.restart("client")
    net.advance(1.0)
    assert isinstance(server.receive_error(first), StreamResumeError)
    client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
    net.advance(1.0)
    assert [event.old_key for event in server.of(StreamAdopted)] == [second]


@pytest.mark.parametrize("lives", [2, 4])
def test_it_goes_on_through_many_lives(lives: int) -> None:
    transfer = Transfer()
    for _ in range(lives):
        transfer.restart()
        transfer.client.stream("server", DATA, **transfer.fields)
        transfer.net.run()
    transfer.restart()
    new_key = transfer.send_again()
    assert transfer.server.got(new_key) == DATA
    assert len(transfer.server.of(StreamOpened)) == 1


@pytest.mark.parametrize("cut", range(1, 30))
def test_cuts_at_every_frame_of_going_on(cut: int) -> None:
    transfer = Transfer()
    transfer.restart()
    transfer.net.cut_at.add(len(transfer.net.carried) + cut)
    new_key = transfer.send_again()
    transfer.net.advance(20.0)
    assert transfer.server.got(new_key) == DATA
    assert transfer.client.finished(transfer.stream_id)


@pytest.mark.parametrize("kill", range(1, 30))
def test_restarts_at_every_frame_of_going_on(kill: int) -> None:
    transfer = Transfer()
    net = transfer.net
    transfer.restart()
    goal = len(net.carried) + kill
    stream_id = transfer.client.stream("server", DATA, **transfer.fields)
    for _ in range(200):
        if len(net.carried) >= goal:
            break
        net.step()
    assert not transfer.client.finished(stream_id)
    transfer.restart()
    new_key = transfer.send_again()
    net.advance(20.0)
    assert transfer.server.got(new_key) == DATA
    assert transfer.client.finished(transfer.stream_id)


def test_an_heir_that_has_less_than_was_received_is_refused() -> None:
    """The size is not known beforehand, so that only the source can tell."""
    transfer = Transfer(size=None)
    transfer.restart()
    new_key = transfer.send_again(DATA[:1000])
    assert transfer.client.error(transfer.stream_id).code is ErrorCode.RESUME
    assert transfer.server.receive_error(new_key).code is ErrorCode.RESUME


def test_both_are_restarted() -> None:
    transfer = Transfer()
    transfer.server = transfer.net.restart("server")
    transfer.restart()
    transfer.server.choose = lambda opened: 500
    transfer.net.run()
    stream_id = transfer.client.stream("server", DATA, **transfer.fields)
    key = transfer.client.key(stream_id)
    transfer.server.had[key] = DATA
    transfer.net.advance(5.0)
    (opened,) = transfer.server.of(StreamOpened)
    assert not opened.seen_before
    assert transfer.server.got(key) == DATA


def test_stopping_ends_what_waits() -> None:
    transfer = Transfer()
    transfer.restart()
    transfer.server.core.stop(transfer.net.now)
    transfer.net.run()
    assert transfer.failure().error.code is ErrorCode.STOPPING


# Requests whose target has ended.


def asked(net: Net) -> tuple[Node, Node, int]:
    server, client = net.pair()
    stream_id = client.request("server", b"question", 1000.0)
    net.advance(1.0)
    assert client.finished(stream_id)
    return server, client, stream_id


def test_a_request_whose_target_is_restarted_ends() -> None:
    net = Net()
    _server, client, stream_id = asked(net)
    net.restart("server")
    net.advance(5.0)
    assert isinstance(client.request_error(stream_id), StreamOutcomeUnknown)


def test_a_request_whose_target_stops_ends() -> None:
    net = Net()
    server, client, stream_id = asked(net)
    server.core.stop(net.now)
    net.run()
    assert isinstance(client.request_error(stream_id), StreamOutcomeUnknown)


@pytest.mark.parametrize("code", [ErrorCode.UNSPECIFIED, ErrorCode.STOPPING])
def test_a_request_waits_on_while_its_target_lives(code: ErrorCode) -> None:
    net = Net()
    server, client, stream_id = asked(net)
    # Another cell that stops, on a lane that never said who it is; or this one closes a lane.
    stranger = client.core.lane_accepted(CarrierInfo("test", "somewhere"), net.now)
    lane = stranger if code is ErrorCode.STOPPING else client.lane()
    client.core.receive(lane, [Goodbye(code, "this lane goes")], net.now)
    net.cut_all()
    net.advance(5.0)
    (opened,) = server.opened.values()
    server.reply(opened, b"answer")
    net.advance(5.0)
    assert client.replies(stream_id) == [b"answer"]


def test_one_that_was_not_acknowledged_goes_to_the_next_life() -> None:
    net = Net()
    server, client = net.pair()
    net.tamper = lambda name, frame: None if name == "server" else frame
    server.auto_accept = False
    stream_id = client.core.open_request(make_spec("server", StreamKind.REQUEST), 1000.0, net.now)
    net.run()
    net.tamper = None
    server = net.restart("server")
    server.answer = lambda request: b"answer"
    net.advance(1.0)
    client.core.end_source(stream_id, None, net.now)
    net.advance(5.0)
    assert client.replies(stream_id) == [b"answer"]


def test_blobs_of_unknown_size_leave_the_budget_of_streams_alone() -> None:
    net = Net()
    config = CellConfig(receive_budget_bytes=1024 * KIB, max_window_bytes=1024 * KIB, chunk_bytes=32 * KIB)
    server, client = net.pair(config)
    server.auto_release = False
    data = pattern(4096 * KIB)
    for _ in range(3):
        client.send("server", data, size=None)
    net.run()
    assert all(receive.received == len(data) for receive in server.core.stats().receives)
    stream_id = client.stream("server", data)
    net.run()
    windows = [each.window_bytes for each in server.core.stats().receives if each.stream_id == stream_id]
    assert windows == [1024 * KIB]


def test_one_that_is_read_to_its_end_is_confirmed_when_its_heir_has_ended_too() -> None:
    net, server, client, stream_id = all_there_and_sent_again()
    net.run_until(lambda: bool(server.of(StreamAdopted)))
    server.read(client.key(stream_id))
    net.advance(5.0)
    assert client.finished(stream_id)
    assert server.core.stats().receives == ()


@pytest.mark.parametrize("through", ["", "relay"])
def test_restarts_of_the_origin_do_not_fill_the_memory_of_a_reader_that_stands_still(through: str) -> None:
    """Each new life could put another initial credit before it, for it does not know what the last one has sent."""
    net = Net()
    nodes = tree(net, {"server": "", "relay": "server", "client": through or "server"}, chunk_bytes=32 * KIB)
    server = nodes["server"]
    for _ in range(4):
        client = net.nodes["client"]
        stream_id = client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
        key = client.key(stream_id)
        server.slow.add(key)
        net.advance(2.0)
        (receiver,) = server.core.stats().receives
        assert (receiver.received, receiver.consumed) == (INITIAL_CREDIT_BYTES, 0)
        net.restart("client")
        net.advance(2.0)
    client = net.nodes["client"]
    stream_id = client.stream("server", DATA, resume_id="name", source_stamp=STAMP)
    net.advance(2.0)
    server.slow.clear()
    server.read(client.key(stream_id))
    net.advance(2.0)
    assert server.got(client.key(stream_id)) == DATA
    assert client.finished(stream_id)


def test_a_source_that_has_more_than_it_had_fails_and_does_not_wait() -> None:
    """All of it has arrived, so no credit is left to give; but the new life of the origin would wait for one."""
    net = Net()
    server, client = net.pair(CONFIG)
    fields: dict[str, Any] = {"resume_id": "name", "source_stamp": STAMP, "size": None}
    server.slow.add(client.key(client.stream("server", DATA[: 100 * KIB], **fields)))
    net.advance(2.0)
    client = net.restart("client")
    net.advance(2.0)
    stream_id = client.stream("server", DATA[: 200 * KIB], **fields)
    net.advance(2.0)
    assert isinstance(client.error(stream_id), StreamIntegrityError)
    assert isinstance(server.receive_error(client.key(stream_id)), StreamIntegrityError)


def test_of_more_than_one_origin_may_have_open_those_end_that_waited_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.receiving.orphans.STREAMS_OF_ORIGIN", 2)
    monkeypatch.setattr("streamcell.protocol.receiving.orphans.STREAMS_IN_EXCESS", 0)
    transfer = Transfer()
    others = [
        transfer.client.key(transfer.client.stream("server", None, resume_id=f"other-{number}", source_stamp=STAMP))
        for number in range(2)
    ]
    transfer.net.run()
    transfer.restart()
    transfer.send_again()
    assert transfer.failure().error.code is ErrorCode.RESUME
    assert [key for key in others if any(failed.key == key for failed in transfer.server.of(ReceiveFailed))] == []
