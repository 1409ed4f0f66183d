from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, Fault
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.base.events import (
    SendFailed,
    SendFinished,
    SendPlaced,
    SendProgressed,
    SourceSeekWanted,
    SourceWanted,
)
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import LaneRole, LostReason, Reset, ResumeQuery
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import checksum, make_lane, make_link
from tests.core.senders import LIFE, Origin
from tests.kit.payloads import pattern

# Chunks.


@given(st.lists(st.integers(1, 90 * KIB), max_size=12), st.integers(1, 64).map(lambda size: size * KIB))
def test_chunks_are_the_bytes_in_order_with_one_open_part_and_one_end(pieces: list[int], chunk_bytes: int) -> None:
    data = pattern(sum(pieces))
    origin = Origin(config={"chunk_bytes": chunk_bytes}).begin(ended=False)
    at = 0
    for size in pieces:
        origin.supply(data[at : at + size])
        at += size
    origin.end()
    origin.credit(16 * MIB)
    chunks = origin.cut()
    assert b"".join(chunk.payload for chunk in chunks) == data
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.open is not None for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(len(chunk.payload) <= chunk_bytes for chunk in chunks)


@given(st.integers(1, 600 * KIB), st.integers(1, 1024).map(lambda size: size * KIB))
def test_before_the_first_credit_no_chunk_crosses_the_initial_credit(size: int, chunk_bytes: int) -> None:
    origin = Origin(config={"chunk_bytes": chunk_bytes}).begin(pattern(size))
    sent = sum(len(chunk.payload) for chunk in origin.cut())
    assert sent == min(size, INITIAL_CREDIT_BYTES)


@given(st.integers(INITIAL_CREDIT_BYTES, 2 * MIB), st.integers(1, 1024).map(lambda size: size * KIB))
def test_after_it_the_overshoot_is_less_than_one_chunk(credit: int, chunk_bytes: int) -> None:
    origin = Origin(config={"chunk_bytes": chunk_bytes}).begin(pattern(3 * MIB))
    origin.credit(credit)
    end = sum(len(chunk.payload) for chunk in origin.cut())
    assert credit <= end < credit + chunk_bytes


def test_a_chunk_is_no_larger_than_the_room_on_the_lane() -> None:
    origin = Origin().begin(pattern(3 * KIB))
    chunk = origin.sender.take_chunk(origin.link, origin.lane, KIB, origin.now, control=True)
    assert bytes(chunk.payload) == pattern(3 * KIB)[:KIB]


def test_an_empty_chunk_needs_no_credit() -> None:
    origin = Origin().begin(pattern(INITIAL_CREDIT_BYTES), ended=False)
    origin.cut()
    assert not origin.sender.can_send()
    origin.end()
    (end,) = origin.cut()
    assert (end.last, len(end.payload), end.offset) == (True, 0, INITIAL_CREDIT_BYTES)


def test_the_open_part_goes_ahead_of_a_source_that_gives_nothing_yet() -> None:
    (chunk,) = Origin(headers=(("k", 1),)).begin(ended=False).cut()
    assert chunk.open is not None
    assert (chunk.open.description.headers, len(chunk.payload), chunk.last) == ((("k", 1),), 0, False)


def test_nothing_goes_without_a_way() -> None:
    origin = Origin().begin(b"abc", way=False)
    assert origin.cut() == []
    origin.sender.on_way_changed(origin.link, origin.now)
    assert len(origin.cut()) == 1


def test_the_checksum_covers_payload_and_place() -> None:
    (chunk,) = Origin().begin(b"abc").cut()
    fields = struct.pack("<QIQQB", 7, 1, 0, 0, 1)
    assert checksum_fields(chunk.key, 1, 0, 0, last=True) == fields
    assert chunk.checksum == checksum(fields, checksum(b"abc", 0))


def test_the_digest_comes_with_the_last_chunk_only() -> None:
    origin = Origin(config={"chunk_bytes": 2 * KIB}).begin(pattern(3 * KIB), ended=False)
    origin.end(Digest("sha256:00"))
    assert [chunk.digest for chunk in origin.cut()] == [None, Digest("sha256:00")]


def test_the_first_attempt_is_for_the_life_that_is_there_when_its_first_chunk_goes() -> None:
    origin = Origin().begin(b"abc")
    origin.owner.life = 8
    (chunk,) = origin.cut()
    assert chunk.open is not None
    assert chunk.open.target_incarnation == 8


def test_bytes_that_go_again_are_counted_as_such() -> None:
    origin = Origin(config={"chunk_bytes": 2 * KIB}).begin(pattern(6 * KIB), ended=False)
    origin.cut()
    origin.lost()
    origin.reply(2 * KIB)
    origin.cut()
    assert (origin.count("bytes_sent"), origin.count("bytes_retransmitted")) == (10 * KIB, 4 * KIB)


# Credit.


def test_credit_never_falls() -> None:
    origin = Origin().begin(pattern(MIB))
    origin.credit(600 * KIB)
    origin.credit(300 * KIB)
    assert origin.sender.attempt.allowed_by_next == 600 * KIB


def test_credit_of_another_way_or_attempt_does_not_count() -> None:
    origin = Origin().begin(pattern(MIB))
    origin.credit(600 * KIB, link=make_link())
    origin.credit(600 * KIB, attempt=2)
    assert origin.sender.attempt.allowed_by_next == INITIAL_CREDIT_BYTES


def test_credit_that_overtakes_the_answer_counts_when_the_attempt_begins() -> None:
    origin = Origin(size=MIB).begin(pattern(MIB))
    origin.cut()
    origin.lost()
    origin.credit(900 * KIB)
    assert origin.cut() == []
    origin.reply(100)
    chunks = origin.cut()
    assert chunks[0].offset == 100
    assert origin.sender.attempt.next_offset >= 900 * KIB


def test_until_the_first_credit_it_is_bound_to_the_lane_of_its_first_chunk() -> None:
    origin = Origin().begin(pattern(MIB))
    origin.cut()
    assert origin.sender.lane_id == origin.lane.lane_id
    origin.credit(MIB)
    origin.cut(lane=make_lane(2, LaneRole.BULK))
    assert origin.sender.lane_id is None


def test_a_new_attempt_goes_no_further_than_the_credit_that_there_was() -> None:
    origin = Origin(config={"chunk_bytes": 2 * KIB}).begin(pattern(MIB))
    origin.cut()
    origin.lost()
    origin.reply(2 * KIB)
    assert origin.sender.attempt.allowed_by_next == INITIAL_CREDIT_BYTES
    origin.credit(2 * INITIAL_CREDIT_BYTES)
    origin.lost()
    origin.now += 60
    origin.sender.handle_timer(origin.now)
    origin.reply(6 * KIB)
    assert origin.sender.attempt.allowed_by_next == 6 * KIB + INITIAL_CREDIT_BYTES
    origin.ack(6 * KIB, 6 * KIB)
    origin.lost()
    origin.reply(2 * INITIAL_CREDIT_BYTES + KIB)
    # All that was allowed before is sent: nothing goes ahead of that until the target gives more.
    assert origin.sender.attempt.allowed_by_next == 2 * INITIAL_CREDIT_BYTES + KIB


def test_an_attempt_that_began_without_a_way_gets_its_initial_credit_with_the_way() -> None:
    origin = Origin().begin(pattern(MIB), way=False)
    assert origin.sender.attempt.allowed_by_next == 0
    origin.sender.on_way_changed(origin.link, origin.now)
    assert origin.sender.attempt.allowed_by_next == INITIAL_CREDIT_BYTES


# What the target has.


def test_a_stream_keeps_what_is_not_consumed_and_a_blob_everything() -> None:
    stream = Origin().begin(ended=False)
    stream.supply(b"abc", b"def")
    stream.cut()
    stream.ack(6, 3)
    assert stream.sender.source.buffer.start == 3
    blob = Origin(StreamKind.BLOB).begin(b"abcdef", ended=False)
    blob.cut()
    blob.ack(6, 6)
    assert blob.sender.source.buffer.start == 0


def test_an_old_confirmation_takes_nothing_back() -> None:
    origin = Origin().begin(b"abcdef", ended=False)
    origin.cut()
    origin.ack(6, 6)
    origin.ack(3, 2)
    assert (origin.sender.confirmed.received, origin.sender.confirmed.consumed) == (6, 6)
    assert origin.told(SendProgressed) == [SendProgressed(7, 6)]


def test_what_an_attempt_has_yet_to_send_is_kept_though_the_target_has_it() -> None:
    origin = Origin(config={"chunk_bytes": 2 * KIB}).begin(pattern(6 * KIB))
    origin.cut()
    origin.lost()
    origin.reply(0)
    origin.ack(6 * KIB, 6 * KIB)
    assert b"".join(bytes(chunk.payload) for chunk in origin.cut()) == pattern(6 * KIB)


def test_a_target_that_confirms_more_than_there_is_breaks_the_rules() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.ack(4, 0)
    (failed,) = origin.told(SendFailed)
    assert failed.error.code is ErrorCode.PROTOCOL


def test_a_source_that_failed_ends_the_stream_when_the_target_has_what_it_gave() -> None:
    origin = Origin().begin(b"abc", ended=False)
    origin.cut()
    origin.sender.fail_source(CellError("no disk", ErrorCode.SOURCE, Fault.ORIGIN), origin.now)
    origin.supply(b"more")
    assert origin.told(SendFailed) == []
    origin.ack(3, 0)
    (failed,) = origin.told(SendFailed)
    assert failed.error.code is ErrorCode.SOURCE


# What may have got lost.


def breaks_silently(origin: Origin) -> bool:
    """Break its lane, and return whether it is content with a sign of life: nothing can have got lost."""
    attempt = origin.sender.attempt.number
    origin.sender.on_lane_lost(origin.link, origin.lane.lane_id, origin.now)
    return origin.sender.attempt.number == attempt


def test_a_lane_that_it_did_not_use_is_no_concern_of_its() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.sender.on_lane_lost(origin.link, origin.lane.lane_id + 1, origin.now)
    assert (origin.posted(), origin.sender.attempt.number) == ([], 1)


def test_what_is_unconfirmed_is_in_flight_or_an_end_or_unanswered() -> None:
    unanswered = Origin().begin(ended=False)
    unanswered.cut()
    assert not breaks_silently(unanswered)
    answered = Origin().begin(ended=False)
    answered.cut()
    answered.ack(0, 0)
    assert breaks_silently(answered)
    answered.supply(b"abc")
    answered.cut()
    assert not breaks_silently(answered)
    confirmed = Origin().begin(b"abc", ended=False)
    confirmed.cut()
    confirmed.ack(3, 0)
    assert breaks_silently(confirmed)
    confirmed.end()
    confirmed.cut()
    assert not breaks_silently(confirmed)


def test_an_attempt_that_waits_for_its_first_credit_is_not_confirmed_by_an_ack() -> None:
    origin = Origin(config={"chunk_bytes": INITIAL_CREDIT_BYTES}).begin(bytes(INITIAL_CREDIT_BYTES + 1))
    origin.cut()
    origin.lost()
    origin.reply(INITIAL_CREDIT_BYTES)
    (chunk,) = origin.cut()
    assert (chunk.offset, len(chunk.payload)) == (INITIAL_CREDIT_BYTES, 0)
    origin.ack(INITIAL_CREDIT_BYTES, 0)
    waiting = origin.sender.attempt
    assert waiting.is_unconfirmed(INITIAL_CREDIT_BYTES)
    origin.credit(2 * INITIAL_CREDIT_BYTES)
    assert not waiting.is_unconfirmed(INITIAL_CREDIT_BYTES)


def test_a_lane_that_was_emptied_concerns_nobody_and_binds_nobody() -> None:
    origin = Origin().begin(pattern(KIB), ended=False)
    origin.cut()
    origin.sender.on_lane_emptied(origin.lane.lane_id, origin.now)
    assert origin.sender.lane_id is None
    assert breaks_silently(origin)
    assert origin.posted() == []


# Attempts.


def test_a_new_attempt_says_everything_again() -> None:
    origin = Origin().begin(b"abcdef")
    origin.cut()
    origin.lost()
    assert not origin.sender.can_send()
    origin.reply(2)
    (chunk,) = origin.cut()
    assert (chunk.attempt, chunk.sequence, chunk.offset, bytes(chunk.payload)) == (2, 0, 2, b"cdef")
    assert chunk.open is not None


def test_a_question_goes_before_a_sign_of_life_and_each_once() -> None:
    origin = Origin(idle_timeout_s=4.0).begin(b"abc", ended=False)
    origin.cut()
    origin.now += 1.5
    origin.sender.handle_timer(origin.now)
    assert [frame.probe for frame in origin.speak()] == [True]
    assert origin.speak() == []
    origin.now += 1.5
    origin.sender.handle_timer(origin.now)
    origin.lost()
    assert [frame.probe for frame in origin.speak()] == [False]
    assert origin.speak() == []


def test_a_question_that_a_lane_may_have_lost_is_asked_again_in_the_same_attempt() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.lost()
    (first,) = origin.speak()
    origin.sender.on_lane_lost(origin.link, 1, origin.now)
    assert origin.posted() == [first]


def test_a_second_loss_in_a_row_waits_before_it_asks() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.lost()
    origin.lost()
    assert (origin.sender.state, origin.sender.attempt.number) == (SenderState.BACKING_OFF, 2)
    origin.now = origin.sender.backoff_until
    origin.sender.handle_timer(origin.now)
    assert (origin.sender.state, origin.sender.attempt.number, origin.count("resumes")) == (SenderState.RESUMING, 3, 2)


def test_an_ack_ends_a_row_of_losses() -> None:
    origin = Origin().begin(b"abc", ended=False)
    origin.cut()
    origin.lost()
    origin.reply(0)
    origin.cut()
    origin.ack(3, 0)
    origin.lost()
    assert origin.sender.state is SenderState.RESUMING


def test_what_is_late_of_an_earlier_attempt_changes_nothing() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.lost()
    origin.ack(3, 3, attempt=1)
    origin.lost(attempt=1)
    origin.reply(3, attempt=1)
    assert (origin.sender.state, origin.sender.attempt.number) == (SenderState.RESUMING, 2)
    assert origin.sender.confirmed.received == 0


def test_news_of_a_way_ends_the_wait_and_moves_the_question() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.lost()
    origin.lost()
    other = make_link()
    origin.sender.on_way_changed(other, origin.now)
    assert (origin.sender.state, origin.sender.attempt.number) == (SenderState.RESUMING, 3)
    # It was not asked yet: the attempt has no way that it could leave.
    origin.sender.on_way_changed(origin.link, origin.now)
    assert origin.sender.attempt.number == 3
    assert other.outbox.take(10, 1, origin.now) == []
    origin.speak()
    origin.sender.on_way_changed(other, origin.now)
    assert origin.sender.attempt.number == 4
    assert [frame.attempt for frame in other.outbox.take(10, 1, origin.now) if isinstance(frame, ResumeQuery)] == [4]


def test_a_way_that_changes_between_answer_and_first_chunk_is_a_new_attempt_without_a_question() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    origin.lost()
    origin.speak()
    origin.reply(1)
    other = make_link()
    origin.sender.on_way_changed(other, origin.now)
    (chunk,) = origin.cut()
    assert (chunk.attempt, chunk.offset) == (3, 1)
    assert origin.speak() == []


def test_a_source_that_is_sought_is_no_reason_to_keep_an_old_way() -> None:
    origin = Origin(resume_id="name").begin(b"abc")
    origin.cut()
    origin.reply(1, prefix_digest=Digest("sha256:00"))
    assert origin.told(SourceSeekWanted) == [SourceSeekWanted(7, 1, Digest("sha256:00"))]
    origin.sender.on_way_changed(make_link(), origin.now)
    assert (origin.sender.state, origin.sender.attempt.number) == (SenderState.SEEKING, 2)
    origin.sender.move_source(1, origin.now)
    assert origin.sender.state is SenderState.SENDING


def test_an_end_that_a_refused_attempt_sent_has_reached_nobody() -> None:
    origin = Origin(StreamKind.BLOB).begin(b"abc")
    origin.cut()
    origin.lost(LostReason.OTHER_LIFE)
    origin.reply(None, life=LIFE + 1)
    assert (origin.sender.state, origin.owner.settled) == (SenderState.SENDING, [])
    origin.cut()
    origin.lost()
    origin.now += 60
    origin.sender.handle_timer(origin.now)
    origin.reply(None, life=LIFE + 2)
    (failed,) = origin.told(SendFailed)
    assert failed.error.code is ErrorCode.OUTCOME_UNKNOWN


def test_where_there_is_no_room_the_origin_rests_before_it_asks_again() -> None:
    origin = Origin().begin(b"abc")
    origin.cut()
    for attempt in (1, 2):
        origin.lost(LostReason.LIMIT)
        assert (origin.sender.state, origin.sender.attempt.number) == (SenderState.BACKING_OFF, attempt)
        origin.now = origin.sender.backoff_until
        origin.sender.handle_timer(origin.now)
        assert (origin.sender.state, origin.sender.attempt.number) == (SenderState.RESUMING, attempt + 1)
    assert origin.told(SendFailed) == []


def test_what_finds_no_room_waits_as_in_line() -> None:
    origin = Origin(unreachable_timeout_s=30.0).begin(b"abc")
    origin.cut()
    for _ in range(3):
        origin.now += 25.0
        origin.lost(LostReason.LIMIT)
        origin.sender.handle_timer(origin.now)
        origin.sender.handle_timer(origin.sender.backoff_until)
    assert origin.told(SendFailed) == []
    origin.sender.handle_timer(origin.now + 30.0)
    assert origin.told(SendFailed) != []


def test_what_found_no_room_may_go_to_the_next_life_of_its_target() -> None:
    """Nothing of it was taken in, so it cannot come twice."""
    origin = Origin(StreamKind.BLOB).begin(b"abc")
    assert origin.cut()[-1].last
    origin.lost(LostReason.LIMIT)
    origin.now = origin.sender.backoff_until
    origin.sender.handle_timer(origin.now)
    origin.speak()
    origin.reply(None, life=LIFE + 1)
    assert [bytes(chunk.payload) for chunk in origin.cut()] == [b"abc"]


# The source.


def test_the_source_reads_ahead_no_more_than_configured() -> None:
    origin = Origin(config={"read_ahead_bytes": 64 * KIB}).begin(ended=False)
    assert origin.told(SourceWanted) == [SourceWanted(7, 64 * KIB)]
    origin.supply(pattern(60 * KIB))
    origin.supply(pattern(4 * KIB))
    assert len(origin.told(SourceWanted)) == 1
    origin.cut()
    assert origin.told(SourceWanted)[1:] == [SourceWanted(7, 64 * KIB)]


def test_the_source_is_asked_for_more_when_its_reader_has_read() -> None:
    origin = Origin(config={"read_ahead_bytes": MIB, "chunk_bytes": 64 * KIB}).begin(ended=False)
    origin.supply(pattern(INITIAL_CREDIT_BYTES))
    origin.cut()
    before = len(origin.told(SourceWanted))
    origin.credit(4 * INITIAL_CREDIT_BYTES)
    origin.supply(pattern(INITIAL_CREDIT_BYTES))
    origin.cut()
    origin.ack(2 * INITIAL_CREDIT_BYTES, 2 * INITIAL_CREDIT_BYTES)
    assert len(origin.told(SourceWanted)) > before


def test_nothing_is_asked_of_a_source_that_has_ended() -> None:
    origin = Origin().begin(ended=False)
    assert len(origin.told(SourceWanted)) == 1
    origin.end()
    origin.cut()
    assert len(origin.told(SourceWanted)) == 1


def test_while_the_source_is_sought_what_it_gives_does_not_count() -> None:
    origin = Origin(resume_id="name").begin(b"abcdef", ended=False)
    origin.cut()
    origin.reply(3, prefix_digest=Digest("sha256:00"))
    origin.supply(b"late")
    origin.sender.move_source(3, origin.now)
    origin.supply(b"def")
    origin.end()
    # How much may follow the offset that it has chosen is for the target to say.
    (first,) = origin.cut()
    assert (first.offset, len(first.payload), first.last) == (3, 0, False)
    origin.credit(KIB)
    (chunk,) = origin.cut()
    assert (chunk.offset, bytes(chunk.payload), chunk.last) == (3, b"def", True)


# The states.

STATES = pytest.mark.parametrize("state", list(SenderState), ids=lambda state: state.name)


def led_to(state: SenderState) -> Origin:
    origin = Origin()
    if state is not SenderState.QUEUED:
        origin.begin(b"abc", ended=state is SenderState.FINISHING)
    if state is SenderState.SETTLED:
        origin.give_up()
    if state not in (SenderState.QUEUED, SenderState.SENDING, SenderState.SETTLED):
        origin.cut()
    if state is SenderState.AWAITING_OFFSET:
        origin.ack(3, 3)
    if state not in (SenderState.QUEUED, SenderState.SENDING, SenderState.FINISHING, SenderState.SETTLED):
        origin.lost()
    if state is SenderState.BACKING_OFF:
        origin.lost()
    elif state is SenderState.SEEKING:
        origin.reply(0, prefix_digest=Digest("sha256:00"))
    elif state is SenderState.AWAITING_OFFSET:
        origin.reply(None, life=LIFE + 1)
    assert origin.sender.state is state
    assert state.name in repr(origin.sender)
    return origin


@STATES
def test_giving_up_tells_the_target_where_it_may_know_the_stream(state: SenderState) -> None:
    origin = led_to(state)
    before = len(origin.owner.settled)
    origin.posted()
    origin.give_up()
    resets = [frame for frame in origin.posted() if isinstance(frame, Reset)]
    assert origin.sender.state is SenderState.SETTLED
    assert len(resets) == (state not in (SenderState.QUEUED, SenderState.SETTLED))
    assert len(origin.owner.settled) == before + (state is not SenderState.SETTLED)


@STATES
def test_a_reset_ends_what_the_target_can_know_without_a_word(state: SenderState) -> None:
    origin = led_to(state)
    before = len(origin.owner.settled)
    origin.reset()
    under_way = state not in (SenderState.QUEUED, SenderState.SETTLED)
    assert (origin.sender.state is SenderState.SETTLED) == (state is not SenderState.QUEUED)
    assert len(origin.owner.settled) == before + under_way
    assert [error.code for error in origin.owner.settled[before:] if error] == [ErrorCode.NO_CALLBACK] * under_way


@STATES
def test_a_lost_path_is_asked_about_where_something_was_on_it(state: SenderState) -> None:
    origin = led_to(state)
    attempt = origin.sender.attempt.number
    origin.ack(0, 0, life=origin.sender.target_life or LIFE)
    origin.lost()
    asks = state not in (SenderState.QUEUED, SenderState.SEEKING, SenderState.BACKING_OFF, SenderState.SETTLED)
    assert origin.sender.attempt.number == attempt + asks
    assert (origin.sender.state is state) == (not asks or state is SenderState.RESUMING)


def test_the_target_may_confirm_all_while_it_is_asked() -> None:
    origin = Origin().begin(b"abc")
    origin.ack(3, 3, complete=True)
    assert origin.owner.settled == []
    origin.cut()
    origin.lost()
    origin.ack(3, 2, complete=True)
    assert origin.owner.settled == []
    origin.ack(3, 3, complete=True, attempt=1)
    assert origin.told(SendFinished) == [SendFinished(7, 3)]
    assert origin.owner.settled == [None]


def test_going_on_says_how_much_the_target_had_that_was_not_on_its_way() -> None:
    origin = Origin(resume_id="name").begin(pattern(100))
    origin.cut()
    origin.reply(60)
    assert origin.told(SendPlaced) == [SendPlaced(7, 60, 60)]


def test_a_life_that_knows_nothing_takes_the_progress_back() -> None:
    origin = led_to(SenderState.AWAITING_OFFSET)
    assert origin.told(SendProgressed) == [SendProgressed(7, 3), SendProgressed(7, 0)]
    (offer,) = origin.cut()
    assert offer.open is not None
    assert (offer.open.seen_before, offer.open.awaits_offset, len(offer.payload)) == (True, True, 0)
    # Until it has chosen an offset, none of its Acks says how much it has.
    origin.ack(9, 9, life=LIFE + 1)
    assert origin.sender.confirmed.received == 0
