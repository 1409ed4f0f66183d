"""What the codec refuses, cuts off or leaves out: limits, and hostile input."""

import contextlib
import random
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamcell import limits
from streamcell.errors import SENTENCE_BYTES, ProtocolError
from streamcell.protocol.wire import frames
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.frames import Chunk, Frame, LaneRole
from streamcell.transport.codec import LARGE_BYTES, decode_batch, decode_in_turns
from tests.shell.transport import wire
from tests.shell.transport.batches import REF, batch_of, batch_of_opening, chunk, decode, encode

# --- limits --------------------------------------------------------------------------------------


def headers_of(count: int, value_bytes: int) -> list[dict[str, object]]:
    return [{"key": f"{n:08}", "value": {"raw": bytes(value_bytes)}} for n in range(count)]


REFUSED = {
    "not protobuf": (b"\xff\xff", "malformed"),
    "a text that is not UTF-8": (
        wire.field(1, wire.field(17, wire.field(2, b"\xff"))),
        "malformed",
    ),
    "a large text that is not UTF-8": (
        wire.field(1, wire.field(17, wire.field(2, b"\xff" * LARGE_BYTES))),
        "malformed",
    ),
    "a batch over the limit": (bytes(limits.MESSAGE_BYTES + 1), "a batch has"),
    "too many frames": (wire.field(1, b"") * (limits.BATCH_FRAMES + 1), "frames"),
    "too many frames, and large": (
        wire.field(1, wire.field(16, b"\x08\x01" * 20)) * (limits.BATCH_FRAMES + 1),
        "frames",
    ),
    "too many unknown fields": (b"\x10\x01" * LARGE_BYTES, "fields"),
    "too many payloads": (wire.field(1, wire.field(6, b"\x7a\x00" * LARGE_BYTES)), "fields"),
    "a group": (b"\x13" + bytes(LARGE_BYTES), "wire type"),
    "a field that ends too late": (b"\x12\xff\xff\x7f" + bytes(LARGE_BYTES), "ends beyond"),
    "a frame that ends too late": (b"\x0a\xff\xff\x7f" + bytes(LARGE_BYTES), "ends beyond"),
    "a field of number 0": (b"\x02" + b"\x00" * LARGE_BYTES, "number 0"),
    "a number that does not end": (b"\x10" + b"\xff" * LARGE_BYTES, "does not end"),
    "a payload over the limit": (
        batch_of(
            chunk={
                "stream": REF,
                "channel": "c",
                "topic": "t",
                "payload": bytes(limits.CHUNK_PAYLOAD_BYTES + 1),
            }
        ),
        "payload",
    ),
    "headers over the limit": (
        batch_of_opening(headers=headers_of(2, limits.HEADERS_BYTES // 2)),
        "headers",
    ),
    "a frame over the limit": (
        batch_of_opening(headers=headers_of(2, limits.HEADERS_BYTES)),
        "beside its payload",
    ),
    "one payload after the other": (
        wire.field(1, wire.field(6, wire.field(15, bytes(LARGE_BYTES)) * 9)),
        "beside the fields",
    ),
    "one text after the other": (
        wire.field(1, wire.field(17, wire.field(2, bytes(limits.KIB)) * 99)),
        "beside the fields",
    ),
    "many empty cells": (
        wire.field(1, wire.field(14, wire.field(4, b"") * (limits.MIB // 2))),
        "cells",
    ),
    "headers out of order": (
        batch_of_opening(headers=[{"key": "b"}, {"key": "a"}]),
        "not in order",
    ),
    "a header twice": (batch_of_opening(headers=[{"key": "a"}, {"key": "a"}]), "stands twice"),
    "no origin": (batch_of(credit={}), "origin"),
    "a bad origin": (batch_of(credit={"stream": {"origin": "a b", "target": "c"}}), "origin"),
    "a bad target": (batch_of(credit={"stream": {"origin": "a", "target": "a..b"}}), "target"),
    "a long name": (batch_of(withdraw={"fqcn": "a" * 256}), "cell name"),
    "no channel": (batch_of(chunk={"stream": REF, "topic": "t"}), "channel"),
    "no topic": (batch_of(chunk={"stream": REF, "channel": "c"}), "topic"),
    "a long topic": (
        batch_of(chunk={"stream": REF, "channel": "c", "topic": "é" * 128}),
        "topic",
    ),
    "a bad reporter": (batch_of(lost={"stream": REF, "reporter": "/"}), "reporter"),
    "a bad path": (batch_of(announce={"fqcn": "a", "path": [""]}), "path"),
    "a long path": (batch_of(announce={"fqcn": "a", "path": ["a"] * 1000}), "path"),
    "a bad subject": (batch_of(query={"asker": "a", "subject": " "}), "subject"),
    "a bad asker": (batch_of(query={"subject": "a"}), "asker"),
    "a bad responder": (batch_of(query_reply={"asker": "a"}), "responder"),
    "a bad cell": (
        batch_of(query_reply={"asker": "a", "responder": "b", "cells": [{}]}),
        "fqcn",
    ),
    "a long address": (
        batch_of(
            query_reply={
                "asker": "a",
                "responder": "b",
                "cells": [{"fqcn": "c", "address": "x" * 2000}],
            }
        ),
        "address",
    ),
    "a short link id": (batch_of(hello={"fqcn": "a", "link_id": b"1"}), "link_id"),
    "many lanes held": (batch_of(hello={"fqcn": "a", "lanes_held": range(65)}), "lanes_held"),
    "many capabilities": (
        batch_of(hello={"fqcn": "a", "capabilities": ["x"] * 65}),
        "capabilities",
    ),
    "many runs": (batch_of(ping={"settled": [{"first": 1, "last": 2}] * 17}), "runs"),
    "a run backwards": (batch_of(ping={"settled": [{"first": 2, "last": 1}]}), "backwards"),
    "a negative timeout": (batch_of_opening(idle_timeout_s=-1.0), "idle_timeout_s"),
    "a timeout that is no number": (
        batch_of_opening(idle_timeout_s=float("nan")),
        "idle_timeout_s",
    ),
    "an endless timeout": (batch_of_opening(idle_timeout_s=float("inf")), "idle_timeout_s"),
    "an endless timeout that is granted": (
        batch_of(hello={"fqcn": "a", "limits": {"max_idle_timeout_s": float("inf")}}),
        "max_idle_timeout_s",
    ),
    "a long resume id": (batch_of_opening(resume_id="x" * 256), "resume_id"),
    "a long stamp": (batch_of_opening(source_stamp=bytes(257)), "source_stamp"),
    "a long digest": (batch_of_opening(digest="x" * 256), "digest"),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_breaks_a_limit_or_a_rule_is_a_protocol_error(data: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said) as caught:
        decode(data)
    assert len(caught.value.sentence) < SENTENCE_BYTES


def test_the_largest_that_is_allowed_is_read() -> None:
    names = tuple(f"{number:0255}" for number in range(64))
    headers = tuple((f"{n:016}", bytes(limits.HEADERS_BYTES // 4 - 32)) for n in range(4))
    runs = tuple((number, number) for number in range(limits.SETTLED_RUNS))
    description = StreamDescription(
        StreamKind.STREAM,
        headers=headers,
        resume_id="r" * 255,
        source_stamp=bytes(256),
        reply_to=ReplyTo(0, 0, sentence="s" * SENTENCE_BYTES),
    )
    opening = frames.Open(description, settled=runs)
    largest: list[Frame] = [
        chunk(bytes(limits.CHUNK_PAYLOAD_BYTES), opening),
        frames.Hello("a" * 255, 1, 1, 1, 1, LaneRole.BULK, bytes(16), tuple(range(64)), names),
        frames.Ping(1, 1, runs),
    ]
    assert decode(encode(largest)) == largest
    pongs: list[Frame] = [frames.Pong(number) for number in range(limits.BATCH_FRAMES)]
    assert decode(encode(pongs)) == pongs


def test_headers_without_a_value_are_ignored() -> None:
    [decoded] = decode(batch_of_opening(headers=[{"key": "a"}, {"key": "b", "value": {"flag": True}}]))
    assert isinstance(decoded, Chunk)
    assert decoded.open is not None
    assert decoded.open.description.headers == (("b", True),)


def test_what_a_cell_gives_of_itself_cannot_command_a_terminal() -> None:
    bad = "v1\x1b]0;owned\x07\n\u202e2"
    hello, announce, reply = decode(
        batch_of(hello={"fqcn": "a", "software": bad})
        + batch_of(announce={"fqcn": "a", "software": bad, "address": bad})
        + batch_of(
            query_reply={"asker": "a", "responder": "b", "cells": [{"fqcn": "c", "software": bad, "address": bad}]}
        )
    )
    assert isinstance(hello, frames.Hello)
    assert isinstance(announce, frames.Announce)
    assert isinstance(reply, frames.QueryReply)
    [cell] = reply.cells
    shown = {hello.software, announce.software, announce.address, cell.software, cell.address}
    assert shown == {"v1?]0;owned? ?2"}


def test_sentences_of_peers_are_put_on_one_line_and_shortened() -> None:
    goodbye, reset = decode(
        batch_of(goodbye={"sentence": "two\n lines"}) + batch_of(reset={"stream": REF, "sentence": "x" * 5000})
    )
    assert isinstance(goodbye, frames.Goodbye)
    assert goodbye.sentence == "two lines"
    assert isinstance(reset, frames.Reset)
    assert len(reset.sentence) == SENTENCE_BYTES


# --- hostile input -------------------------------------------------------------------------------


def decode_or_refuse(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(data)
    middle = len(data) // 2
    with contextlib.suppress(ProtocolError):
        decode_batch([data[:9], memoryview(data)[9:middle], data[max(9, middle) :]])


@given(st.binary(max_size=2000))
@example(b"\x0b" * 2000)
def test_random_bytes_do_no_harm(data: bytes) -> None:
    decode_or_refuse(data)
    decode_or_refuse(data + bytes(LARGE_BYTES))
    decode_or_refuse(wire.field(1, data + bytes(LARGE_BYTES)))
    decode_or_refuse(wire.field(1, wire.field(6, data + bytes(LARGE_BYTES))))


@given(wire.batches, st.randoms(use_true_random=True), st.integers(1, 8))
def test_damaged_batches_do_no_harm(batch: list[Frame], rng: random.Random, damages: int) -> None:
    data = bytearray(encode(batch))
    for _ in range(damages):
        # Most fields stand near the beginning; payloads are the rest.
        position = rng.randrange(min(len(data), rng.choice((100, 10**9))) + 1)
        match rng.randrange(4):
            case 0:
                data[position : position + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[position : position + rng.randrange(20)]
            case 2:
                data[position:position] = rng.randbytes(rng.randrange(20))
            case _:
                del data[position:]
    decode_or_refuse(bytes(data))


@pytest.mark.parametrize("tag", [b"\x0a", b"\x13", b"\x0b", b"\x32", b"\x7a"])
def test_deep_nesting_does_no_harm(tag: bytes) -> None:
    nested = b""
    for _ in range(5000):
        nested = tag + wire.varint(len(nested)) + nested
    decode_or_refuse(nested)
    decode_or_refuse(tag * 10_000)
    decode_or_refuse(tag * 100_000)


@pytest.mark.parametrize(
    "data",
    [
        wire.field(1, b"") * (limits.MESSAGE_BYTES // 2),
        wire.field(1, wire.field(14, wire.field(4, b"") * (limits.MIB // 2))),
        wire.field(1, wire.field(6, wire.field(9, wire.field(3, b"") * (limits.MIB // 2)))),
        wire.field(1, wire.field(15, wire.field(3, b"") * (limits.MIB // 2))),
        b"\x10\x01" * (limits.MESSAGE_BYTES // 2),
    ],
)
def test_small_bytes_do_not_become_large_objects(data: bytes) -> None:
    tracemalloc.start()
    try:
        decode_or_refuse(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * limits.MESSAGE_BYTES


def test_many_frames_come_in_turns_of_no_more_than_a_writer_puts_into_a_batch() -> None:
    few, many = ([frames.Ping(nonce) for nonce in range(count)] for count in (128, 1000))
    assert [*decode_in_turns([encode(few)])] == [few]
    turns = [*decode_in_turns([encode(many)])]
    assert [frame for turn in turns for frame in turn] == many
    assert {len(turn) for turn in turns} == {limits.WRITTEN_FRAMES, 1000 % limits.WRITTEN_FRAMES}


def test_what_comes_before_a_bad_frame_is_read_and_what_comes_after_it_is_not() -> None:
    good = encode([frames.Ping(nonce) for nonce in range(limits.WRITTEN_FRAMES)])
    turns = decode_in_turns([good + batch_of_opening(idle_timeout_s=-1.0) + good])
    assert len(next(turns)) == limits.WRITTEN_FRAMES
    with pytest.raises(ProtocolError, match="idle_timeout_s"):
        next(turns)
