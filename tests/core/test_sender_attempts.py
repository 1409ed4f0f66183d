"""The sending half of a stream: what may have got lost, and attempts."""

from __future__ import annotations

from streamcell.digest import Digest
from streamcell.errors import ErrorCode
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.base.events import SendFailed, SourceSeekWanted
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import LostReason, ResumeQuery
from tests.core.harness import make_link
from tests.core.senders import LIFE, Origin
from tests.kit.payloads import pattern


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
