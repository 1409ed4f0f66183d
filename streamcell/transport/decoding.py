"""Protobuf messages into frames, checked.

Everything here comes from a peer and is not to be trusted: whatever breaks a limit or a rule of the
wire raises ``ProtocolError`` with a sentence that names the field. What merely comes from a later
version is let through: enum values that this version does not know become the default that is safe
for them, frames that it does not know become ``None``. Sentences are put on one line and shortened
rather than refused, since all they do is to end up in a log.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from streamcell import limits
from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault, ProtocolError, one_line
from streamcell.fqcn import is_fqcn
from streamcell.message import Headers, HeaderValue
from streamcell.protocol.wire import frames
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.v1 import cell_pb2

# A name in the path of an announcement stands for a hop. Routing refuses far shorter paths, with a
# reason; this bounds what is kept of a path before routing sees it.
_PATH_NAMES = 4 * limits.HOPS
# Cells in one QueryReply: more than a hub holds links.
_CELLS = 4 * limits.LINKS
# Text that a cell gives of itself for display: an address, a version.
_LABEL_BYTES = 1024
# What a header counts for beside its key and value, the same as in message.freeze_headers.
_HEADER_OVERHEAD_BYTES = 16
_LINK_ID_BYTES = 16

# Unknown codes: INTERNAL, because UNSPECIFIED would mean that all is well.
_ERROR_CODES = {int(code): code for code in ErrorCode}
_FAULTS = {int(fault): fault for fault in Fault}
_LANE_ROLES = {int(role): role for role in frames.LaneRole}
_STREAM_KINDS = {int(kind): kind for kind in StreamKind}
_LOST_REASONS = {int(reason): reason for reason in frames.LostReason}

_Ref: TypeAlias = tuple[frames.StreamKey, str, int]


def read_frame(message: cell_pb2.Frame) -> frames.Frame | None:
    """Return the frame that ``message`` holds, or None if this version does not know its kind.

    :raises ProtocolError: if the frame breaks a limit or a rule.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    return _READERS[kind](getattr(message, kind))


def read_chunk(message: cell_pb2.Chunk, payload: frames.Payload, encoded: bytes | None = None) -> frames.Chunk:
    """Return the chunk with the fields of ``message``, except its payload, and ``payload``.

    ``encoded``: the batch that holds this chunk only.

    :raises ProtocolError: if the chunk breaks a limit or a rule.
    """
    if len(payload) > limits.CHUNK_PAYLOAD_BYTES:
        raise ProtocolError(f"a chunk has {len(payload)} bytes of payload, more than {limits.CHUNK_PAYLOAD_BYTES}")
    key, target, attempt = _ref(message.stream)
    return frames.Chunk(
        key,
        target,
        attempt,
        _required_name(message.channel, "channel"),
        _required_name(message.topic, "topic"),
        message.sequence,
        message.offset,
        message.last,
        message.hops_left,
        message.checksum,
        payload,
        _open(message.open) if message.HasField("open") else None,
        _digest(message.digest, "digest"),
        encoded,
    )


# --- fields --------------------------------------------------------------------------------------

# A name comes again in every frame of its stream. Only names of legal length get in, so that a peer
# cannot fill it.
_is_known_fqcn = functools.lru_cache(maxsize=4096)(is_fqcn)


def _fqcn(name: str, what: str) -> str:
    if len(name) > limits.FQCN_BYTES or not _is_known_fqcn(name):
        raise ProtocolError(f"{what} {name!r:.100} is not a cell name")
    return name


def _optional_fqcn(name: str, what: str) -> str:
    return _fqcn(name, what) if name else name


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _text(text: str, limit_bytes: int, what: str) -> str:
    # No character takes more than four bytes, and most names are far too short to need a closer look.
    if len(text) > limit_bytes // 4 and _text_bytes(text) > limit_bytes:
        raise ProtocolError(f"{what} {text!r:.100}... is longer than {limit_bytes} bytes")
    return text


def _name(name: str, what: str) -> str:
    return _text(name, limits.NAME_BYTES, what)


def _required_name(name: str, what: str) -> str:
    if not name:
        raise ProtocolError(f"{what} is empty")
    return _name(name, what)


def _digest(text: str, what: str) -> Digest | None:
    return Digest(_name(text, what)) if text else None


def _sentence(text: str) -> str:
    return one_line(text) if text else text


def _stamp(stamp: bytes) -> bytes:
    if len(stamp) > limits.SOURCE_STAMP_BYTES:
        raise ProtocolError(f"source_stamp has {len(stamp)} bytes, more than {limits.SOURCE_STAMP_BYTES}")
    return stamp


def _seconds(value: float, what: str) -> float:
    if not 0.0 <= value < float("inf"):  # also false for NaN
        raise ProtocolError(f"{what} is {value}: a time in seconds is 0 or more, and finite")
    return value


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise ProtocolError(f"{count} {what}, more than {limit}")


def _ref(message: cell_pb2.StreamRef) -> _Ref:
    key = frames.StreamKey(_fqcn(message.origin, "origin"), message.origin_incarnation, message.stream_id)
    return key, _fqcn(message.target, "target"), message.attempt


def _runs(runs: Iterable[cell_pb2.IdRun], count: int) -> frames.IdRuns:
    _check_count(count, limits.SETTLED_RUNS, "runs of settled ids")
    read = tuple((run.first, run.last) for run in runs)
    for first, last in read:
        if first > last:
            raise ProtocolError(f"the run of settled ids from {first} to {last} is backwards")
    return read


def _headers(message: cell_pb2.Open) -> Headers:
    _check_count(len(message.headers), limits.HEADERS_BYTES // _HEADER_OVERHEAD_BYTES, "headers")
    read: list[tuple[str, HeaderValue]] = []
    previous: str | None = None
    total = 0
    for header in message.headers:
        key = header.key
        if previous is not None and key <= previous:
            raise ProtocolError(f"header {key!r:.100} is not in order, or stands twice")
        previous = key
        kind = header.value.WhichOneof("kind")
        if kind is None:
            continue
        value: HeaderValue = getattr(header.value, kind)
        total += _HEADER_OVERHEAD_BYTES + _text_bytes(key)
        if isinstance(value, str):
            total += _text_bytes(value)
        elif isinstance(value, bytes):
            total += len(value)
        read.append((key, value))
    if total > limits.HEADERS_BYTES:
        raise ProtocolError(f"the headers take {total} bytes, more than {limits.HEADERS_BYTES}")
    return tuple(read)


# --- frames --------------------------------------------------------------------------------------


def _open(message: cell_pb2.Open) -> frames.Open:
    runs = message.settled
    return frames.Open(
        _description(message),
        message.settled_below,
        _runs(runs, len(runs)),
        message.seen_before,
        message.awaits_offset,
        message.target_incarnation,
        message.sealing_envelope,
    )


def _description(message: cell_pb2.Open) -> StreamDescription:
    return StreamDescription(
        _STREAM_KINDS.get(message.kind, StreamKind.UNSPECIFIED),
        message.size if message.HasField("size") else None,
        _headers(message),
        _seconds(message.idle_timeout_s, "idle_timeout_s"),
        _name(message.resume_id, "resume_id"),
        _stamp(message.source_stamp),
        _digest(message.digest, "digest"),
        message.digest_follows,
        _reply_to(message),
        message.no_reply,
    )


def _reply_to(message: cell_pb2.Open) -> ReplyTo | None:
    """Return what a reply answers. Where all fields have their defaults there is none: that is the same on the wire."""
    sentence = message.reply_sentence
    if not (message.reply_to or message.reply_to_incarnation or message.reply_code or sentence):
        return None
    code = _ERROR_CODES.get(message.reply_code, ErrorCode.INTERNAL)
    return ReplyTo(message.reply_to, message.reply_to_incarnation, code, _sentence(sentence))


def _hello(message: cell_pb2.Hello) -> frames.Hello:
    if len(message.link_id) not in (0, _LINK_ID_BYTES):
        raise ProtocolError(f"link_id has {len(message.link_id)} bytes, not {_LINK_ID_BYTES}")
    _check_count(len(message.lanes_held), limits.LANES_HELD, "lanes_held")
    _check_count(len(message.lanes_replaced), limits.LANES_HELD, "lanes_replaced")
    _check_count(len(message.capabilities), limits.CAPABILITIES, "capabilities")
    return frames.Hello(
        fqcn=_fqcn(message.fqcn, "fqcn"),
        incarnation=message.incarnation,
        version_min=message.version_min,
        version_max=message.version_max,
        lane_number=message.lane_number,
        lane_role=_LANE_ROLES.get(message.lane_role, frames.LaneRole.UNSPECIFIED),
        link_id=message.link_id,
        lanes_held=tuple(message.lanes_held),
        capabilities=tuple(_name(name, "capability") for name in message.capabilities),
        message_bytes=message.limits.message_bytes,
        lanes=message.limits.lanes,
        initial_credit=message.initial_credit,
        peer=message.peer,
        software=_text(message.software, _LABEL_BYTES, "software"),
        lanes_replaced=tuple(message.lanes_replaced),
    )


def _lanes_wanted(message: cell_pb2.LanesWanted) -> frames.LanesWanted:
    return frames.LanesWanted(message.bulk_lanes)


def _announce(message: cell_pb2.Announce) -> frames.Announce:
    _check_count(len(message.path), _PATH_NAMES, "names in a path")
    return frames.Announce(
        _fqcn(message.fqcn, "fqcn"),
        message.incarnation,
        message.epoch,
        tuple(_fqcn(name, "path") for name in message.path),
        _text(message.software, _LABEL_BYTES, "software"),
        _text(message.address, _LABEL_BYTES, "address"),
    )


def _announce_reply(message: cell_pb2.AnnounceReply) -> frames.AnnounceReply:
    return frames.AnnounceReply(
        _fqcn(message.fqcn, "fqcn"),
        message.incarnation,
        message.epoch,
        _ERROR_CODES.get(message.code, ErrorCode.INTERNAL),
        _sentence(message.sentence),
        message.withdrawn,
    )


def _withdraw(message: cell_pb2.Withdraw) -> frames.Withdraw:
    return frames.Withdraw(_fqcn(message.fqcn, "fqcn"), message.incarnation, message.epoch)


def _chunk(message: cell_pb2.Chunk) -> frames.Chunk:
    return read_chunk(message, message.payload)


def _credit(message: cell_pb2.Credit) -> frames.Credit:
    return frames.Credit(*_ref(message.stream), message.offset)


def _ack(message: cell_pb2.Ack) -> frames.Ack:
    return frames.Ack(
        *_ref(message.stream),
        message.target_incarnation,
        message.received,
        message.consumed,
        message.complete,
        message.hops_left,
    )


def _lost(message: cell_pb2.Lost) -> frames.Lost:
    return frames.Lost(
        *_ref(message.stream),
        _LOST_REASONS.get(message.reason, frames.LostReason.UNSPECIFIED),
        _optional_fqcn(message.reporter, "reporter"),
        message.hops_left,
    )


def _reset(message: cell_pb2.Reset) -> frames.Reset:
    return frames.Reset(
        *_ref(message.stream),
        message.from_target,
        _ERROR_CODES.get(message.code, ErrorCode.INTERNAL),
        _FAULTS.get(message.fault, Fault.UNSPECIFIED),
        _sentence(message.sentence),
        message.hops_left,
    )


def _resume_query(message: cell_pb2.ResumeQuery) -> frames.ResumeQuery:
    return frames.ResumeQuery(
        *_ref(message.stream),
        message.probe,
        message.hops_left,
        _name(message.resume_id, "resume_id"),
        _stamp(message.source_stamp),
        _digest(message.digest, "digest"),
    )


def _resume_reply(message: cell_pb2.ResumeReply) -> frames.ResumeReply:
    return frames.ResumeReply(
        *_ref(message.stream),
        message.target_incarnation,
        message.unknown,
        message.offset,
        message.hops_left,
        _digest(message.prefix_digest, "prefix_digest"),
        message.probe,
    )


def _query(message: cell_pb2.Query) -> frames.Query:
    return frames.Query(
        message.query_id,
        _fqcn(message.asker, "asker"),
        _optional_fqcn(message.subject, "subject"),
        message.trace,
        message.hops_left,
    )


def _cell_info(message: cell_pb2.CellInfo) -> frames.CellInfo:
    return frames.CellInfo(
        _fqcn(message.fqcn, "fqcn"),
        message.incarnation,
        _optional_fqcn(message.via, "via"),
        _text(message.address, _LABEL_BYTES, "address"),
        _text(message.software, _LABEL_BYTES, "software"),
        _seconds(message.known_for_s, "known_for_s"),
    )


def _query_reply(message: cell_pb2.QueryReply) -> frames.QueryReply:
    _check_count(len(message.cells), _CELLS, "cells")
    return frames.QueryReply(
        message.query_id,
        _fqcn(message.asker, "asker"),
        _fqcn(message.responder, "responder"),
        tuple(_cell_info(cell) for cell in message.cells),
        message.hops_left,
        message.more,
    )


def _ping(message: cell_pb2.Ping) -> frames.Ping:
    return frames.Ping(message.nonce, message.settled_below, _runs(message.settled, len(message.settled)))


def _pong(message: cell_pb2.Pong) -> frames.Pong:
    return frames.Pong(message.nonce)


def _goodbye(message: cell_pb2.Goodbye) -> frames.Goodbye:
    return frames.Goodbye(
        _ERROR_CODES.get(message.code, ErrorCode.INTERNAL),
        _sentence(message.sentence),
        _optional_fqcn(message.linked_fqcn, "linked_fqcn"),
    )


_READERS: dict[str, Callable[[Any], frames.Frame]] = {
    "hello": _hello,
    "lanes_wanted": _lanes_wanted,
    "announce": _announce,
    "announce_reply": _announce_reply,
    "withdraw": _withdraw,
    "chunk": _chunk,
    "credit": _credit,
    "ack": _ack,
    "lost": _lost,
    "reset": _reset,
    "resume_query": _resume_query,
    "resume_reply": _resume_reply,
    "query": _query,
    "query_reply": _query_reply,
    "ping": _ping,
    "pong": _pong,
    "goodbye": _goodbye,
}
