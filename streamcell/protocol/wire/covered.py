"""What the tags and codes of a sealed stream cover, as bytes.

Nobody sends these bytes: both ends make them of what they know and of the frame at hand. They begin with a label, and
each value has its length before it, so that no two lists of values give the same bytes. ``docs/wire.md`` has the lists.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from streamcell.digest import Digest
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Ack, Lost, Open, Reset, ResumeQuery, ResumeReply, StreamKey

# None: not said, which differs from 0 and from what is empty in a list of its own only.
Value: TypeAlias = str | bytes | bool | int | float | None
# The frames that steer a sealed stream: they count only with a code of authentication.
Steering: TypeAlias = Ack | ResumeReply | ResumeQuery | Reset | Lost

_LENGTH = struct.Struct("<I")
# With the length before it.
_NUMBER = struct.Struct("<IQ")
_REAL = struct.Struct("<Id")
# Sequence, offset and last of a chunk, each with its length.
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
    return b"".join([_WRITTEN[type(value)](value) for value in (label, *values)])


def covered_by_keys(lives: Lives, initiator_certificate: bytes, responder_certificate: bytes) -> bytes:
    """Return what the secrets of a session are bound to; certificates by their SHA-256."""
    return in_bytes("session", *lives, initiator_certificate, responder_certificate)


def in_common(place: Place) -> bytes:
    """Return what all that is sealed in an attempt is bound to. To be made once."""
    return b"".join([_WRITTEN[type(value)](value) for value in (place.session_id, *place.key, *place[2:])])


def covered_by_opening(common: bytes, opening: Open) -> bytes:
    """Return what the hidden part of an Open part is bound to: all that is not hidden.

    :param common: what :func:`in_common` has given for its attempt.
    """
    said: StreamDescription = opening.description
    reply = said.reply_to
    runs = [bound for run in opening.settled for bound in run]
    values: tuple[Value, ...] = (
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
    return b"".join([_OPEN, common, *[_WRITTEN[type(value)](value) for value in values]])


def covered_by_chunk(common: bytes, sequence: int, offset: int, digest: Digest | None, *, last: bool) -> bytes:
    """Return what the payload of a chunk is bound to.

    :param common: what :func:`in_common` has given for its attempt.
    """
    place = _PLACE.pack(8, sequence, 8, offset, 1, last)
    return b"".join((_CHUNK, common, place, _text("" if digest is None else digest.text)))


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


def _written(digest: Digest | None) -> str:
    return "" if digest is None else digest.text


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _text(value: str) -> bytes:
    return _bytes(value.encode())


# How a value is written, by what it is.
_WRITTEN: Mapping[type, Callable[[Any], bytes]] = {
    str: _text,
    bytes: _bytes,
    bool: lambda value: _bytes(b"\1" if value else b"\0"),
    int: lambda value: _NUMBER.pack(8, value),
    float: lambda value: _REAL.pack(8, value),
    type(None): lambda _: _bytes(b""),
}
_OPEN, _CHUNK = _text("open"), _text("chunk")
