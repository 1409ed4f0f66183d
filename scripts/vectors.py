#!/usr/bin/env python3
"""Writes protos/vectors/, by which a cell in any language is checked; with --check, tells whether it is current.

protos/vectors/README.md says what is in each file and how to use it.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from scripts import golden, sealing_vectors
from streamcell.limits import BATCH_FRAMES, CHUNK_PAYLOAD_BYTES, HEADERS_BYTES
from streamcell.protocol.wire.frames import StreamKey
from streamcell.protocol.wire.integrity import checksum_fields
from streamcell.transport.checksum import checksum
from streamcell.transport.codec import encode_batch
from streamcell.transport.parts import join
from streamcell.v1 import cell_pb2

FOLDER = golden.ROOT / "protos/vectors"
Json = dict[str, Any]

STREAM: Json = {"origin": "site-1", "origin_incarnation": golden.SITE, "target": "server", "stream_id": 7, "attempt": 1}
LARGEST = 2**64 - 1


# --- building ------------------------------------------------------------------------------------


def batch(*frames: Json) -> cell_pb2.ExchangeRequest:
    """Returns a batch of frames, each given as a dictionary with its kind as the only key."""
    return cell_pb2.ExchangeRequest(frames=[cell_pb2.Frame(**frame) for frame in frames])


def chunk(opening: Json | None = None, **fields: Any) -> Json:
    """Returns a chunk that is the whole stream, except for the given fields. Its checksum is right."""
    good: Json = {"stream": STREAM, "channel": "train", "topic": "model", "last": True, "hops_left": 16}
    made = {**good, **fields}
    ref = made["stream"]
    key = StreamKey(ref["origin"], ref["origin_incarnation"], ref["stream_id"])
    place = checksum_fields(
        key, ref["attempt"], made.get("sequence", 0), made.get("offset", 0), last=made.get("last", False)
    )
    made.setdefault("checksum", checksum(place, checksum(made.get("payload", b""))))
    if opening is not None:
        made["open"] = {"kind": cell_pb2.STREAM_KIND_BLOB, "idle_timeout_s": 300.0, "settled_below": 7, **opening}
    return {"chunk": made}


def opening(**fields: Any) -> cell_pb2.ExchangeRequest:
    """Returns a batch of one empty blob whose Open part has the given fields."""
    return batch(chunk(fields))


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def field(number: int, value: bytes) -> bytes:
    """Returns a field of bytes, text or a message, encoded."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def in_frame(kind: int, body: bytes) -> bytes:
    """Returns a batch of one frame of the kind with that field number."""
    return field(1, field(kind, body))


# --- vectors -------------------------------------------------------------------------------------


def frames() -> list[Json]:
    """Returns the examples of docs/wire-examples.md: at least one of each frame."""
    return [
        vector(
            example.title, example.explanation, cell_pb2.ExchangeRequest.FromString(join(encode_batch(example.batch)))
        )
        for example in golden.examples()
    ]


def vector(name: str, about: str, meaning: Message, data: bytes | None = None) -> Json:
    """Returns a batch that a cell is to read as `meaning`: `data`, or what protobuf writes.

    What protobuf alone reads stands beside it where that is something else.
    """
    canonical = meaning.SerializeToString(deterministic=True)
    written = canonical if data is None else data
    shown, shown_by_protobuf = frames_of(meaning), frames_of(type(meaning).FromString(written))
    return {
        "name": name,
        "about": about,
        "frames": shown,
        **({} if shown_by_protobuf == shown else {"protobuf": shown_by_protobuf}),
        "canonical": written == canonical,
        "hex": written.hex(),
    }


def frames_of(batch: Message) -> list[Json]:
    """Returns the frames of a batch as protobuf's JSON shows them."""
    shown: list[Json] = json_format.MessageToDict(batch, preserving_proto_field_name=True).get("frames", [])
    return shown


def edge_cases() -> list[Json]:
    """Returns batches that are easily written or read wrong."""
    values = (
        ("bytes empty", {"raw": b""}),
        ("bytes", {"raw": b"\x00\xff"}),
        ("false", {"flag": False}),
        ("integer highest", {"integer": 2**63 - 1}),
        ("integer lowest", {"integer": -(2**63)}),
        ("integer minus one", {"integer": -1}),
        ("real", {"real": -0.5}),
        ("real infinite", {"real": math.inf}),
        ("text empty", {"text": ""}),
        ("text", {"text": "Grüße"}),
        ("zero", {"integer": 0}),
        ("\uff5e", {"flag": True}),
        ("\U0001f600", {"flag": True}),
    )
    headers = [{"key": key, "value": value} for key, value in sorted(values)]
    everything: Json = {
        "kind": cell_pb2.STREAM_KIND_STREAM,
        "size": 6,
        "headers": [{"key": "a", "value": {"text": "b"}}],
        "idle_timeout_s": 0.5,
        "settled": [{"first": 9, "last": 12}, {"first": 14, "last": 14}],
        "seen_before": True,
        "resume_id": "nightly",
        "source_stamp": b"\x01\x02\x03",
        "digest": "sha256:" + "ab" * 32,
        "digest_follows": True,
        "sealing_envelope": b"\x04",
        "target_incarnation": golden.SERVER,
        "traceparent": golden.TRACEPARENT,
    }
    failed: Json = {"kind": cell_pb2.STREAM_KIND_REPLY, "reply_to": 3, "reply_code": cell_pb2.ERROR_CODE_REQUEST_FAILED}
    failed |= {"reply_sentence": "it failed", "reply_to_incarnation": golden.SERVER}
    high: Json = {**STREAM, "origin_incarnation": LARGEST, "stream_id": LARGEST, "attempt": 2**32 - 1}
    bulk: Json = {"version_min": 1, "version_max": 2, "fqcn": "site-1.job-7", "incarnation": golden.SITE}
    bulk |= {"link_id": golden.LINK_ID, "lane_number": 300, "lane_role": cell_pb2.LANE_ROLE_BULK}
    bulk |= {
        "lanes_held": [299, 300],
        "lanes_replaced": [299],
        "capabilities": ["one", "two"],
        "limits": {"message_bytes": 6 << 20, "lanes": 8},
    }
    probe: Json = {"stream": STREAM, "probe": True, "hops_left": 16}
    settled: Json = {
        "stream": {**STREAM, "stream_id": 0, "attempt": 0},
        "probe": True,
        "hops_left": 1,
        "settled_below": 5,
    }
    target: Json = {"stream": STREAM, "target_incarnation": golden.SERVER, "hops_left": 16}
    reset: Json = {"stream": STREAM, "code": cell_pb2.ERROR_CODE_SOURCE, "fault": cell_pb2.FAULT_ORIGIN}
    written = [
        ("An empty batch", "It has no frames, and no bytes.", batch()),
        (
            "An empty stream",
            "One chunk without payload, which is first and last. Its size is known: 0.",
            opening(size=0),
        ),
        ("Size unknown", "The same without a size: not known is not the same as 0.", opening()),
        (
            "A last chunk without payload",
            "It ends a stream of 6 bytes; its digest was announced in the Open part.",
            batch(chunk(sequence=1, offset=6, digest="sha256:" + "cd" * 32)),
        ),
        (
            "Headers",
            "Each type with its extremes: integers are zigzag, defaults are written, and the keys are in the order of "
            "their code points, where U+FF5E comes before U+1F600 (in UTF-16 it comes after).",
            opening(headers=headers),
        ),
        ("A full Open part", "Every field that a stream's can have.", batch(chunk(everything, payload=b"abcdef"))),
        ("A request that wants no reply", "", opening(kind=cell_pb2.STREAM_KIND_REQUEST, size=0, no_reply=True)),
        ("A reply that failed", "Without payload.", batch(chunk({**failed, "size": 0}))),
        (
            "High numbers",
            "Unsigned 64 bits are all used; a reader with numbers of 53 bits gets them wrong.",
            batch(chunk(stream=high, sequence=2**53 + 1, offset=2**63 + 1, last=False, payload=b"x")),
        ),
        ("Hello on a bulk lane", "", batch({"hello": bulk})),
        ("A life sign", "A query that only probes.", batch({"resume_query": probe})),
        (
            "What one target is told of what is settled",
            "A query of stream 0, with sixteen runs.",
            batch({"resume_query": {**settled, "settled": [{"first": 5, "last": 7}] * 16}}),
        ),
        ("Its answer", "", batch({"resume_reply": {**target, "offset": 6, "probe": True}})),
        ("Not known here", "", batch({"resume_reply": {**target, "unknown": True}})),
        ("The origin gives up", "", batch({"reset": {**reset, "sentence": "the disk failed", "hops_left": 16}})),
        (
            "Every reason for a loss",
            "",
            batch(*({"lost": {"stream": STREAM, "reason": reason, "hops_left": 1}} for reason in range(8))),
        ),
        (
            "Every answer to a contested query",
            "",
            batch(
                *(
                    {"query_reply": {"asker": "server", "responder": "site-1", "holder": answer, "claim_id": LARGEST}}
                    for answer in range(4)
                )
            ),
        ),
        (
            "A Ping with sixteen runs",
            "",
            batch({"ping": {"nonce": LARGEST, "settled": [{"first": 5, "last": 5}] * 16}}),
        ),
        ("Names in other alphabets", "", batch(chunk(channel="Größe", topic="模型"))),
    ]
    return [vector(*parts) for parts in written] + odd_encodings()


def odd_encodings() -> list[Json]:
    """Returns batches that no cell of this version writes, and every cell must read."""
    pong = batch({"pong": {"nonce": 1}})
    pong_bytes = pong.SerializeToString()
    plain = batch(chunk({"size": 2}, payload=b"hi"))
    fields = [plain.frames[0].chunk.__class__.SerializeToString(part) for part in fields_of(plain.frames[0].chunk)]
    unknown = {
        "number": varint(30 << 3) + varint(300),
        "8 bytes": varint(31 << 3 | 1) + bytes(8),
        "text": field(32, b"from a later version"),
        "4 bytes": varint(33 << 3 | 5) + bytes(4),
    }
    extra = b"".join(unknown.values())
    hello = cell_pb2.Hello(fqcn="site-1", lanes_held=[1, 2])
    unpacked = cell_pb2.Hello(fqcn="site-1").SerializeToString() + b"\x40\x01\x40\x02"
    goodbye = batch({"goodbye": {"code": cell_pb2.ERROR_CODE_INTERNAL}})
    return [
        vector("Fields backwards", "A chunk whose payload comes first.", plain, in_frame(6, b"".join(fields[::-1]))),
        vector(
            "Unknown fields",
            "One of each wire type in a batch, a frame and a chunk: ignored.",
            plain,
            field(1, field(6, extra + b"".join(fields) + extra) + extra) + extra,
        ),
        vector("An unknown frame", "Of field number 99: ignored.", pong, in_frame(99, b"later") + pong_bytes),
        vector("A frame of no kind", "Ignored.", pong, field(1, b"") + pong_bytes),
        vector("A field twice", "The last one counts.", pong, in_frame(16, b"\x08\x05\x08\x01")),
        vector("A default that is written", "As if it were not there.", batch({"pong": {}}), in_frame(16, b"\x08\x00")),
        vector("A number longer than it need be", "", pong, in_frame(16, b"\x08\x81\x80\x00")),
        vector("Numbers one by one", "lanes_held, not packed.", batch({"hello": hello}), in_frame(1, unpacked)),
        vector("An unknown error code", "Read as INTERNAL.", goodbye, in_frame(17, b"\x08\x63")),
    ]


def fields_of(message: cell_pb2.Chunk) -> list[cell_pb2.Chunk]:
    """Returns, for each field that is set, a message with that field only, by number."""
    parts = []
    for descriptor, _ in message.ListFields():
        part = cell_pb2.Chunk()
        part.CopyFrom(message)
        for other, _ in message.ListFields():
            if other.name != descriptor.name:
                part.ClearField(other.name)
        parts.append(part)
    return parts


@dataclasses.dataclass(frozen=True)
class Refused:
    """A batch that ends the lane. `field` is the one that is at fault; empty: it is not even protobuf."""

    name: str
    field: str
    why: str
    parts: tuple[tuple[bytes, int], ...]


def refused() -> list[Json]:
    """Returns batches that a reader must refuse, with the reason."""
    run = {"first": 3, "last": 2}
    short = in_frame(16, b"\x08\x01")
    names = {"fqcn": "a"}
    small = cell_pb2.Chunk(**chunk()["chunk"]).SerializeToString()

    def keys(*names: str) -> cell_pb2.ExchangeRequest:
        return opening(headers=[{"key": name, "value": {"flag": True}} for name in names])

    def one(name: str, field: str, why: str, data: bytes | Message) -> Refused:
        return Refused(name, field, why, (((data if isinstance(data, bytes) else data.SerializeToString()), 1),))

    cases = [
        one("No protobuf", "", "a number that does not end", b"\xff\xff"),
        one("Cut off", "", "the frame is longer than what there is", short[:-1]),
        one(
            "A chunk that ends beyond its frame",
            "",
            "the inner length is larger than the outer",
            field(1, b"\x32\x09\x08"),
        ),
        one("No stream", "stream", "a frame about a stream names it", batch({"credit": {"offset": 1}})),
        one("No origin", "origin", "a name is not empty", batch({"credit": {"stream": {**STREAM, "origin": ""}}})),
        one(
            "A space in a name",
            "origin",
            "not a character of names",
            batch({"ack": {"stream": {**STREAM, "origin": "a b"}}}),
        ),
        one("An empty part", "target", "parts are not empty", batch({"ack": {"stream": {**STREAM, "target": "a..b"}}})),
        one("A name in other letters", "fqcn", "names are ASCII", batch({"withdraw": {"fqcn": "größe"}})),
        one("A long name", "fqcn", "more than 255 bytes", batch({"withdraw": {"fqcn": "a" * 256}})),
        one("A name that is not UTF-8", "", "text is UTF-8", in_frame(1, field(3, b"\xff"))),
        one("An end of line after a name", "fqcn", "not a character of names", batch({"withdraw": {"fqcn": "a\n"}})),
        one("No channel", "channel", "a channel is not empty", batch(chunk(channel=""))),
        one("No topic", "topic", "a topic is not empty", batch(chunk(topic=""))),
        one("A long topic", "topic", "256 bytes in 128 characters", batch(chunk(topic="é" * 128))),
        one("Headers out of order", "headers", "keys are sorted", keys("b", "a")),
        one("A header twice", "headers", "each key stands once", keys("a", "a")),
        one("Headers in the order of UTF-16", "headers", "it is that of code points", keys("\U0001f600", "\uff5e")),
        one("A negative timeout", "idle_timeout_s", "0 or more", opening(idle_timeout_s=-1.0)),
        one("An endless timeout", "idle_timeout_s", "never is 0", opening(idle_timeout_s=math.inf)),
        one("A timeout that is no number", "idle_timeout_s", "0 or more", opening(idle_timeout_s=math.nan)),
        one("A long resume id", "resume_id", "more than 255 bytes", opening(resume_id="x" * 256)),
        one("A long stamp", "source_stamp", "more than 256 bytes", opening(source_stamp=bytes(257))),
        one("A long digest", "digest", "more than 255 bytes", opening(digest="x" * 256)),
        one("A long traceparent", "traceparent", "more than 256 bytes", opening(traceparent="x" * 257)),
        one("A blank in a traceparent", "traceparent", "visible ASCII", opening(traceparent="00 01")),
        one("A traceparent beyond ASCII", "traceparent", "visible ASCII", opening(traceparent="é")),
        one("A run backwards", "settled", "the first is not above the last", batch({"ping": {"settled": [run]}})),
        one("Many runs", "settled", "more than 16", batch({"ping": {"settled": [{"first": 1, "last": 1}] * 17}})),
        one("A short link id", "link_id", "it has 16 bytes, or none", batch({"hello": {**names, "link_id": b"\x01"}})),
        one("Many lanes", "lanes_held", "more than 64", batch({"hello": {**names, "lanes_held": range(65)}})),
        one(
            "Many lanes left",
            "lanes_replaced",
            "more than 64",
            batch({"hello": {**names, "lanes_replaced": range(65)}}),
        ),
        one("Many abilities", "capabilities", "more than 64", batch({"hello": {**names, "capabilities": ["x"] * 65}})),
        one("A bad reporter", "reporter", "a name, or empty", batch({"lost": {"stream": STREAM, "reporter": "/"}})),
        one("A bad subject", "subject", "a name, or empty", batch({"query": {"asker": "a", "subject": " "}})),
        one("No asker", "asker", "a name is not empty", batch({"query": {}})),
        one("No responder", "responder", "a name is not empty", batch({"query_reply": {"asker": "a"}})),
        one("A bad path", "path", "each is a name", batch({"announce": {**names, "path": [""]}})),
        Refused("Many frames", "frames", f"more than {BATCH_FRAMES:,}", ((field(1, b""), BATCH_FRAMES + 1),)),
        Refused(
            "A large payload",
            "payload",
            "more than 4 MiB",
            around_zeros(CHUNK_PAYLOAD_BYTES + 1, (15, small), (6, b""), (1, b"")),
        ),
        Refused(
            "Large headers",
            "headers",
            "more than 1 MiB, counting 16 bytes for each beside key and value",
            around_zeros(
                HEADERS_BYTES - 16, (5, b""), (2, field(1, b"k")), (3, b"\x08\x02"), (9, small), (6, b""), (1, b"")
            ),
        ),
    ]
    return [
        {
            "name": case.name,
            "field": case.field,
            "why": case.why,
            "parts": [{"hex": data.hex(), "times": times} for data, times in case.parts],
        }
        for case in cases
    ]


def around_zeros(count: int, *levels: tuple[int, bytes]) -> tuple[tuple[bytes, int], ...]:
    """Returns a batch around a field of so many zeros, in parts.

    Each level, from the inside out, is the number of a field and what its message has before it.
    """
    heads: list[bytes] = []
    size = count
    for number, before in levels:
        heads.insert(0, before + varint(number << 3 | 2) + varint(size))
        size += len(heads[0])
    return (b"".join(heads), 1), (b"\0", count)


def corrupt() -> list[Json]:
    """Returns chunks that a decoder takes and the target does not: their checksum is wrong."""
    checked = chunk({"size": 8}, payload=b"payload!")["chunk"]["checksum"]
    payload_only = checksum(b"payload!")

    def wrong(name: str, about: str, **fields: Any) -> Json:
        good: Json = {"payload": b"payload!", "checksum": checked}
        return vector(name, about, batch(chunk({"size": 8}, **{**good, **fields})))

    return [
        wrong("A bit of the payload", "", payload=b"payload\x20"),
        wrong("A byte is missing", "", payload=b"payload"),
        wrong("Another stream", "", stream={**STREAM, "stream_id": 8}),
        wrong("Another attempt", "", stream={**STREAM, "attempt": 2}),
        wrong("Another sequence", "", sequence=1),
        wrong("Another offset", "", offset=1),
        wrong("Not the last", "", last=False),
        wrong("The payload's own", "The CRC32C of the payload without the fields.", checksum=payload_only),
        wrong("None", "0 is a checksum like any other.", checksum=0),
    ]


def checksums() -> list[Json]:
    """Returns known answers: what is covered, and its CRC32C."""
    known = (
        ("Nothing", b""),
        ("Nine digits", b"123456789"),
        ("RFC 3720, 32 zeros", bytes(32)),
        ("RFC 3720, 32 ones", b"\xff" * 32),
        ("RFC 3720, ascending", bytes(range(32))),
        ("RFC 3720, descending", bytes(range(31, -1, -1))),
    )
    plain = [{"name": name, "covered": data.hex(), "checksum": checksum(data)} for name, data in known]
    return [
        *plain,
        chunk_checksum("An empty stream", b"", 1, 1, 0, 0, last=True),
        chunk_checksum("A first chunk", b"hello, ", 1, 1, 0, 0, last=False),
        chunk_checksum("A last chunk", b"world", 1, 1, 1, 7, last=True),
        chunk_checksum("A last chunk without payload", b"", 2, 3, 4, 5, last=True),
        chunk_checksum("High numbers", bytes(range(16)), LARGEST, 2**32 - 1, 2**53 + 1, 2**63 + 1, last=False),
    ]


def chunk_checksum(
    name: str, payload: bytes, stream_id: int, attempt: int, sequence: int, offset: int, *, last: bool
) -> Json:
    covered = payload + struct.pack("<QIQQB", stream_id, attempt, sequence, offset, last)
    place = {"stream_id": str(stream_id), "attempt": attempt, "sequence": str(sequence), "offset": str(offset)}
    return {
        "name": name,
        "chunk": {**place, "last": last, "payload": payload.hex()},
        "covered": covered.hex(),
        "checksum": checksum(covered),
    }


# --- files ---------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Returns the text of each file, by name."""
    kinds: dict[str, Callable[[], list[Json]]] = {
        "frames": frames,
        "edge_cases": edge_cases,
        "corrupt": corrupt,
        "refused": refused,
        "checksums": checksums,
        "sealing": partial(sealing_vectors.sealing, golden.SITE, golden.SERVER),
    }
    return {f"{name}.json": render(make()) for name, make in kinds.items()}


def render(vectors: Iterable[Mapping[str, Any]]) -> str:
    """Writes vectors as JSON with each value, and each item of a list, on a line of its own."""
    return "[\n" + ",\n".join(render_vector(vector) for vector in vectors) + "\n]\n"


def render_vector(vector: Mapping[str, Any]) -> str:
    lines = [f"    {compact(key)}: {render_value(value)}" for key, value in vector.items()]
    return "  {\n" + ",\n".join(lines) + "\n  }"


def render_value(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return compact(value)
    return "[\n" + ",\n".join(f"      {compact(item)}" for item in value) + "\n    ]"


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def differences(fresh: Mapping[str, str]) -> Sequence[str]:
    """Returns a unified diff from the committed files to the fresh ones, empty if equal."""
    present = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return [
        line
        for name in sorted(present.keys() | fresh.keys())
        for line in difflib.unified_diff(
            present.get(name, "").splitlines(keepends=True),
            fresh.get(name, "").splitlines(keepends=True),
            f"protos/vectors/{name}",
            f"{name} as the code has it",
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, and fail if different")
    fresh = files()
    if not parser.parse_args().check:
        for name, text in fresh.items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        return 0
    difference = differences(fresh)
    sys.stdout.writelines(difference)
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
