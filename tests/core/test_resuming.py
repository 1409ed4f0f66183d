"""The target is restarted in the middle of a stream, and its application says where the origin is to go on."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode, StreamRejected, StreamResumeError, StreamTimeout
from streamcell.limits import KIB, MIB
from streamcell.protocol.base.events import DataEnded, SourceSeekWanted, StreamOpened, StreamPlaced
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Frame, ResumeQuery, ResumeReply, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import Net, Node, checksum, digest_of, make_open
from tests.kit.payloads import pattern

DATA = pattern(900 * KIB)
HALF = 500 * KIB


class Transfer:
    """A stream of which the first life of the target has read the first half when it is killed."""

    def __init__(self, **fields: object) -> None:
        self.net = Net()
        self.server, self.client = self.net.pair(CellConfig(chunk_bytes=32 * KIB, max_window_bytes=256 * KIB))
        self.stream_id = self.client.stream("server", DATA, **fields)
        self.key = self.client.key(self.stream_id)
        self.server.slow.add(self.key)
        self.net.run()
        self.server.read(self.key, 256 * KIB)
        self.net.run()
        assert HALF < len(self.server.data[self.key]) < len(DATA)

    def restart(self, choose: int | None = 0, had: bytes = DATA) -> Node:
        """Begin a new life of the target, which has all bytes below what it chooses."""
        self.server = self.net.restart("server")
        self.server.had[self.key] = had
        self.server.choose = lambda opened: choose
        return self.server

    @property
    def sender(self) -> str:
        return self.client.core.stats().sends[0].state

    def arrives(self) -> None:
        self.net.advance(20.0)
        assert self.server.got(self.key) == DATA
        assert self.client.finished(self.stream_id)
        assert self.client.core.stats().sends == ()
        assert self.server.core.stats().receives == ()


@pytest.mark.parametrize("offset", [0, 1, HALF, 800 * KIB, len(DATA)])
def test_a_stream_goes_on_where_the_target_says(offset: int) -> None:
    transfer = Transfer()
    server = transfer.restart(offset)
    before = transfer.client.core.stats().bytes_sent
    transfer.arrives()
    (opened,) = server.of(StreamOpened)
    assert opened.seen_before
    assert opened.awaits_offset
    assert server.of(StreamPlaced) == [StreamPlaced(transfer.key, offset)]
    assert transfer.client.core.stats().bytes_sent - before == len(DATA) - offset


@pytest.mark.parametrize("cut", [False, True])
def test_an_offer_has_its_attempt_to_itself(cut: bool) -> None:
    """Where the path was lost meanwhile, the origin has asked again, and goes on in the attempt that it asked for."""
    transfer = Transfer()
    net = transfer.net
    net.carried.clear()
    server = transfer.restart(None)
    net.advance(1.0)
    server.core.choose_offset(transfer.key, HALF, None, net.now)
    if cut:
        net.cut_all()
    transfer.arrives()
    chunks = net.sent("client", Chunk)
    offers = {chunk.attempt for chunk in chunks if chunk.open is not None and chunk.open.awaits_offset}
    (begun,) = {chunk.attempt for chunk in chunks} - offers
    assert begun == max(offers) + 1
    assert [chunk.sequence for chunk in chunks if chunk.attempt in offers] == [0] * len(offers)
    first = next(chunk for chunk in chunks if chunk.attempt == begun)
    assert (first.sequence, first.offset) == (0, HALF)


@pytest.mark.parametrize("offset", [5 * MIB, 20 * MIB])
def test_it_may_be_further_than_any_credit_that_was_given(offset: int) -> None:
    """The first chunk that is sent there is not taken for one beyond the credit."""
    data = bytes(24 * MIB)
    net = Net()
    server, client = net.pair()
    server.slow.add(client.key(1))
    stream_id = client.send("server", data, kind=StreamKind.STREAM, kept=True, end=False)
    key = client.key(stream_id)
    client.core.end_source(stream_id, None, net.now)
    net.run()
    server = net.restart("server")
    server.had[key] = data
    server.choose = lambda opened: offset
    net.advance(5.0)
    assert server.of(StreamPlaced) == [StreamPlaced(key, offset)]
    assert server.got(key) == data
    assert client.refusals() == []


def test_progress_falls_when_the_target_has_less_than_it_confirmed() -> None:
    transfer = Transfer()
    transfer.restart(100)
    transfer.arrives()
    progress = transfer.client.progress(transfer.stream_id)
    # It had these before, whoever had sent them.
    assert transfer.client.placements(transfer.stream_id) == [(100, 100)]
    assert max(progress[: progress.index(0)]) > HALF
    assert progress[-1] == len(DATA)


def test_beyond_the_end_of_the_stream_it_begins_at_0() -> None:
    transfer = Transfer()
    server = transfer.restart(len(DATA) + 1)
    transfer.arrives()
    assert server.of(StreamPlaced) == [StreamPlaced(transfer.key, 0)]


@pytest.mark.parametrize("had", [DATA, bytes(len(DATA))], ids=["the same", "another"])
def test_what_the_target_has_is_compared_if_it_wants_that(had: bytes) -> None:
    transfer = Transfer()
    server = transfer.restart(None, had)
    transfer.net.advance(1.0)
    server.core.choose_offset(transfer.key, HALF, digest_of(had[:HALF]), transfer.net.now)
    transfer.arrives()
    assert server.of(StreamPlaced) == [StreamPlaced(transfer.key, HALF if had == DATA else 0)]


def test_a_source_that_cannot_be_moved_ends_the_stream_on_both_sides() -> None:
    transfer = Transfer()
    transfer.client.seekable = False
    server = transfer.restart(100)
    transfer.net.advance(1.0)
    assert isinstance(transfer.client.error(transfer.stream_id), StreamResumeError)
    assert isinstance(server.receive_error(transfer.key), StreamResumeError)


def test_what_is_kept_needs_no_source() -> None:
    transfer = Transfer(kept=True)
    transfer.client.seekable = False
    transfer.restart(100)
    transfer.arrives()
    assert transfer.client.of(SourceSeekWanted) == []


def test_what_is_kept_is_compared_by_the_shell_and_stays() -> None:
    transfer = Transfer(kept=True)
    seeks: list[SourceSeekWanted] = []
    transfer.client.on_seek = seeks.append
    server = transfer.restart(None)
    transfer.net.advance(1.0)
    server.core.choose_offset(transfer.key, HALF, digest_of(DATA[:HALF]), transfer.net.now)
    transfer.net.advance(1.0)
    assert seeks == [SourceSeekWanted(transfer.stream_id, HALF, digest_of(DATA[:HALF]))]
    transfer.client.core.move_source(transfer.stream_id, HALF, transfer.net.now)
    transfer.arrives()


def test_a_source_that_has_another_end_the_second_time_ends_the_stream() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", DATA, size=None)
    net.run()
    assert server.of(DataEnded)
    client.contents[stream_id] = DATA[:-1]
    server = net.restart("server")
    net.advance(5.0)
    assert client.error(stream_id).code is ErrorCode.INTEGRITY
    assert server.receive_error(client.key(stream_id)).code is ErrorCode.INTEGRITY


def test_one_of_which_only_the_confirmation_was_missing_is_confirmed_without_a_byte() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", DATA)
    net.run()
    sent = client.core.stats().bytes_sent
    server = net.restart("server")
    server.had[client.key(stream_id)] = DATA
    server.choose = lambda opened: len(DATA)
    net.advance(5.0)
    assert client.finished(stream_id)
    assert client.core.stats().bytes_sent == sent


def test_what_is_supplied_while_the_source_is_moved_does_not_count() -> None:
    transfer = Transfer()
    seeks: list[SourceSeekWanted] = []
    transfer.client.on_seek = seeks.append
    transfer.restart(100)
    transfer.net.advance(1.0)
    core, now = transfer.client.core, transfer.net.now
    assert transfer.sender == "seeking"
    core.supply(transfer.stream_id, [b"from before"], now)
    core.end_source(transfer.stream_id, None, now)
    core.fail_source(transfer.stream_id, StreamTimeout("from before"), now)
    # Nothing is on its way, so that a broken path does not matter.
    transfer.net.cut_all()
    transfer.net.advance(5.0)
    assert transfer.sender == "seeking"
    core.move_source(transfer.stream_id, 100, transfer.net.now)
    # Only the first answer counts, and only for a stream that there is.
    core.move_source(transfer.stream_id, 0, transfer.net.now)
    core.move_source(99, 0, transfer.net.now)
    core.abandon_source(99, StreamResumeError("too late"), transfer.net.now)
    core.abandon_source(transfer.stream_id, StreamResumeError("too late"), transfer.net.now)
    core.supply(transfer.stream_id, [DATA[100:]], transfer.net.now)
    core.end_source(transfer.stream_id, None, transfer.net.now)
    transfer.arrives()


def test_the_origin_shows_life_while_its_source_moves() -> None:
    transfer = Transfer(idle_timeout_s=8.0)
    transfer.client.on_seek = lambda event: None
    transfer.restart(100)
    transfer.net.advance(30.0)
    assert transfer.sender == "seeking"
    assert transfer.server.core.stats().receives != ()
    assert any(frame.probe for frame in transfer.net.sent("client", ResumeQuery))


def test_a_target_that_is_restarted_while_the_source_moves_is_asked_again() -> None:
    transfer = Transfer()
    transfer.client.on_seek = lambda event: None
    transfer.restart(100)
    transfer.net.advance(1.0)
    transfer.restart(200)
    transfer.client.on_seek = None
    transfer.client.core.move_source(transfer.stream_id, 100, transfer.net.now)
    transfer.client.supply(transfer.stream_id, DATA[100:], end=True)
    transfer.arrives()
    assert transfer.server.of(StreamPlaced) == [StreamPlaced(transfer.key, 200)]


@pytest.mark.parametrize("between", ["before the offer", "after the offer", "after the choice"])
def test_restarts_and_breaks_at_every_stage(between: str) -> None:
    transfer = Transfer()
    server = transfer.restart(None)
    net = transfer.net
    if between != "before the offer":
        net.advance(1.0)
        assert transfer.sender == "awaiting_offset"
    if between == "after the choice":
        net.mute.add("server")
        server.core.choose_offset(transfer.key, HALF, None, net.now)
        net.run()
        net.mute.clear()
    net.cut_all()
    transfer.restart(300)
    transfer.arrives()
    assert transfer.server.of(StreamPlaced) == [StreamPlaced(transfer.key, 300)]


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_an_undecided_stream_survives_breaks(cuts: int) -> None:
    transfer = Transfer()
    server = transfer.restart(None)
    transfer.net.advance(1.0)
    for _ in range(cuts):
        # The offer was confirmed, so that a break loses nothing; the origin asks all the same if it may have.
        transfer.net.cut_all()
        transfer.net.advance(6.0)
        assert transfer.sender == "awaiting_offset"
    server.core.choose_offset(transfer.key, HALF, None, transfer.net.now)
    transfer.arrives()
    assert len(server.of(StreamOpened)) == 1


def test_an_offer_whose_confirmation_was_lost_is_made_again() -> None:
    transfer = Transfer()
    net = transfer.net
    server = transfer.restart(None)
    net.tamper = lambda name, frame: None if name == "server" and isinstance(frame, Ack) else frame
    net.advance(1.0)
    assert server.opened
    net.tamper = None
    for _ in range(2):
        net.cut_all()
        net.advance(6.0)
        assert transfer.sender == "awaiting_offset"
    server.core.choose_offset(transfer.key, HALF, None, net.now)
    transfer.arrives()


def lose_choice(transfer: Transfer) -> None:
    """Restart the target, and lose the answer that says where it wants to go on."""
    server = transfer.restart(None)
    transfer.net.advance(1.0)
    transfer.net.tamper = lambda name, frame: None if isinstance(frame, ResumeReply) else frame
    server.core.choose_offset(transfer.key, HALF, None, transfer.net.now)
    transfer.net.run()
    transfer.net.tamper = None


def test_a_choice_that_was_lost_is_repeated() -> None:
    transfer = Transfer()
    lose_choice(transfer)
    transfer.net.cut_all()
    transfer.arrives()


def test_a_choice_that_was_lost_without_a_trace_is_repeated_in_time() -> None:
    transfer = Transfer(idle_timeout_s=8.0)
    lose_choice(transfer)
    transfer.arrives()


@pytest.mark.parametrize("agrees", [True, False])
def test_going_on_that_was_lost_is_agreed_anew(agrees: bool) -> None:
    transfer = Transfer()
    had = DATA if agrees else bytes(len(DATA))
    server = transfer.restart(None, had)
    net = transfer.net
    net.advance(1.0)
    net.tamper = lambda name, frame: None if isinstance(frame, Chunk) else frame
    server.core.choose_offset(transfer.key, HALF, digest_of(had[:HALF]), net.now)
    net.run()
    net.tamper = None
    net.cut_all()
    transfer.arrives()
    assert server.of(StreamPlaced) == [StreamPlaced(transfer.key, HALF if agrees else 0)]


def test_a_corrupt_chunk_does_not_say_where_the_stream_goes_on() -> None:
    transfer = Transfer()
    corrupted: list[Chunk] = []

    def corrupt(name: str, frame: Frame) -> Frame:
        if isinstance(frame, Chunk) and len(frame.payload) > 0 and not corrupted:
            corrupted.append(frame)
            return dataclasses.replace(frame, offset=frame.offset + 1)
        return frame

    transfer.net.tamper = corrupt
    transfer.restart(HALF)
    transfer.arrives()
    assert corrupted
    assert transfer.server.core.stats().corrupt_chunks == 1


def test_a_chunk_that_does_not_say_what_it_belongs_to_is_asked_for_again() -> None:
    transfer = Transfer()
    net = transfer.net
    stripped: list[Chunk] = []

    def strip(name: str, frame: Frame) -> Frame:
        if isinstance(frame, Chunk) and len(frame.payload) > 0 and not stripped:
            stripped.append(frame)
            return dataclasses.replace(frame, open=None)
        return frame

    net.tamper = strip
    transfer.restart(HALF)
    transfer.arrives()


def test_an_origin_that_goes_on_elsewhere_is_refused() -> None:
    transfer = Transfer()

    def lie(name: str, frame: Frame) -> Frame:
        if isinstance(frame, ResumeReply):
            return dataclasses.replace(frame, offset=frame.offset + 1)
        return frame

    transfer.net.tamper = lie
    transfer.restart(HALF)
    transfer.net.advance(5.0)
    assert transfer.client.error(transfer.stream_id).code is ErrorCode.RESUME
    assert transfer.server.receive_error(transfer.key).code is ErrorCode.RESUME


def test_what_is_assembled_by_the_new_life_comes_from_the_start() -> None:
    transfer = Transfer()
    server = transfer.restart(HALF)
    server.on_opened = lambda opened: server.accept(opened.key, assemble=True)
    transfer.arrives()


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
def test_a_stream_waits_for_its_callback_to_be_registered(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.send("server", DATA, kind=kind, idle_timeout_s=8.0)
    key = client.key(stream_id)
    if kind is StreamKind.BLOB:
        net.tamper = lambda name, frame: None if isinstance(frame, Chunk) and frame.last else frame
        net.cut_at.add(len(net.carried) + 4)
    net.run_until(lambda: any(send.received for send in client.core.stats().sends))
    net.tamper = None
    server = net.restart("server")
    server.auto_accept = False
    net.advance(2.0)
    (opened,) = server.of(StreamOpened)
    assert opened.seen_before
    server.core.await_callback(key, net.now)
    net.advance(7.0)
    server.accept(key, assemble=kind is StreamKind.BLOB)
    net.advance(60.0)
    assert server.got(key) == DATA
    assert client.finished(stream_id)


def test_but_no_longer_than_the_idle_timeout() -> None:
    transfer = Transfer(idle_timeout_s=8.0)
    server = transfer.restart()
    server.auto_accept = False
    transfer.net.advance(2.0)
    server.core.await_callback(transfer.key, transfer.net.now)
    transfer.net.advance(7.0)
    assert transfer.sender == "awaiting_offset"
    transfer.net.advance(2.0)
    error = transfer.client.error(transfer.stream_id)
    assert isinstance(error, StreamRejected)
    assert error.code is ErrorCode.NO_CALLBACK
    # And not at all, if it has ended.
    server.core.await_callback(transfer.key, transfer.net.now)


def test_it_waits_for_ever_if_the_sender_does() -> None:
    transfer = Transfer(idle_timeout_s=0.0, unreachable_timeout_s=0.0)
    server = transfer.restart()
    server.auto_accept = False
    transfer.net.advance(2.0)
    server.core.await_callback(transfer.key, transfer.net.now)
    transfer.net.advance(3_590.0)
    server.accept(transfer.key)
    transfer.arrives()


def test_it_does_not_wait_for_longer_than_the_target_grants() -> None:
    transfer = Transfer(idle_timeout_s=0.0, unreachable_timeout_s=0.0)
    server = transfer.restart()
    server.auto_accept = False
    transfer.net.advance(2.0)
    server.core.await_callback(transfer.key, transfer.net.now)
    transfer.net.advance(3_610.0)
    assert transfer.client.error(transfer.stream_id).code is ErrorCode.NO_CALLBACK


def test_a_callback_that_does_not_decide_is_idle() -> None:
    transfer = Transfer(idle_timeout_s=8.0)
    transfer.restart(None)
    transfer.net.advance(12.0)
    assert isinstance(transfer.client.error(transfer.stream_id), StreamTimeout)


def test_one_that_weighs_is_not() -> None:
    transfer = Transfer(idle_timeout_s=8.0)
    server = transfer.restart(None)
    transfer.net.advance(1.0)
    server.core.weigh_offset(transfer.key, transfer.net.now)
    transfer.net.advance(60.0)
    server.core.choose_offset(transfer.key, HALF, None, transfer.net.now)
    # Only the first choice counts.
    server.core.choose_offset(transfer.key, 0, None, transfer.net.now)
    transfer.arrives()
    server.core.weigh_offset(transfer.key, transfer.net.now)
    server.core.choose_offset(transfer.key, 0, None, transfer.net.now)


def answers(net: Net, server: Node, client: Node, *frames: Frame) -> None:
    server.core.receive(server.lane(), frames, net.now)
    net.run()


def opening_chunk(key: StreamKey, *, attempt: int = 1, offset: int = 0, **fields: Any) -> Chunk:
    checked = checksum(checksum_fields(key, attempt, 0, offset, last=False), 0)
    opening = make_open(StreamKind.STREAM, idle_timeout_s=300.0, **fields)
    return Chunk(key, "server", attempt, "c", "t", 0, offset, False, 16, checked, b"", opening)


def test_an_answer_of_an_earlier_life_does_not_count() -> None:
    transfer = Transfer()
    old = transfer.server.incarnation
    transfer.restart(None)
    transfer.net.advance(1.0)
    attempt = transfer.client.core.stats().sends[0].attempt
    reply = ResumeReply(transfer.key, "server", attempt, old, False, HALF, 16)
    transfer.client.core.receive(transfer.client.lane(), [reply], transfer.net.now)
    assert transfer.sender == "awaiting_offset"
    # Nor does one that says again that it is not known.
    reply = dataclasses.replace(reply, target_incarnation=transfer.server.incarnation, unknown=True)
    transfer.client.core.receive(transfer.client.lane(), [reply], transfer.net.now)
    assert transfer.sender == "awaiting_offset"


def test_the_last_word_of_an_earlier_life_counts_when_the_next_has_been_offered_the_stream() -> None:
    """A path has held it back. The next life has nothing left to get, and is told so when it has chosen."""
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", DATA)
    key, old = client.key(stream_id), server.incarnation
    net.run()
    server = net.restart("server")
    server.choose = lambda opened: None
    net.advance(1.0)
    assert [sends.state for sends in client.core.stats().sends] == ["awaiting_offset"]
    client.core.receive(client.lane(), [Ack(key, "server", 1, old, len(DATA), len(DATA), True, 16)], net.now)
    net.run()
    assert client.finished(stream_id)
    server.core.choose_offset(key, len(DATA), None, net.now)
    net.run()
    assert server.receive_error(key).code is ErrorCode.CANCELLED
    assert server.core.stats().receives == ()


def test_an_origin_that_does_not_wait_is_taken_at_its_word() -> None:
    net = Net()
    server, client = net.pair()
    server.choose = lambda opened: None
    key = client.key(1)
    answers(net, server, client, opening_chunk(key, awaits_offset=True))
    answers(net, server, client, opening_chunk(key, attempt=2))
    assert server.of(StreamPlaced) == [StreamPlaced(key, 0)]
    server.core.choose_offset(key, 7, None, net.now)
    net.run()
    assert net.sent("server", ResumeReply) == []


@pytest.mark.parametrize("cut", range(1, 40))
def test_cuts_at_every_frame_of_going_on(cut: int) -> None:
    transfer = Transfer()
    net = transfer.net
    transfer.restart(HALF)
    net.cut_at.add(len(net.carried) + cut)
    transfer.arrives()


@pytest.mark.parametrize("kill", range(1, 60, 2))
def test_restarts_at_every_frame_of_going_on(kill: int) -> None:
    transfer = Transfer()
    net = transfer.net
    transfer.restart(HALF)
    goal = len(net.carried) + kill
    net.run_until(lambda: len(net.carried) >= goal or transfer.client.finished(transfer.stream_id))
    if not transfer.client.finished(transfer.stream_id):
        transfer.restart(HALF + 1)
    transfer.arrives()


def test_a_life_that_was_only_offered_a_stream_has_not_seen_it() -> None:
    """What it has under the name may be of another source, and is to be compared."""
    net = Net()
    server, client = net.pair()
    server.choose = lambda opened: None
    client.stream("server", DATA, resume_id="name")
    net.advance(1.0)
    server = net.restart("server")
    net.advance(1.0)
    (opened,) = server.of(StreamOpened)
    assert opened.awaits_offset
    assert not opened.seen_before


def test_nor_has_one_that_did_not_hear_where_it_begins() -> None:
    """It has something else under the name, and was killed before it was told so."""
    net = Net()
    server, client = net.pair()
    server.choose = lambda opened: None
    stream_id = client.stream("server", DATA, resume_id="name")
    net.advance(1.0)
    net.tamper = lambda name, frame: None if isinstance(frame, Chunk) else frame
    server.core.choose_offset(client.key(stream_id), HALF, digest_of(bytes(HALF)), net.now)
    net.run()
    assert client.core.stats().bytes_sent > 0
    net.tamper = None
    server = net.restart("server")
    net.advance(1.0)
    (opened,) = server.of(StreamOpened)
    assert not opened.seen_before
