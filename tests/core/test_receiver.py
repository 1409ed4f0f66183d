"""One receiving half: its bytes, its credit, its Acks, its end."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.digest import Digest
from streamcell.errors import ErrorCode, ProtocolError, StreamCancelled, StreamIntegrityError
from streamcell.limits import CHUNK_PAYLOAD_BYTES, CORRUPT_CHUNKS, INITIAL_CREDIT_BYTES, KIB, MIB, OUT_OF_ORDER_CHUNKS
from streamcell.protocol.base.events import DataEnded, ReceiveFinished, StreamAdmitted
from streamcell.protocol.receiving.news import ACK_DELAY_S
from streamcell.protocol.receiving.states import ReceiverState
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Lost, LostReason, Reset, ResumeQuery
from tests.core.harness import make_open
from tests.core.receivers import KEY, NOW, OneReceiver, make_chunk
from tests.kit.payloads import pattern


def receiver_of(size: int | None = None, *, window: int = 32 * MIB) -> OneReceiver:
    """Return one that is read piece by piece."""
    return OneReceiver(size=size, window=window).accepted()


def reasons(receiver: OneReceiver) -> list[LostReason]:
    return [frame.reason for frame in receiver.says() if isinstance(frame, Lost)]


@given(st.integers(0, 20_000), st.integers(20, 3000), st.integers(0, 1 << 30), st.integers(0, 30))
def test_chunks_in_any_order_and_more_than_once_give_the_bytes_once(
    size: int, step: int, seed: int, repeats: int
) -> None:
    data = pattern(size)
    chunks = [
        make_chunk(at, data[at : at + step], sequence=1 + at // step, last=at + step >= size)
        for at in range(0, max(size, 1), step)
    ]
    shuffler = random.Random(seed)
    # Pieces of another attempt may have been cut elsewhere.
    extra = [
        make_chunk(at := shuffler.randrange(size), data[at : at + 777], sequence=9999) for _ in range(repeats) if size
    ]
    arriving = [*chunks, *extra]
    shuffler.shuffle(arriving)
    receiver, got = receiver_of(), b""
    for chunk in arriving:
        got += receiver.place(chunk)
        assert got == data[: len(got)]
        assert receiver.half.progress.received == len(got)
    assert got == data
    assert receiver.half.progress.whole


def test_what_comes_before_admission_is_given_out_after_it_and_only_then_can_be_consumed() -> None:
    receiver = OneReceiver()
    assert receiver.place(make_chunk(0, b"ab"), make_chunk(2, b"cd", sequence=1)) == b""
    receiver.half.on_consumed(4, NOW)
    assert receiver.half.progress.consumed == 0
    receiver.accepted()
    assert receiver.place() == b"abcd"
    assert receiver.place(make_chunk(4, b"e", sequence=2, last=True)) == b"e"


def test_a_wrong_checksum_takes_nothing_in_and_is_asked_for_again() -> None:
    receiver = receiver_of()
    chunk = dataclasses.replace(make_chunk(0, b"abc", last=True), payload=b"abd")
    assert receiver.place(chunk) == b""
    assert (receiver.half.progress.received, receiver.half.progress.end_said) == (0, False)
    assert reasons(receiver) == [LostReason.CORRUPT]


def test_too_many_wrong_checksums_are_the_end() -> None:
    receiver = receiver_of()
    chunk = dataclasses.replace(make_chunk(0, b"abc"), payload=b"abd")
    for _ in range(CORRUPT_CHUNKS):
        receiver.place(chunk)
    assert reasons(receiver) == [LostReason.CORRUPT] * (CORRUPT_CHUNKS - 1)
    (last_word,) = receiver.ended
    assert isinstance(last_word, Reset)


@pytest.mark.parametrize("field", ["attempt", "sequence", "offset", "last"])
def test_the_checksum_covers_the_place_of_the_payload(field: str) -> None:
    receiver = receiver_of()
    chunk = make_chunk(0, b"abc")
    receiver.place(dataclasses.replace(chunk, **{field: getattr(chunk, field) + 1}))
    assert reasons(receiver) == [LostReason.CORRUPT]


@pytest.mark.parametrize(
    "chunks",
    [
        [make_chunk(0, b"abcd")],
        [make_chunk(0, b"ab", last=True)],
        [make_chunk(2, b"cd")],
        [make_chunk(0, b"abcd", last=True)],
    ],
    ids=["too much", "too little", "too much beyond a gap", "too much with the end"],
)
def test_bytes_that_contradict_the_declared_size_are_an_integrity_error(chunks: list[Chunk]) -> None:
    receiver = receiver_of(size=3)
    for chunk in chunks:
        receiver.half.on_chunk(receiver.link, chunk, NOW)
    assert isinstance(receiver.failure(), StreamIntegrityError)


@pytest.mark.parametrize(
    "chunks",
    [
        [make_chunk(0, b"abc", last=True), make_chunk(3, b"d")],
        [make_chunk(0, b"abc", last=True), make_chunk(0, b"ab", last=True)],
        [make_chunk(0, b"abc"), make_chunk(0, b"ab", last=True)],
    ],
    ids=["more after the end", "another end", "an end before what came"],
)
def test_bytes_that_contradict_the_end_are_an_integrity_error(chunks: list[Chunk]) -> None:
    receiver = receiver_of()
    for chunk in chunks:
        receiver.half.on_chunk(receiver.link, chunk, NOW)
    assert isinstance(receiver.failure(), StreamIntegrityError)


def test_a_sender_that_ignores_its_credit_is_cut_off() -> None:
    receiver = receiver_of()
    allowed = receiver.half.allowance.allowed_to_previous
    receiver.place(make_chunk(allowed + CHUNK_PAYLOAD_BYTES - 1, b"x"))
    with pytest.raises(ProtocolError):
        receiver.place(make_chunk(allowed + CHUNK_PAYLOAD_BYTES, b"x"))
    assert isinstance(receiver.failure(), ProtocolError)


def test_an_empty_chunk_needs_no_credit() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(64 * MIB, b"", last=True))
    assert receiver.half.progress.size == 64 * MIB


def test_the_pieces_beyond_a_gap_are_bounded_in_number() -> None:
    receiver = receiver_of()
    for number in range(OUT_OF_ORDER_CHUNKS):
        receiver.place(make_chunk(10 + 2 * number, b"x"))
    receiver.place(make_chunk(10, b"xy"))
    assert reasons(receiver) == []
    receiver.place(make_chunk(5, b"x"))
    assert reasons(receiver) == [LostReason.LANE_LOST]


def test_the_longer_of_two_pieces_beyond_a_gap_is_kept() -> None:
    receiver = receiver_of()
    assert receiver.place(make_chunk(1, b"bcd"), make_chunk(1, b"b"), make_chunk(0, b"a")) == b"abcd"


# Attempts.


def test_a_new_attempt_forgets_what_is_beyond_the_gap() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(0, b"a"), make_chunk(2, b"?"))
    assert receiver.place(make_chunk(1, b"b", attempt=2)) == b"b"
    assert receiver.place(make_chunk(2, b"c", attempt=2)) == b"c"


def test_a_new_attempt_starts_with_the_credit_that_was_given_and_says_so() -> None:
    receiver = receiver_of(size=2 * MIB)
    receiver.widen(MIB)
    given_credit = receiver.half.allowance.allowed_to_previous
    receiver.half.on_query(receiver.link, ResumeQuery(KEY, "me", 2, False, 16), NOW)
    assert [type(frame) for frame in receiver.says()][1:] == [Credit, Ack]
    assert receiver.half.allowance.allowed_to_previous == given_credit
    assert receiver.half.attempt == 2


def test_a_new_attempt_before_admission_has_what_is_left_of_the_initial_credit() -> None:
    receiver = OneReceiver(StreamKind.BLOB)
    receiver.place(make_chunk(0, pattern(100)), make_chunk(100, b"x", attempt=2))
    assert receiver.half.allowance.allowed_to_previous == INITIAL_CREDIT_BYTES
    assert receiver.credits() == []


# Credit.


def test_credit_follows_the_reader_and_never_falls() -> None:
    receiver, given_credit = receiver_of(window=INITIAL_CREDIT_BYTES), INITIAL_CREDIT_BYTES
    data = pattern(64 * KIB)
    for number in range(20):
        receiver.place(make_chunk(number * len(data), data, sequence=number))
        receiver.half.on_consumed((number + 1) * len(data), NOW)
        for credit in receiver.credits():
            assert credit >= given_credit
            given_credit = credit
        assert given_credit <= receiver.half.progress.consumed + INITIAL_CREDIT_BYTES
    assert given_credit > 20 * len(data)


def test_credit_that_moved_little_is_not_worth_a_frame() -> None:
    receiver = receiver_of()
    receiver.says()
    receiver.place(make_chunk(0, b"abc", sequence=1))
    receiver.half.on_consumed(3, NOW)
    assert receiver.says() == []


def test_an_unread_stream_gets_no_more_credit() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(0, pattern(INITIAL_CREDIT_BYTES)))
    assert receiver.half.allowance.allowed_to_previous == INITIAL_CREDIT_BYTES


def test_reading_what_was_not_delivered_does_not_count() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(0, b"abc"))
    receiver.half.on_consumed(9, NOW)
    assert receiver.half.progress.consumed == 3
    receiver.half.on_consumed(1, NOW)
    assert receiver.half.progress.consumed == 3


# Acks.


def test_the_first_chunk_and_the_end_are_acknowledged_at_once() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(0, b"a"))
    assert receiver.acks() == [(1, 0)]
    receiver.place(make_chunk(1, b"b", sequence=1))
    assert receiver.acks() == []
    receiver.place(make_chunk(2, b"c", sequence=2, last=True))
    assert receiver.acks() == [(3, 0)]


def test_between_them_every_64_kib_is() -> None:
    receiver, told = receiver_of(), 0
    for number in range(64):
        receiver.place(make_chunk(number * 16 * KIB, pattern(16 * KIB), sequence=number + 1))
        told += len(receiver.acks())
    assert told == 16


def test_a_large_window_needs_fewer_acks_but_not_on_a_shared_lane() -> None:
    for shared, expected in ((False, 0), (True, 1)):
        receiver = receiver_of()
        receiver.widen(2 * MIB)
        if shared:
            receiver.link.lanes.clear()
        receiver.place(make_chunk(0, pattern(100 * KIB), sequence=1))
        assert len(receiver.acks()) == expected


def test_while_the_reader_keeps_up_each_credit_takes_an_ack_with_it_and_no_ack_goes_alone() -> None:
    receiver, told = receiver_of(), []
    receiver.widen(4 * MIB)
    for number in range(64):
        end = (number + 1) * 128 * KIB
        receiver.place(make_chunk(end - 128 * KIB, pattern(128 * KIB), sequence=number + 1))
        assert receiver.says() == []
        receiver.half.on_consumed(end, NOW)
        told.append(tuple(type(frame) for frame in receiver.says()))
    assert {(), (Credit, Ack)} == set(told)
    assert told.count((Credit, Ack)) == 64 * 128 * KIB // receiver.half.allowance.window.step_bytes


def test_what_nobody_reads_is_acknowledged_in_quarters_of_the_window() -> None:
    receiver = receiver_of()
    receiver.widen(4 * MIB)
    step, told = receiver.half.allowance.window.size // 4, []
    for number in range(8):
        receiver.place(make_chunk(number * step // 2, pattern(step // 2), sequence=number + 1))
        told += receiver.acks()
    assert told == [(step, 0), (2 * step, 0), (3 * step, 0), (4 * step, 0)]


def test_a_blob_is_acknowledged_every_4_mib() -> None:
    receiver = OneReceiver(StreamKind.BLOB, 16 * MIB).accepted(assemble=True)
    told: list[tuple[int, int]] = []
    assert receiver.credits() == [16 * MIB]
    for number in range(15):
        receiver.place(make_chunk(number * MIB, pattern(MIB), sequence=number + 1))
        told += receiver.acks()
    assert told == [(received * MIB, received * MIB) for received in (4, 8, 12)]


def test_an_assembled_blob_counts_as_consumed_when_delivered() -> None:
    receiver = OneReceiver(StreamKind.BLOB, 3).accepted(assemble=True)
    receiver.place(make_chunk(0, b"abc", last=True))
    assert receiver.half.progress.whole
    assert receiver.half.progress.consumed == 3


def test_frames_due_are_told_once_and_as_things_stand() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(0, b"a"), make_chunk(1, b"b", sequence=1))
    assert [
        (frame.attempt, getattr(frame, "received", 2)) for frame in receiver.half.news.take_control_frames(1, NOW)
    ] == [(1, 2)] * 2
    assert receiver.half.news.take_control_frames(1, NOW) == []


def test_an_ack_that_is_due_stays_due_when_there_is_nothing_new_to_be_told_late() -> None:
    receiver = receiver_of()
    receiver.place(make_chunk(0, b"a"))
    receiver.says()
    receiver.place(make_chunk(1, b"b", sequence=1))
    receiver.half.news.take_control_frames(1, NOW)
    receiver.half.news.repeat()
    receiver.half.handle_timer(NOW + ACK_DELAY_S)
    assert receiver.acks() == [(2, 0)]


def test_it_shows_life_unless_a_running_callback_leaves_bytes_unread() -> None:
    receiver = OneReceiver(idle_timeout_s=40.0).accepted()
    receiver.place(make_chunk(0, b"abc"))
    seen = []
    for number, change in enumerate(
        (None, receiver.half.on_callback_started, lambda: receiver.half.on_consumed(3, NOW))
    ):
        if change is not None:
            change()
        receiver.says()
        receiver.half.handle_timer(NOW + 10.0 * (number + 1))
        seen.append(receiver.acks() != [])
        receiver.half.on_query(receiver.link, ResumeQuery(KEY, "me", 1, True, 16), NOW + 10.0 * (number + 1))
        receiver.says()
    assert seen == [True, False, True]


# Ending.


def test_what_is_over_gives_its_window_back_and_says_nothing_more() -> None:
    receiver = OneReceiver(budget=MIB, window=MIB).accepted()
    receiver.place(make_chunk(0, pattern(INITIAL_CREDIT_BYTES)))
    receiver.half.on_consumed(INITIAL_CREDIT_BYTES, NOW)
    assert receiver.budget.free_bytes < MIB
    receiver.half.give_up(StreamCancelled("enough"), NOW)
    assert receiver.budget.free_bytes == MIB
    assert [type(frame) for frame in receiver.says()] == [Reset]
    assert receiver.context.deadlines.next_deadline() is None
    receiver.half.on_chunk(receiver.link, make_chunk(INITIAL_CREDIT_BYTES, b"x"), NOW)
    receiver.half.on_released(NOW)
    receiver.half.on_approved(NOW)
    assert len(receiver.ended) == 1


def test_it_is_confirmed_once_when_it_is_approved_and_released() -> None:
    receiver = receiver_of(size=3)
    receiver.place(make_chunk(0, b"abc", last=True))
    receiver.half.on_released(NOW)
    assert receiver.half.state is ReceiverState.RECEIVED
    receiver.half.on_approved(NOW)
    assert [event.size_bytes for event in receiver.take_events(ReceiveFinished)] == [3]
    (last_word,) = receiver.ended
    assert isinstance(last_word, Ack)
    assert (last_word.complete, last_word.received, last_word.consumed) == (True, 3, 3)
    assert receiver.says() == [last_word]


def test_what_is_assembled_and_released_before_its_end_is_confirmed_at_its_end() -> None:
    receiver = OneReceiver(StreamKind.BLOB, 3).accepted(assemble=True)
    receiver.half.on_released(NOW)
    assert receiver.ended == []
    receiver.half.on_chunk(receiver.link, make_chunk(0, b"abc", last=True), NOW)
    assert len(receiver.take_events(ReceiveFinished)) == 1
    assert receiver.says() == receiver.ended


def test_an_origin_that_is_gone_is_told_nothing() -> None:
    receiver = receiver_of()
    receiver.says()
    receiver.half.on_origin_gone(StreamCancelled("gone"), NOW)
    assert (receiver.says(), receiver.ended) == ([], [None])
    assert str(receiver.failure()) == "gone"


def test_what_waits_for_memory_begins_when_there_is_some() -> None:
    receiver = OneReceiver(StreamKind.BLOB, 3)
    assert receiver.place(make_chunk(0, b"abc", last=True)) == b""
    receiver.half.on_accepted(NOW, assemble=True, reserve=True)
    kinds = [type(event) for event in receiver.context.events]
    assert kinds[0] is StreamAdmitted
    assert kinds[-1] is DataEnded


@pytest.mark.parametrize("reserve", [False, True])
def test_what_is_too_large_to_be_assembled_is_not_admitted(reserve: bool) -> None:
    receiver = OneReceiver(StreamKind.STREAM, MIB, max_blob_bytes=KIB)
    receiver.half.on_accepted(NOW, assemble=True, reserve=reserve)
    assert receiver.take_events(StreamAdmitted) == []
    (last_word,) = receiver.ended
    assert isinstance(last_word, Reset)
    assert last_word.code is ErrorCode.TOO_LARGE


def test_what_the_application_says_of_a_blob_that_is_assembled_gives_no_credit() -> None:
    receiver = OneReceiver(StreamKind.BLOB, 3).accepted(assemble=True)
    receiver.says()
    receiver.place(make_chunk(0, b"abc", sequence=1))
    receiver.half.on_consumed(3, NOW)
    receiver.half.on_approved(NOW)
    assert receiver.says() == []


# Where it begins.


def awaiting() -> OneReceiver:
    """Return one of which the origin waits to be told where to go on."""
    return OneReceiver(awaits_offset=True).accepted()


def test_a_piece_does_not_count_before_it_is_known_where_the_stream_begins() -> None:
    receiver = awaiting()
    receiver.place(make_chunk(0, b"abc"))
    assert receiver.half.progress.received == 0
    assert reasons(receiver) == [LostReason.UNKNOWN_HERE]


def test_where_the_origin_goes_on_is_not_believed_with_a_wrong_checksum() -> None:
    receiver = awaiting()
    receiver.half.on_start_chosen(5, Digest("sha256:1"))
    begins = make_chunk(5, b"abc", open=make_open(StreamKind.STREAM))
    receiver.place(dataclasses.replace(begins, payload=b"abd"))
    assert reasons(receiver) == [LostReason.CORRUPT]
    receiver.place(begins)
    assert receiver.half.progress.received == 8


def test_a_start_that_nobody_asked_for_is_the_end() -> None:
    receiver = awaiting()
    receiver.half.on_start_chosen(5, None)
    receiver.place(make_chunk(7, b"abc", open=make_open(StreamKind.STREAM)))
    (last_word,) = receiver.ended
    assert isinstance(last_word, Reset)
    assert last_word.code is ErrorCode.RESUME
