"""The sending half of a stream: its chunks, its credit, what the target has, and its source."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, Fault
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.base.events import SendFailed, SendProgressed, SourceWanted
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import LaneRole
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import checksum, make_lane, make_link
from tests.core.senders import Origin
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
