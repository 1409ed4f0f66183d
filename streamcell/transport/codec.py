"""Batches of frames to parts of bytes and back: a :class:`base.Codec`.

A batch is an ``ExchangeRequest`` or ``ExchangeResponse``, which are the same on the wire. protobuf
does all of it except for the payload of a large chunk, which it would copy several times: that is
a part of its own behind the encoded rest of the chunk, copied by nobody but the carrier, and on
receipt found by walking the fields and handed on as a view of the batch. The bytes are those that
protobuf itself would write, and any order of fields that protobuf would read is read, in whatever
parts it comes. A large chunk that came as a batch of its own keeps that: where it goes on
unchanged, it goes on as it came.

What a peer can make this module do, and keep, is bounded: no recursion of its own, no more than a few
thousand fields walked, and no more than about a megabyte at a time given to protobuf, whose objects
can take fifty times the space of their bytes. A batch may have a little that this version does not
know, not much; and a view is never the small part of what it keeps in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message

from streamcell import limits
from streamcell.errors import ProtocolError
from streamcell.protocol.wire.frames import Chunk, Frame, Parts, Payload
from streamcell.transport.decoding import read_chunk, read_frame
from streamcell.transport.encoding import fill_chunk_head, fill_frame
from streamcell.transport.parts import Rope, join, size_of
from streamcell.v1 import cell_pb2

# From this size on a payload goes around protobuf, and a frame is read by itself. Below, the detour
# costs more than the copies (measured: they are equal at 50 KiB when encoding, and later when
# decoding); and a view keeps its whole batch in memory, which a copy does not.
LARGE_BYTES = 64 * limits.KIB
# A frame without its payload: the largest headers, and a margin for the other fields.
_FRAME_BYTES = limits.HEADERS_BYTES + 64 * limits.KIB
# Small frames that are given to protobuf together.
_RUN_BYTES = 256 * limits.KIB
# Fields walked in one message: the frames of a batch and, for later versions, as many unknown
# fields.
_FIELDS = 2 * limits.BATCH_FRAMES

# From this size on the head of a large chunk may hold so much that is not known that it is looked at. Of smaller ones
# a batch has too few to count.
_HEAD_BYTES = 512

# Wire types, and field numbers with wire types, as protobuf encodes them ("tags").
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_TAG_BYTES = 5
_FRAME_TAG = cell_pb2.ExchangeRequest.FRAMES_FIELD_NUMBER << 3 | _BYTES
_CHUNK_TAG = cell_pb2.Frame.CHUNK_FIELD_NUMBER << 3 | _BYTES
_PAYLOAD_TAG = cell_pb2.Chunk.PAYLOAD_FIELD_NUMBER << 3 | _BYTES
_KIND_TAGS = frozenset(field.number << 3 | _BYTES for field in cell_pb2.Frame.DESCRIPTOR.fields)

_MessageT = TypeVar("_MessageT", bound=Message)
# What is walked: a batch of one part, or of several.
_Data: TypeAlias = Payload | Rope


def encode_batch(frames: Sequence[Frame]) -> Parts:
    """Return the parts of a batch. See :class:`base.Codec`, and :attr:`Chunk.encoded`."""
    if len(frames) == 1 and isinstance(frames[0], Chunk) and frames[0].encoded is not None:
        return frames[0].encoded
    parts: list[Payload] = []
    run = cell_pb2.ExchangeRequest()
    for frame in frames:
        if isinstance(frame, Chunk) and len(frame.payload) >= LARGE_BYTES:
            if run.frames:
                parts.append(run.SerializeToString())
                run = cell_pb2.ExchangeRequest()
            parts.append(_large_chunk_prefix(frame))
            parts.append(frame.payload)
        else:
            fill_frame(run.frames.add(), frame)
    if run.frames:
        parts.append(run.SerializeToString())
    return parts


def decode_batch(parts: Parts) -> list[Frame]:
    """Return all frames of a batch that a peer sent. See :func:`decode_in_turns`."""
    return [frame for turn in decode_in_turns(parts) for frame in turn]


def decode_in_turns(parts: Parts) -> Iterator[list[Frame]]:
    """Yield the frames of a batch that a peer sent, some at a time. See :class:`base.Codec`.

    A payload of at least :data:`LARGE_BYTES` is a read-only view of a part, or a copy of what lies
    in several; smaller ones are copies.

    :raises ProtocolError: if the batch is malformed, or anything in it breaks a limit or a rule of
        the wire.
    """
    size = size_of(parts)
    if size > limits.MESSAGE_BYTES:
        raise ProtocolError(f"a batch has {size} bytes, more than {limits.MESSAGE_BYTES}")
    if size < LARGE_BYTES:
        frames = _read_run(_parse(cell_pb2.ExchangeRequest, join(parts)))
    else:
        frames = _LargeBatch(parts, size).read()
    while turn := [*itertools.islice(frames, limits.WRITTEN_FRAMES)]:
        yield turn


class _LargeBatch:
    """A batch that is walked field by field."""

    def __init__(self, parts: Parts, size: int) -> None:
        self._parts = parts
        self._size = size
        self._data: _Data = parts[0] if len(parts) == 1 else Rope(parts)
        self._unknown_bytes = 0

    def read(self) -> Iterator[Frame]:
        """Yield the frames."""
        size = self._size
        count = run_start = 0
        for tag, start, body, end in _fields(self._data, 0, size):
            large = tag == _FRAME_TAG and end - body >= LARGE_BYTES
            if start > run_start and (large or end - run_start > _RUN_BYTES):
                yield from self._read_run(run_start, start)
                run_start = start
            if large:
                yield from self._read_large_frame(body, end, alone=start == 0 and end == size)
                run_start = end
            count += tag == _FRAME_TAG
            _check_frames(count)
        if run_start < size:
            yield from self._read_run(run_start, size)

    def _read_run(self, start: int, end: int) -> Iterator[Frame]:
        batch = _parse(cell_pb2.ExchangeRequest, self._data[start:end])
        self._note_unknown(batch, end - start)
        return _read_run(batch)

    def _read_large_frame(self, start: int, end: int, *, alone: bool) -> list[Frame]:
        """Return the frame, if it is known; ``alone``: the batch holds nothing else."""
        fields = [*_fields(self._data, start, end)]
        kinds = [field for field in fields if field[0] in _KIND_TAGS]
        if len(kinds) == 1 and kinds[0][0] == _CHUNK_TAG:
            _, field, body, chunk_end = kinds[0]
            self._note(end - start - (chunk_end - field))
            return [self._read_large_chunk(body, chunk_end, alone=alone)]
        _check_frame_bytes(end - start)
        message = _parse(cell_pb2.Frame, self._data[start:end])
        self._note_unknown(message, end - start)
        frame = read_frame(message)
        return [] if frame is None else [frame]

    def _read_large_chunk(self, start: int, end: int, *, alone: bool) -> Chunk:
        # The payload is usually the last field, but may stand anywhere, and of several the last one
        # counts.
        payload: Payload = b""
        head: list[Payload] = []
        head_start = start
        for tag, field, body, field_end in _fields(self._data, start, end):
            if tag == _PAYLOAD_TAG:
                self._note(len(payload))
                payload = _view(self._data, body, field_end)
                head.append(self._data[head_start:field])
                head_start = field_end
        head.append(self._data[head_start:end])
        encoded = b"".join(head)
        _check_frame_bytes(len(encoded))
        message = _parse(cell_pb2.Chunk, encoded)
        if len(encoded) >= _HEAD_BYTES:
            self._note_unknown(message, len(encoded))
        if 2 * len(payload) < self._size:
            payload = bytes(payload)
        return read_chunk(message, payload, self._parts if alone else None)

    def _note_unknown(self, message: Message, size: int) -> None:
        """Take note of what a message of so many bytes has beside the fields that are known."""
        message.DiscardUnknownFields()
        self._note(size - message.ByteSize())

    def _note(self, unknown_bytes: int) -> None:
        self._unknown_bytes += unknown_bytes
        if self._unknown_bytes > limits.UNKNOWN_BYTES:
            raise ProtocolError(
                f"a batch has more than {limits.UNKNOWN_BYTES} bytes beside the fields that are known here"
            )


def _large_chunk_prefix(chunk: Chunk) -> bytes:
    message = cell_pb2.Chunk()
    fill_chunk_head(message, chunk)
    head = message.SerializeToString()
    payload_bytes = len(chunk.payload)
    before_payload = bytes((_PAYLOAD_TAG,)) + _varint(payload_bytes)
    chunk_bytes = len(head) + len(before_payload) + payload_bytes
    before_chunk = bytes((_CHUNK_TAG,)) + _varint(chunk_bytes)
    before_frame = bytes((_FRAME_TAG,)) + _varint(len(before_chunk) + chunk_bytes)
    return before_frame + before_chunk + head + before_payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_run(batch: cell_pb2.ExchangeRequest) -> Iterator[Frame]:
    _check_frames(len(batch.frames))
    frames = (read_frame(message) for message in batch.frames)
    return (frame for frame in frames if frame is not None)


def _view(data: _Data, start: int, end: int) -> Payload:
    """Return some of the data without a copy where it lies in one part."""
    return memoryview(data)[start:end] if isinstance(data, bytes) else data[start:end]


def _parse(kind: type[_MessageT], data: Payload) -> _MessageT:
    try:
        return kind.FromString(data if isinstance(data, bytes) else bytes(data))
    except DecodeError as error:
        raise ProtocolError(f"a batch holds a malformed {kind.DESCRIPTOR.name}") from error


def _check_frames(count: int) -> None:
    if count > limits.BATCH_FRAMES:
        raise ProtocolError(f"a batch has more than {limits.BATCH_FRAMES} frames")


def _check_frame_bytes(size: int) -> None:
    if size > _FRAME_BYTES:
        raise ProtocolError(f"a frame has {size} bytes beside its payload, more than {_FRAME_BYTES}")


def _fields(data: _Data, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, start, start of the value, end) of each field of the message in data[start:end].

    :raises ProtocolError: if the message is malformed, has too many fields, or has a group, which
        is a thing of older versions of protobuf.
    """
    position = start
    for _ in range(_FIELDS):
        if position >= end:
            return
        field = position
        tag, position = _read_varint(data, position, min(end, position + _TAG_BYTES))
        body = position
        wire_type = tag & 7
        if wire_type == _BYTES:
            size, body = _read_varint(data, position, end)
            position = body + size
        elif wire_type == _VARINT:
            _, position = _read_varint(data, position, end)
        elif wire_type == _FIXED32:
            position += 4
        elif wire_type == _FIXED64:
            position += 8
        else:
            raise ProtocolError(f"a batch has a field of wire type {wire_type}")
        if position > end or tag < 8:
            raise ProtocolError("a batch has a field that ends beyond its message, or has number 0")
        yield tag, field, body, position
    if position < end:
        raise ProtocolError(f"a batch has a message of more than {_FIELDS} fields")


def _read_varint(data: _Data, position: int, end: int) -> tuple[int, int]:
    if position < end and data[position] < 0x80:
        return data[position], position + 1
    value = 0
    for index, byte in enumerate(data[position : min(end, position + _VARINT_BYTES)]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ProtocolError("a batch has a number that does not end")
