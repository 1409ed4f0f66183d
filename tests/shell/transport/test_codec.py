"""The codec against protobuf's own output and parser."""

import dataclasses
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell import limits
from streamcell.errors import ErrorCode, Fault, ProtocolError
from streamcell.protocol.wire import frames
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.frames import Chunk, Frame, LaneRole, LostReason, Payload
from streamcell.transport.codec import LARGE_BYTES, decode_batch, encode_batch
from streamcell.transport.parts import join
from streamcell.v1 import cell_pb2
from tests.shell.transport import wire
from tests.shell.transport.batches import KEY, LATER_FIELD, REF, batch_of, batch_of_opening, chunk, decode, encode

# --- the same as protobuf ------------------------------------------------------------------------


@given(wire.batches)
def test_what_is_encoded_is_decoded_to_the_same(batch: list[Frame]) -> None:
    assert decode(encode(batch)) == batch


@given(wire.batches)
def test_the_bytes_are_those_that_protobuf_writes(batch: list[Frame]) -> None:
    encoded = encode(batch)
    for message in (cell_pb2.ExchangeRequest, cell_pb2.ExchangeResponse):
        parsed = message.FromString(encoded)
        assert len(parsed.frames) == len(batch)
        assert parsed.SerializeToString(deterministic=True) == encoded


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, limits.CHUNK_PAYLOAD_BYTES])
def test_a_chunk_is_the_message_of_the_wire_spec(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    expected = batch_of(
        chunk={
            "stream": REF,
            "channel": "channel",
            "topic": "topic",
            "last": True,
            "hops_left": 16,
            "checksum": 5,
            "payload": payload,
        }
    )
    assert encode([chunk(payload)]) == expected
    assert encode([chunk(memoryview(payload))]) == expected
    assert decode(expected) == [chunk(payload)]


def test_an_ack_is_the_message_of_the_wire_spec() -> None:
    ack = frames.Ack(KEY, "server", 1, 9, 20, 10, True, 16)
    expected = batch_of(
        ack={
            "stream": REF,
            "target_incarnation": 9,
            "received": 20,
            "consumed": 10,
            "complete": True,
            "hops_left": 16,
        }
    )
    assert encode([ack]) == expected


def test_headers_are_typed_and_whole_numbers_are_not_truth_values() -> None:
    headers = (("a", True), ("b", 1), ("c", 1.0), ("d", "1"), ("e", b"1"))
    opening = frames.Open(StreamDescription(StreamKind.BLOB, headers=headers))
    [decoded] = decode(encode([chunk(opening=opening)]))
    assert isinstance(decoded, Chunk)
    assert decoded.open is not None
    assert [type(value) for _, value in decoded.open.description.headers] == [bool, int, float, str, bytes]


def test_size_zero_and_unknown_size_differ() -> None:
    for size in (0, None):
        [decoded] = decode(encode([chunk(opening=frames.Open(StreamDescription(StreamKind.BLOB, size)))]))
        assert isinstance(decoded, Chunk)
        assert decoded.open is not None
        assert decoded.open.description.size == size


def test_a_large_payload_is_a_view_of_the_batch_and_a_small_one_is_not() -> None:
    encoded = encode([chunk(bytes(LARGE_BYTES)), chunk(bytes(10))])
    large, small = decode(encoded)
    assert isinstance(large, Chunk)
    assert isinstance(large.payload, memoryview)
    assert large.payload.readonly
    assert large.payload.obj is encoded
    assert isinstance(small, Chunk)
    assert isinstance(small.payload, bytes)


def test_a_large_chunk_that_came_alone_goes_on_as_it_came() -> None:
    batch = encode([chunk(bytes(LARGE_BYTES))])
    # What a later version may add to the frame goes on with it.
    frame = cell_pb2.ExchangeRequest.FromString(batch).frames[0].SerializeToString() + LATER_FIELD
    later = cell_pb2.ExchangeRequest(frames=[cell_pb2.Frame.FromString(frame)]).SerializeToString()
    assert len(later) > len(batch)
    for data in (batch, later):
        frames_read = decode(data)
        assert frames_read == [chunk(bytes(LARGE_BYTES))]
        assert encode(frames_read) is data


def test_a_chunk_that_did_not_come_alone_goes_on_alone() -> None:
    large = chunk(bytes(LARGE_BYTES))
    ack = frames.Ack(KEY, "server", 1, 7, 0, 0, False, 16)
    unknown = cell_pb2.ExchangeRequest(frames=[cell_pb2.Frame.FromString(LATER_FIELD)]).SerializeToString()
    for data in (encode([ack, large]), encode([large, ack]), unknown + encode([large])):
        [read] = [frame for frame in decode(data) if isinstance(frame, Chunk)]
        assert encode([read]) == encode([large])


def test_a_chunk_goes_on_beside_others() -> None:
    [read] = decode(encode([chunk(bytes(LARGE_BYTES))]))
    ack = frames.Ack(KEY, "server", 1, 7, 0, 0, False, 16)
    assert decode(encode([ack, read])) == [ack, read]


def test_an_empty_batch_has_no_frames() -> None:
    assert encode([]) == b""
    assert decode(b"") == []


# --- parts ---------------------------------------------------------------------------------------


def cut(batch: bytes, rng: random.Random) -> list[Payload]:
    """The batch in parts of any size, some of them empty or views, as a carrier may hand it out."""
    places = sorted(
        rng.choice((rng.randrange(len(batch) + 1), rng.randrange(min(len(batch), 99) + 1))) for _ in "abcde"
    )
    pieces = [batch[start:end] for start, end in itertools.pairwise((0, *places, len(batch)))]
    return [memoryview(piece) if rng.random() < 0.5 else piece for piece in pieces]


@given(wire.batches, st.randoms(use_true_random=True))
def test_how_a_batch_is_cut_into_parts_changes_nothing(batch: list[Frame], rng: random.Random) -> None:
    encoded = encode(batch)
    assert decode_batch(cut(encoded, rng)) == batch
    assert decode_batch(encode_batch(batch)) == batch


def test_a_large_payload_is_a_part_of_its_own_that_nobody_copies() -> None:
    sent = bytearray(LARGE_BYTES)
    parts = encode_batch([frames.Pong(1), chunk(memoryview(sent)), frames.Pong(2)])
    sent[0] = 7
    assert [memoryview(part).obj is sent for part in parts] == [False, False, True, False]
    _, read, _ = decode_batch(parts)
    assert isinstance(read, Chunk)
    assert read.payload[0] == 7
    assert isinstance(read.payload, memoryview)
    assert read.payload.obj is sent


def test_a_large_chunk_goes_on_in_the_parts_that_it_came_in() -> None:
    parts = encode_batch([chunk(bytes(LARGE_BYTES))])
    assert len(parts) == 2
    assert encode_batch(decode_batch(parts)) is parts
    assert join(parts) == encode([chunk(bytes(LARGE_BYTES))])


@pytest.mark.parametrize("size", [LARGE_BYTES - 1, LARGE_BYTES, 2 * LARGE_BYTES])
def test_damaged_parts_are_refused_as_a_damaged_whole_is(size: int) -> None:
    encoded = bytearray(encode([chunk(bytes(size))]))
    encoded[1:3] = b"\xff\xff"
    with pytest.raises(ProtocolError) as whole:
        decode(bytes(encoded))
    with pytest.raises(ProtocolError) as parts:
        decode_batch([bytes(encoded[:2]), b"", memoryview(encoded)[2:]])
    assert parts.value.sentence == whole.value.sentence


# --- any order that protobuf reads ---------------------------------------------------------------


def canonical(batch: bytes) -> bytes:
    """The batch as protobuf understands it, written as protobuf writes it."""
    message = cell_pb2.ExchangeRequest.FromString(batch)
    message.DiscardUnknownFields()
    return message.SerializeToString()


UNKNOWN_FIELDS = (
    wire.field(30, b"from a later version"),
    wire.field(2000, bytes(limits.KIB)),
    wire.varint(31 << 3) + wire.varint(2**64 - 1),
    wire.varint(32 << 3 | 1) + bytes(8),
    wire.varint(33 << 3 | 5) + bytes(4),
    # A known number with another wire type is an unknown field too.
    wire.varint(15 << 3) + b"\x01",
    wire.varint(6 << 3 | 5) + bytes(4),
)


def shuffled(message: bytes, rng: random.Random) -> bytes:
    """The fields of a message in another order, with unknown ones, and some twice."""
    fields = [encoded for _, encoded in wire.split_fields(message)]
    # What stands there twice is nothing that is known, so there may be little of it.
    short = [field for field in fields if len(field) < limits.KIB]
    fields += rng.choices(short, k=rng.randrange(3)) if short else []
    fields += rng.choices(UNKNOWN_FIELDS, k=rng.randrange(3))
    rng.shuffle(fields)
    return b"".join(fields)


def rearranged(batch: bytes, rng: random.Random) -> bytes:
    """A batch whose frames and chunks have their fields in other orders."""
    parts = []
    for _, encoded in wire.split_fields(batch):
        frame = encoded[wire.read_varint(encoded, 1)[1] :]
        kinds = []
        for number, kind in wire.split_fields(frame):
            body = kind[wire.read_varint(kind, wire.read_varint(kind, 0)[1])[1] :]
            if rng.random() < 0.3:  # split into two that protobuf merges
                half = [field for _, field in wire.split_fields(body)]
                cut = rng.randrange(len(half) + 1)
                kinds.append(wire.field(number, b"".join(half[:cut])))
                body = b"".join(half[cut:])
            kinds.append(wire.field(number, shuffled(body, rng)))
        parts.append(wire.field(1, b"".join(kinds) + rng.choice((b"", *UNKNOWN_FIELDS))))
    return b"".join(parts) + rng.choice((b"", *UNKNOWN_FIELDS))


@given(st.lists(wire.small_chunks | wire.large_chunks, max_size=3), st.randoms(use_true_random=True))
def test_fields_may_come_in_any_order_and_more_than_once(batch: list[Frame], rng: random.Random) -> None:
    # Headers that come twice are refused, so there are none here.
    for frame in batch:
        if isinstance(frame, Chunk) and frame.open is not None:
            frame.open.description = dataclasses.replace(frame.open.description, headers=())
            frame.open.settled = ()
    encoded = rearranged(encode(batch), rng)
    assert decode(encoded) == decode(canonical(encoded))


def test_of_several_payloads_the_last_one_counts() -> None:
    head = cell_pb2.Chunk(stream=REF, channel="c", topic="t").SerializeToString()
    payloads = b"".join(wire.field(15, bytes([fill]) * LARGE_BYTES) for fill in (1, 2))
    encoded = wire.field(1, wire.field(6, payloads + head))
    [decoded] = decode(encoded)
    assert isinstance(decoded, Chunk)
    assert decoded.payload == b"\x02" * LARGE_BYTES


def test_of_several_kinds_in_one_frame_the_last_one_counts() -> None:
    large = wire.field(6, cell_pb2.Chunk(payload=bytes(LARGE_BYTES - 12)).SerializeToString())
    pong = wire.field(16, cell_pb2.Pong(nonce=4).SerializeToString())
    assert decode(wire.field(1, large + pong)) == [frames.Pong(4)]


def test_what_this_version_does_not_know_is_left_out() -> None:
    unknown_kind = wire.field(1, wire.field(99, b"a later kind"))
    no_kind = wire.field(1, b"")
    large_unknown_kind = wire.field(1, wire.field(99, bytes(LARGE_BYTES // 2 - 100)))
    pong = encode([frames.Pong(1)])
    for unknown in (unknown_kind, no_kind, large_unknown_kind, *UNKNOWN_FIELDS):
        assert decode(unknown + pong + unknown) == [frames.Pong(1)]


def padded(batch: bytes, place: str, padding: bytes) -> bytes:
    """A batch of one chunk with bytes in an unknown field of one of its messages."""
    [(_, frame)] = wire.split_fields(batch)
    frame = frame[wire.read_varint(frame, 1)[1] :]
    [(_, body)] = wire.split_fields(frame)
    body = body[wire.read_varint(body, 1)[1] :]
    unknown = wire.field(2000, padding)
    inside = {name: unknown if name == place else b"" for name in ("batch", "frame", "chunk")}
    return inside["batch"] + wire.field(1, inside["frame"] + wire.field(6, body + inside["chunk"]))


@pytest.mark.parametrize("place", ["batch", "frame", "chunk"])
@pytest.mark.parametrize("payload_bytes", [1, LARGE_BYTES, limits.MIB])
def test_a_batch_has_little_room_for_what_is_not_known(place: str, payload_bytes: int) -> None:
    batch = encode([chunk(bytes(payload_bytes))])
    assert decode(padded(batch, place, bytes(limits.UNKNOWN_BYTES - 100))) == [chunk(bytes(payload_bytes))]
    with pytest.raises(ProtocolError, match="beside the fields that are known here"):
        decode(padded(batch, place, bytes(limits.UNKNOWN_BYTES)))


def test_the_room_for_what_is_not_known_is_for_the_whole_batch() -> None:
    some = padded(encode([chunk(bytes(LARGE_BYTES))]), "chunk", bytes(limits.UNKNOWN_BYTES // 3))
    assert len(decode(some * 2)) == 2
    with pytest.raises(ProtocolError, match="beside the fields that are known here"):
        decode(some * 4)


@pytest.mark.parametrize("beside", [0, LARGE_BYTES - 1000, LARGE_BYTES + 1000, 4 * limits.MIB])
def test_a_view_is_no_small_part_of_what_it_keeps(beside: int) -> None:
    encoded = encode([chunk(bytes(LARGE_BYTES)), chunk(bytes(beside))])
    for read in decode(encoded):
        assert isinstance(read, Chunk)
        if isinstance(read.payload, memoryview):
            assert 2 * len(read.payload) >= len(encoded)


def test_enum_values_of_later_versions_become_what_is_safe() -> None:
    later = 99
    lane_role = batch_of(hello={"fqcn": "a", "lane_role": later})
    reason = batch_of(lost={"stream": REF, "reason": later})
    reset = batch_of(reset={"stream": REF, "code": later, "fault": later})
    goodbye = batch_of(goodbye={"code": later})
    reply = batch_of(announce_reply={"fqcn": "a", "code": later})
    opening = batch_of_opening(kind=later, reply_code=later)
    decoded = [decode(data)[0] for data in (lane_role, reason, reset, goodbye, reply, opening)]
    assert isinstance(decoded[0], frames.Hello)
    assert decoded[0].lane_role is LaneRole.UNSPECIFIED
    assert isinstance(decoded[1], frames.Lost)
    assert decoded[1].reason is LostReason.UNSPECIFIED
    assert isinstance(decoded[2], frames.Reset)
    assert (decoded[2].code, decoded[2].fault) == (ErrorCode.INTERNAL, Fault.UNSPECIFIED)
    assert isinstance(decoded[3], frames.Goodbye)
    assert decoded[3].code is ErrorCode.INTERNAL
    assert isinstance(decoded[4], frames.AnnounceReply)
    assert decoded[4].code is ErrorCode.INTERNAL
    assert isinstance(decoded[5], Chunk)
    assert decoded[5].open is not None
    assert decoded[5].open.description.kind is StreamKind.UNSPECIFIED
    assert decoded[5].open.description.reply_to == ReplyTo(0, 0, ErrorCode.INTERNAL)
