"""What the tags and codes of a sealed stream cover, as bytes.

Nobody sends these bytes: both ends make them of what they know and of the frame at hand. They begin with a label, and
each value has its length before it, so that no two lists of values give the same bytes. ``docs/wire.md`` has the lists.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeAlias

from streamcell.digest import Digest
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Ack, Lost, Open, Reset, ResumeQuery, ResumeReply, StreamKey

# None: not said, which differs from 0 and from what is empty in a list of its own only.
Value: TypeAlias = str | bytes | bool | int | float | None
# The frames that steer a sealed stream: they count only with a code of authentication.
Steering: TypeAlias = Ack | ResumeReply | ResumeQuery | Reset | Lost

_LENGTH = struct.Struct("<I")
_NUMBER = struct.Struct("<Q")
_REAL = struct.Struct("<d")
# What follows the part that all chunks of an attempt have in common: sequence, offset and last, each with its length.
_PLACE = struct.Struct("<IQIQIB")


class Lives(NamedTuple):
    """Between which lives of which cells a session is. The initiator has begun its handshake."""

    initiator: str
    initiator_incarnation: int
    responder: str
    responder_incarnation: int
    session_id: bytes


class Place(NamedTuple):
    """In which attempt of which stream something stands, under which session."""

    session_id: bytes
    key: StreamKey
    target: str
    attempt: int
    channel: str
    topic: str


def in_bytes(label: str, *values: Value) -> bytes:
    """Return values as bytes, each with its length before it.

    The length has 4 bytes. A number has 8, a real one the 8 of IEEE 754, a flag 1, text is UTF-8, and what is not said
    has none. All in little endian.
    """
    return b"".join(map(_with_length, (label, *values)))


def covered_by_keys(lives: Lives, initiator_certificate: bytes, responder_certificate: bytes) -> bytes:
    """Return what the secrets of a session are bound to; certificates by their SHA-256."""
    return in_bytes("session", *lives, initiator_certificate, responder_certificate)


def covered_by_opening(place: Place, opening: Open) -> bytes:
    """Return what the hidden part of an Open part is bound to: all that is not hidden."""
    said: StreamDescription = opening.description
    reply = said.reply_to
    runs = [bound for run in opening.settled for bound in run]
    return in_bytes(
        "open",
        *_place(place),
        int(said.kind),
        said.size,
        said.idle_timeout_s,
        said.resume_id,
        said.digest_follows,
        None if reply is None else reply.request_id,
        None if reply is None else reply.incarnation,
        said.no_reply,
        said.traceparent,
        opening.seen_before,
        opening.awaits_offset,
        opening.target_incarnation,
        opening.settled_below,
        *runs,
    )


def begin_chunks(place: Place) -> bytes:
    """Return what the chunks of an attempt are bound to in common; see :func:`covered_by_chunk`."""
    return in_bytes("chunk", *_place(place))


def covered_by_chunk(begun: bytes, sequence: int, offset: int, digest: Digest | None, *, last: bool) -> bytes:
    """Return what the payload of a chunk is bound to.

    :param begun: what :func:`begin_chunks` has given for its attempt.
    """
    return begun + _PLACE.pack(8, sequence, 8, offset, 1, last) + _with_length(_written(digest))


def covered_by_code(session_id: bytes, target_incarnation: int, frame: Steering) -> bytes:
    """Return what the code of authentication of a frame covers: everything but by how many hops it may go on."""
    stream = (session_id, *frame.key, frame.target, frame.attempt, target_incarnation)
    if isinstance(frame, Ack):
        return in_bytes("ack", *stream, frame.received, frame.consumed, frame.complete)
    if isinstance(frame, ResumeReply):
        prefix = _written(frame.prefix_digest)
        return in_bytes("resume_reply", *stream, frame.unknown, frame.offset, prefix, frame.probe)
    if isinstance(frame, ResumeQuery):
        said = (frame.probe, frame.resume_id, frame.source_stamp, _written(frame.digest))
        runs = [bound for run in frame.settled for bound in run]
        return in_bytes("resume_query", *stream, *said, frame.settled_below, *runs)
    if isinstance(frame, Reset):
        return in_bytes("reset", *stream, frame.from_target, int(frame.code), int(frame.fault), frame.sentence)
    return in_bytes("lost", *stream, int(frame.reason), frame.reporter, frame.sentence)


def _place(place: Place) -> tuple[Value, ...]:
    return (place.session_id, *place.key, place.target, place.attempt, place.channel, place.topic)


def _written(digest: Digest | None) -> str:
    return "" if digest is None else digest.text


def _with_length(value: Value) -> bytes:
    encoded = _encoded(value)
    return _LENGTH.pack(len(encoded)) + encoded


def _encoded(value: Value) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    return _NUMBER.pack(value) if isinstance(value, int) else _REAL.pack(value)
