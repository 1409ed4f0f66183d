from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.links.link import Lane
from streamcell.protocol.links.states import (
    LaneState,
)
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.states import (
    SenderInput,
)
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, LaneRole
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import checksum, make_context, make_link, make_spec
from tests.kit.payloads import pattern


def started(data: bytes = b"", *, ended: bool = True, **config: Any) -> StreamSender:
    sender = StreamSender(make_context(**config), make_spec(kind=StreamKind.STREAM, headers=(("k", 1),)), 7)
    sender.step(SenderInput.ADMITTED)
    sender.link = make_link()
    sender.begin(0, INITIAL_CREDIT_BYTES)
    sender.buffer.append(data)
    sender.source_ended = ended
    return sender


def cut_all(sender: StreamSender) -> list[Chunk]:
    chunks = []
    while sender.can_send():
        chunks.append(sender.cut_chunk(1, ()))
        if chunks[-1].last:
            sender.step(SenderInput.LAST_SENT)
    return chunks


@given(st.lists(st.integers(1, 90 * KIB), max_size=12), st.integers(1, 64).map(lambda size: size * KIB))
def test_chunks_are_the_bytes_in_order_with_one_open_part_and_one_end(pieces: list[int], chunk_bytes: int) -> None:
    data = pattern(sum(pieces))
    sender = started(chunk_bytes=chunk_bytes, ended=True)
    at = 0
    for size in pieces:
        sender.buffer.append(data[at : at + size])
        at += size
    sender.extend_credit(16 * MIB)
    chunks = cut_all(sender)
    assert b"".join(chunk.payload for chunk in chunks) == data
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.open is not None for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(len(chunk.payload) <= chunk_bytes for chunk in chunks)


@given(st.integers(1, 600 * KIB), st.integers(1, 1024).map(lambda size: size * KIB))
def test_before_the_first_credit_no_chunk_crosses_the_initial_credit(size: int, chunk_bytes: int) -> None:
    sender = started(pattern(size), chunk_bytes=chunk_bytes)
    sent = sum(len(chunk.payload) for chunk in cut_all(sender))
    assert sent == min(size, INITIAL_CREDIT_BYTES)


@given(st.integers(INITIAL_CREDIT_BYTES, 2 * MIB), st.integers(1, 1024).map(lambda size: size * KIB))
def test_after_it_the_overshoot_is_less_than_one_chunk(credit: int, chunk_bytes: int) -> None:
    sender = started(pattern(3 * MIB), chunk_bytes=chunk_bytes)
    sender.extend_credit(credit)
    cut_all(sender)
    assert credit <= sender.next_offset < credit + chunk_bytes


def test_credit_never_falls() -> None:
    sender = started(pattern(MIB))
    sender.extend_credit(600 * KIB)
    sender.extend_credit(300 * KIB)
    assert sender.credit == 600 * KIB


def test_credit_that_overtakes_the_answer_counts_when_the_attempt_begins() -> None:
    sender = started(pattern(MIB))
    sender.raise_attempt()
    sender.extend_credit(900 * KIB)
    sender.begin(100, INITIAL_CREDIT_BYTES)
    assert (sender.credited, sender.credit) == (True, 900 * KIB)


def test_an_empty_chunk_needs_no_credit() -> None:
    sender = started(pattern(INITIAL_CREDIT_BYTES), ended=False)
    cut_all(sender)
    assert not sender.can_send()
    sender.source_ended = True
    (end,) = cut_all(sender)
    assert (end.last, len(end.payload), end.offset) == (True, 0, INITIAL_CREDIT_BYTES)


def test_the_open_part_goes_ahead_of_a_source_that_gives_nothing_yet() -> None:
    (chunk,) = cut_all(started(ended=False))
    assert chunk.open is not None
    assert (chunk.open.description.headers, len(chunk.payload), chunk.last) == ((("k", 1),), 0, False)


def test_nothing_goes_without_a_way() -> None:
    sender = started(b"abc")
    sender.link = None
    assert not sender.can_send()


def test_the_checksum_covers_payload_and_place() -> None:
    (chunk,) = cut_all(started(b"abc"))
    fields = struct.pack("<QIQQB", 7, 1, 0, 0, 1)
    assert checksum_fields(chunk.key, 1, 0, 0, last=True) == fields
    assert chunk.checksum == checksum(fields, checksum(b"abc", 0))


def test_the_digest_comes_with_the_last_chunk_only() -> None:
    sender = started(pattern(3 * KIB), chunk_bytes=2 * KIB)
    sender.digest = "sha256:00"
    assert [chunk.digest for chunk in cut_all(sender)] == ["", "sha256:00"]


def test_a_new_attempt_says_everything_again() -> None:
    sender = started(b"abcdef")
    cut_all(sender)
    sender.step(SenderInput.PATH_LOST)
    sender.raise_attempt()
    assert not sender.can_send()
    sender.step(SenderInput.GO_ON)
    sender.begin(2, INITIAL_CREDIT_BYTES)
    (chunk,) = cut_all(sender)
    assert (chunk.attempt, chunk.sequence, chunk.offset, bytes(chunk.payload)) == (2, 0, 2, b"cdef")
    assert chunk.open is not None


def test_a_stream_keeps_what_is_not_consumed_and_a_blob_everything() -> None:
    stream = started(b"abc")
    stream.buffer.append(b"def")
    cut_all(stream)
    stream.confirm(6, 3)
    assert stream.buffer.start == 3
    blob = StreamSender(make_context(), make_spec(kind=StreamKind.BLOB), 1)
    blob.buffer.append(b"abc")
    blob.confirm(3, 3)
    assert blob.buffer.start == 0


def test_an_old_confirmation_takes_nothing_back() -> None:
    sender = started(b"abcdef")
    sender.confirm(6, 6)
    sender.confirm(3, 2)
    assert (sender.received, sender.consumed) == (6, 6)


def test_what_is_unconfirmed_is_in_flight_or_an_end_or_unanswered() -> None:
    sender = started(ended=False)
    seen = [sender.unconfirmed]
    cut_all(sender)
    seen.append(sender.unconfirmed)
    sender.answered = True
    seen.append(sender.unconfirmed)
    assert seen == [False, True, False]
    sender.buffer.append(b"abc")
    cut_all(sender)
    assert (sender.in_flight, sender.unconfirmed) == (3, True)
    sender.confirm(3, 0)
    assert (sender.in_flight, sender.unconfirmed) == (0, False)
    sender.source_ended = True
    cut_all(sender)
    assert sender.unconfirmed


def test_a_query_goes_before_a_probe_and_each_once() -> None:
    sender = started()
    sender.probe_due = sender.query_due = True
    (query,) = sender.take_control_frames()
    assert not query.probe
    assert sender.take_control_frames() == []
    sender.probe_due = True
    assert [frame.probe for frame in sender.take_control_frames()] == [True]


def test_the_source_reads_ahead_no_more_than_configured() -> None:
    sender = started(ended=False, read_ahead_bytes=64 * KIB)
    assert sender.source_room() == 64 * KIB
    sender.buffer.append(pattern(60 * KIB))
    assert sender.source_room() == 0
    cut_all(sender)
    assert sender.source_room() == 64 * KIB


def test_the_source_is_not_asked_twice_for_the_same_room() -> None:
    sender = started(ended=False)
    assert sender.source_room() > 0
    sender.wanted = 1
    assert sender.source_room() == 0
    sender.wanted = 0
    sender.source_ended = True
    assert sender.source_room() == 0


def test_bytes_that_go_again_are_counted_as_such() -> None:
    context = make_context(chunk_bytes=2 * KIB)
    sender = StreamSender(context, make_spec(), 1)
    sender.step(SenderInput.ADMITTED)
    sender.link = make_link()
    sender.begin(0, 4 * KIB)
    sender.buffer.append(pattern(6 * KIB))
    cut_all(sender)
    sender.step(SenderInput.PATH_LOST)
    sender.raise_attempt()
    sender.step(SenderInput.GO_ON)
    sender.begin(2 * KIB, 4 * KIB)
    cut_all(sender)
    assert [context.counters.snapshot()[name] for name in ("bytes_sent", "bytes_retransmitted")] == [6 * KIB, 2 * KIB]


def test_a_timer_without_an_owner_is_nothing() -> None:
    sender = started(b"abc")
    sender.handle_timer(5.0)
    assert sender.can_send()


def test_a_new_attempt_goes_no_further_than_the_credit_that_there_was() -> None:
    sender = StreamSender(make_context(chunk_bytes=2 * KIB), make_spec(), 1)
    sender.begin(0, 4 * KIB)
    sender.begin(2 * KIB, 4 * KIB)
    assert sender.credit == 4 * KIB
    sender.extend_credit(8 * KIB)
    sender.raise_attempt()
    sender.begin(6 * KIB, 4 * KIB)
    assert sender.credit == 8 * KIB
    sender.raise_attempt()
    sender.begin(9 * KIB, 4 * KIB)
    assert sender.credit == 9 * KIB


def test_without_a_table_it_cuts_its_chunks_all_the_same() -> None:
    sender = StreamSender(make_context(), make_spec(), 1)
    sender.step(SenderInput.ADMITTED)
    sender.begin(0, 1000)
    sender.buffer.append(b"data")
    link, lane = make_link(), Lane(1, LaneState.READY, LaneRole.CONTROL, 1)
    assert sender.take_chunk(link, lane, None, 0.0, control=True).payload == b"data"


def test_what_an_attempt_has_yet_to_send_is_kept_though_the_target_has_it() -> None:
    sender = started(pattern(6 * KIB), chunk_bytes=2 * KIB)
    cut_all(sender)
    sender.step(SenderInput.PATH_LOST)
    sender.raise_attempt()
    sender.step(SenderInput.GO_ON)
    sender.begin(0, INITIAL_CREDIT_BYTES)
    sender.confirm(6 * KIB, 6 * KIB)
    assert b"".join(bytes(chunk.payload) for chunk in cut_all(sender)) == pattern(6 * KIB)


def test_an_attempt_that_began_without_a_way_gets_its_initial_credit_with_the_way() -> None:
    sender = StreamSender(make_context(), make_spec(), 1)
    sender.begin(0, 0)
    assert sender.credit == 0
    sender.begin(0, INITIAL_CREDIT_BYTES)
    assert sender.credit == INITIAL_CREDIT_BYTES


def test_an_attempt_that_waits_for_its_first_credit_is_not_confirmed_by_an_ack() -> None:
    sender = StreamSender(make_context(), make_spec(), 1)
    sender.buffer.append(bytes(INITIAL_CREDIT_BYTES + 1))
    sender.begin(0, INITIAL_CREDIT_BYTES)
    sender.ask()
    sender.begin(INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES)
    chunk = sender.cut_chunk(0, ())
    assert (chunk.offset, len(chunk.payload)) == (INITIAL_CREDIT_BYTES, 0)
    sender.confirm(INITIAL_CREDIT_BYTES, 0)
    sender.answered = True
    assert sender.unconfirmed
    sender.extend_credit(2 * INITIAL_CREDIT_BYTES)
    assert not sender.unconfirmed
