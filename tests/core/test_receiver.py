from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.errors import ProtocolError, StreamIntegrityError
from streamcell.limits import CHUNK_PAYLOAD_BYTES, INITIAL_CREDIT_BYTES, KIB, MIB, OUT_OF_ORDER_CHUNKS
from streamcell.protocol.flow.credit import Window, WindowBudget
from streamcell.protocol.receiving.half import CorruptChunk, StreamReceiver, TooManyGaps
from streamcell.protocol.receiving.states import (
    ReceiverInput,
)
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import checksum, make_context, make_open, pattern

KEY = StreamKey("origin", 1, 1)


def make_chunk(
    offset: int, payload: bytes, *, sequence: int = 0, attempt: int = 1, last: bool = False, **more: Any
) -> Chunk:
    fields = checksum_fields(KEY, attempt, sequence, offset, last=last)
    total = checksum(fields, checksum(payload, 0))
    return Chunk(KEY, "me", attempt, "c", "t", sequence, offset, last, 16, total, payload, **more)


def receiver_of(size: int | None = None, *, assemble: bool = False, window: int = 32 * MIB) -> StreamReceiver:
    receiver = StreamReceiver(
        make_context(), make_chunk(0, b""), make_open(StreamKind.STREAM, size), Window(WindowBudget(64 * MIB), window)
    )
    receiver.step(ReceiverInput.ACCEPTED)
    receiver.step(ReceiverInput.ADMITTED)
    receiver.assemble = assemble
    receiver.extend_credit(receiver.window.size)
    return receiver


def place(receiver: StreamReceiver, *chunks: Chunk) -> bytes:
    for chunk in chunks:
        receiver.place(chunk, on_shared_lane=False)
    return b"".join(receiver.take_pending())


def acks(receiver: StreamReceiver) -> list[tuple[int, int]]:
    return [(frame.received, frame.consumed) for frame in receiver.take_control_frames() if isinstance(frame, Ack)]


def credits_of(receiver: StreamReceiver) -> list[int]:
    return [frame.offset for frame in receiver.take_control_frames() if isinstance(frame, Credit)]


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
        got += place(receiver, chunk)
        assert got == data[: len(got)]
        assert receiver.received == receiver.delivered == len(got)
    assert got == data
    assert receiver.all_received


def test_a_wrong_checksum_takes_nothing_in() -> None:
    receiver = receiver_of()
    chunk = dataclasses.replace(make_chunk(0, b"abc", last=True), payload=b"abd")
    with pytest.raises(CorruptChunk):
        receiver.place(chunk, on_shared_lane=False)
    assert (receiver.received, receiver.ended, place(receiver)) == (0, False, b"")


@pytest.mark.parametrize("field", ["attempt", "sequence", "offset", "last"])
def test_the_checksum_covers_the_place_of_the_payload(field: str) -> None:
    chunk = make_chunk(0, b"abc")
    chunk = dataclasses.replace(chunk, **{field: getattr(chunk, field) + 1})
    with pytest.raises(CorruptChunk):
        receiver_of().place(chunk, on_shared_lane=False)


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
    with pytest.raises(StreamIntegrityError):
        place(receiver_of(size=3), *chunks)


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
    with pytest.raises(StreamIntegrityError):
        place(receiver_of(), *chunks)


def test_a_sender_that_ignores_its_credit_is_cut_off() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(receiver.credit + CHUNK_PAYLOAD_BYTES - 1, b"x"))
    with pytest.raises(ProtocolError):
        place(receiver, make_chunk(receiver.credit + CHUNK_PAYLOAD_BYTES, b"x"))


def test_an_empty_chunk_needs_no_credit() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(64 * MIB, b"", last=True))
    assert receiver.size == 64 * MIB


def test_the_pieces_beyond_a_gap_are_bounded_in_number() -> None:
    receiver = receiver_of()
    for number in range(OUT_OF_ORDER_CHUNKS):
        place(receiver, make_chunk(10 + 2 * number, b"x"))
    place(receiver, make_chunk(10, b"xy"))
    with pytest.raises(TooManyGaps):
        place(receiver, make_chunk(5, b"x"))


def test_the_longer_of_two_pieces_beyond_a_gap_is_kept() -> None:
    receiver = receiver_of()
    assert place(receiver, make_chunk(1, b"bcd"), make_chunk(1, b"b"), make_chunk(0, b"a")) == b"abcd"


def test_a_new_attempt_forgets_what_is_beyond_the_gap() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(0, b"a"), make_chunk(2, b"?"))
    receiver.enter_attempt(2, 1)
    assert place(receiver, make_chunk(1, b"b", attempt=2)) == b"b"
    assert place(receiver, make_chunk(2, b"c", attempt=2)) == b"c"


def test_a_new_attempt_starts_with_the_credit_that_was_given_and_says_so() -> None:
    receiver = receiver_of()
    receiver.extend_credit(MIB)
    receiver.take_control_frames()
    receiver.enter_attempt(2, 100)
    assert [type(frame) for frame in receiver.take_control_frames()] == [Credit, Ack]
    assert receiver.credit == MIB


def test_a_new_attempt_before_admission_has_what_is_left_of_the_initial_credit() -> None:
    receiver = StreamReceiver(
        make_context(), make_chunk(0, b""), make_open(StreamKind.BLOB), Window(WindowBudget(0), MIB)
    )
    receiver.enter_attempt(2, 100)
    assert receiver.credit == INITIAL_CREDIT_BYTES
    assert credits_of(receiver) == []


def test_credit_follows_the_reader_and_never_falls() -> None:
    receiver, given_credit = receiver_of(window=INITIAL_CREDIT_BYTES), INITIAL_CREDIT_BYTES
    data = pattern(64 * KIB)
    for number in range(20):
        place(receiver, make_chunk(number * len(data), data, sequence=number))
        receiver.consume(receiver.received)
        for credit in credits_of(receiver):
            assert credit >= given_credit
            given_credit = credit
        assert given_credit <= receiver.consumed + INITIAL_CREDIT_BYTES
    assert given_credit > 20 * len(data)


def test_credit_that_moved_little_is_not_worth_a_frame() -> None:
    receiver = receiver_of()
    receiver.take_control_frames()
    place(receiver, make_chunk(0, b"abc", sequence=1))
    receiver.consume(3)
    assert receiver.take_control_frames() == []


def test_an_unread_stream_gets_no_more_credit() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(0, pattern(INITIAL_CREDIT_BYTES)))
    assert receiver.credit == INITIAL_CREDIT_BYTES


def test_reading_what_was_not_delivered_does_not_count() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(0, b"abc"))
    receiver.consume(9)
    assert receiver.consumed == 3
    receiver.consume(1)
    assert receiver.consumed == 3


def test_the_first_chunk_and_the_end_are_acknowledged_at_once() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(0, b"a"))
    assert acks(receiver) == [(1, 0)]
    place(receiver, make_chunk(1, b"b", sequence=1))
    assert acks(receiver) == []
    place(receiver, make_chunk(2, b"c", sequence=2, last=True))
    assert acks(receiver) == [(3, 0)]


def test_between_them_every_64_kib_is() -> None:
    receiver, told = receiver_of(), 0
    for number in range(64):
        place(receiver, make_chunk(number * 16 * KIB, pattern(16 * KIB), sequence=number + 1))
        told += len(acks(receiver))
    assert told == 16


def test_a_large_window_needs_fewer_acks_but_not_on_a_shared_lane() -> None:
    for shared, expected in ((False, 0), (True, 1)):
        receiver = receiver_of()
        while receiver.window.size < 2 * MIB:
            receiver.window.grow(receiver.window.size * 100, receiver.window.size * 100)
        assert credits_of(receiver) != []
        receiver.place(make_chunk(0, pattern(100 * KIB), sequence=1), on_shared_lane=shared)
        assert len(acks(receiver)) == expected


def test_while_the_reader_keeps_up_each_credit_takes_an_ack_with_it_and_no_ack_goes_alone() -> None:
    receiver, told = receiver_of(), []
    while receiver.window.size < 4 * MIB:
        receiver.window.grow(receiver.window.size * 100, receiver.window.size * 100)
    assert credits_of(receiver) != []
    for number in range(64):
        end = (number + 1) * 128 * KIB
        place(receiver, make_chunk(end - 128 * KIB, pattern(128 * KIB), sequence=number + 1))
        assert receiver.take_control_frames() == []
        receiver.consume(end)
        told.append(tuple(type(frame) for frame in receiver.take_control_frames()))
    assert {(), (Credit, Ack)} == set(told)
    assert told.count((Credit, Ack)) == 64 * 128 * KIB // receiver.window.step_bytes


def test_what_nobody_reads_is_acknowledged_in_quarters_of_the_window() -> None:
    receiver = receiver_of()
    while receiver.window.size < 4 * MIB:
        receiver.window.grow(receiver.window.size * 100, receiver.window.size * 100)
    assert credits_of(receiver) != []
    step, told = receiver.window.size // 4, []
    for number in range(8):
        place(receiver, make_chunk(number * step // 2, pattern(step // 2), sequence=number + 1))
        told += acks(receiver)
    assert told == [(step, 0), (2 * step, 0), (3 * step, 0), (4 * step, 0)]


def test_a_blob_is_acknowledged_every_4_mib() -> None:
    receiver, told = receiver_of(size=16 * MIB, assemble=True), []
    receiver.extend_credit(16 * MIB)
    assert credits_of(receiver) != []
    for number in range(15):
        place(receiver, make_chunk(number * MIB, pattern(MIB), sequence=number + 1))
        told += acks(receiver)
    assert told == [(received * MIB, received * MIB) for received in (4, 8, 12)]


def test_an_assembled_blob_counts_as_consumed_when_delivered() -> None:
    receiver = receiver_of(size=3, assemble=True)
    place(receiver, make_chunk(0, b"abc", last=True))
    assert receiver.all_received
    assert receiver.consumed == 3


def test_frames_due_are_told_once_and_as_things_stand() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(0, b"a"))
    receiver.place(make_chunk(1, b"b", sequence=1), on_shared_lane=False)
    assert [(frame.attempt, getattr(frame, "received", 2)) for frame in receiver.take_control_frames()] == [(1, 2)] * 2
    assert receiver.take_control_frames() == []


def test_it_shows_life_unless_a_running_callback_leaves_bytes_unread() -> None:
    receiver = receiver_of()
    place(receiver, make_chunk(0, b"abc"))
    seen = [receiver.shows_life]
    receiver.callback_started = True
    seen.append(receiver.shows_life)
    receiver.consume(3)
    seen.append(receiver.shows_life)
    assert seen == [True, False, True]


def test_forgetting_gives_the_window_back() -> None:
    budget = WindowBudget(MIB)
    receiver = StreamReceiver(make_context(), make_chunk(0, b""), make_open(StreamKind.STREAM), Window(budget, MIB))
    receiver.window.grow(INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES)
    assert budget.free_bytes < MIB
    receiver.place(make_chunk(0, b"abc"), on_shared_lane=False)
    receiver.forget_payload()
    assert (budget.free_bytes, receiver.take_pending()) == (MIB, [])


def test_a_timer_without_an_owner_is_nothing() -> None:
    receiver = receiver_of()
    receiver.handle_timer(5.0)
    assert not receiver.all_received
