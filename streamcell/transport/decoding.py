"""Protobuf messages into frames, checked.

Everything here comes from a peer and is not to be trusted: whatever breaks a limit or a rule of the
wire raises ``ProtocolError`` with a sentence that names the field. What merely comes from a later
version is let through: enum values that this version does not know become the default that is safe
for them, frames that it does not know become ``None``. Sentences are put on one line and shortened
rather than refused, since all they do is to end up in a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from streamcell import limits
from streamcell.errors import ErrorCode, Fault, ProtocolError
from streamcell.protocol.wire import frames
from streamcell.topology import CellSelection
from streamcell.transport.checks import (
    ERROR_CODES,
    check_count,
    checked_digest,
    checked_fqcn,
    checked_id,
    checked_label,
    checked_name,
    checked_optional_fqcn,
    checked_required_name,
    checked_seconds,
    checked_sentence,
    checked_stamp,
    checked_text,
)
from streamcell.transport.descriptions import read_description
from streamcell.v1 import cell_pb2

# A name in the path of an announcement stands for a hop. Routing refuses far shorter paths, with a
# reason; this bounds what is kept of a path before routing sees it.
_PATH_NAMES = 4 * limits.HOPS
# Cells in one QueryReply: more than a hub has links by default.
_CELLS = 16_384
_LINK_ID_BYTES = 16

_FAULTS = {int(fault): fault for fault in Fault}
_LANE_ROLES = {int(role): role for role in frames.LaneRole}
_LOST_REASONS = {int(reason): reason for reason in frames.LostReason}
_HOLDER_ANSWERS = {int(answer): answer for answer in frames.HolderAnswer}

_Ref: TypeAlias = tuple[frames.StreamKey, str, int]
_Sealable: TypeAlias = (
    cell_pb2.Chunk | cell_pb2.Ack | cell_pb2.Lost | cell_pb2.Reset | cell_pb2.ResumeQuery | cell_pb2.ResumeReply
)


def read_frame(message: cell_pb2.Frame) -> frames.Frame | None:
    """Return the frame that ``message`` holds, or None if this version does not know its kind.

    :raises ProtocolError: if the frame breaks a limit or a rule.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    return _READERS[kind](getattr(message, kind))


def read_chunk(message: cell_pb2.Chunk, payload: frames.Payload, encoded: frames.Parts | None = None) -> frames.Chunk:
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
        checked_required_name(message.channel, "channel"),
        checked_required_name(message.topic, "topic"),
        message.sequence,
        message.offset,
        message.last,
        message.hops_left,
        message.checksum,
        payload,
        _open(message.open) if message.HasField("open") else None,
        checked_digest(message.digest, "digest"),
        encoded,
        _seal(message),
    )


def _ref(message: cell_pb2.StreamRef) -> _Ref:
    key = frames.StreamKey(checked_fqcn(message.origin, "origin"), message.origin_incarnation, message.stream_id)
    return key, checked_fqcn(message.target, "target"), message.attempt


def _seal(message: _Sealable) -> frames.Seal | None:
    """Return what proves a frame. Where it proves nothing it is refused: nobody who seals leaves it out."""
    if not message.HasField("seal"):
        return None
    seal = message.seal
    return frames.Seal(checked_id(seal.session_id, "session_id"), checked_id(seal.proof, "proof"))


def _runs(runs: Iterable[cell_pb2.IdRun], count: int) -> frames.IdRuns:
    check_count(count, limits.SETTLED_RUNS, "runs of settled ids")
    read = tuple((run.first, run.last) for run in runs)
    for first, last in read:
        if first > last:
            raise ProtocolError(f"the run of settled ids from {first} to {last} is backwards")
    return read


# --- frames --------------------------------------------------------------------------------------


def _open(message: cell_pb2.Open) -> frames.Open:
    runs = message.settled
    return frames.Open(
        read_description(message),
        message.settled_below,
        _runs(runs, len(runs)),
        message.seen_before,
        message.awaits_offset,
        message.target_incarnation,
        message.sealing_envelope,
    )


def _hello(message: cell_pb2.Hello) -> frames.Hello:
    if len(message.link_id) not in (0, _LINK_ID_BYTES):
        raise ProtocolError(f"link_id has {len(message.link_id)} bytes, not {_LINK_ID_BYTES}")
    check_count(len(message.lanes_held), limits.LANES_HELD, "lanes_held")
    check_count(len(message.lanes_replaced), limits.LANES_HELD, "lanes_replaced")
    check_count(len(message.capabilities), limits.CAPABILITIES, "capabilities")
    return frames.Hello(
        fqcn=checked_fqcn(message.fqcn, "fqcn"),
        incarnation=message.incarnation,
        version_min=message.version_min,
        version_max=message.version_max,
        lane_number=message.lane_number,
        lane_role=_LANE_ROLES.get(message.lane_role, frames.LaneRole.UNSPECIFIED),
        link_id=message.link_id,
        lanes_held=tuple(message.lanes_held),
        capabilities=tuple(checked_name(name, "capability") for name in message.capabilities),
        message_bytes=message.limits.message_bytes,
        lanes=message.limits.lanes,
        initial_credit=message.initial_credit,
        peer=message.peer,
        software=checked_label(message.software, "software"),
        lanes_replaced=tuple(message.lanes_replaced),
        claim_id=message.claim_id,
        max_idle_timeout_s=checked_seconds(message.limits.max_idle_timeout_s, "max_idle_timeout_s"),
    )


def _lanes_wanted(message: cell_pb2.LanesWanted) -> frames.LanesWanted:
    return frames.LanesWanted(message.bulk_lanes)


def _announce(message: cell_pb2.Announce) -> frames.Announce:
    check_count(len(message.path), _PATH_NAMES, "names in a path")
    return frames.Announce(
        checked_fqcn(message.fqcn, "fqcn"),
        message.incarnation,
        message.epoch,
        tuple(checked_fqcn(name, "path") for name in message.path),
        checked_label(message.software, "software"),
        checked_label(message.address, "address"),
    )


def _announce_reply(message: cell_pb2.AnnounceReply) -> frames.AnnounceReply:
    return frames.AnnounceReply(
        checked_fqcn(message.fqcn, "fqcn"),
        message.incarnation,
        message.epoch,
        ERROR_CODES.get(message.code, ErrorCode.INTERNAL),
        checked_sentence(message.sentence),
        message.withdrawn,
        message.wait,
    )


def _withdraw(message: cell_pb2.Withdraw) -> frames.Withdraw:
    return frames.Withdraw(checked_fqcn(message.fqcn, "fqcn"), message.incarnation, message.epoch)


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
        seal=_seal(message),
    )


def _lost(message: cell_pb2.Lost) -> frames.Lost:
    return frames.Lost(
        *_ref(message.stream),
        _LOST_REASONS.get(message.reason, frames.LostReason.UNSPECIFIED),
        checked_optional_fqcn(message.reporter, "reporter"),
        message.hops_left,
        checked_sentence(message.sentence),
        seal=_seal(message),
    )


def _reset(message: cell_pb2.Reset) -> frames.Reset:
    return frames.Reset(
        *_ref(message.stream),
        message.from_target,
        ERROR_CODES.get(message.code, ErrorCode.INTERNAL),
        _FAULTS.get(message.fault, Fault.UNSPECIFIED),
        checked_sentence(message.sentence),
        message.hops_left,
        seal=_seal(message),
    )


def _resume_query(message: cell_pb2.ResumeQuery) -> frames.ResumeQuery:
    return frames.ResumeQuery(
        *_ref(message.stream),
        message.probe,
        message.hops_left,
        checked_name(message.resume_id, "resume_id"),
        checked_stamp(message.source_stamp),
        checked_digest(message.digest, "digest"),
        message.settled_below,
        _runs(message.settled, len(message.settled)),
        seal=_seal(message),
    )


def _resume_reply(message: cell_pb2.ResumeReply) -> frames.ResumeReply:
    return frames.ResumeReply(
        *_ref(message.stream),
        message.target_incarnation,
        message.unknown,
        message.offset,
        message.hops_left,
        checked_digest(message.prefix_digest, "prefix_digest"),
        message.probe,
        seal=_seal(message),
    )


def _query(message: cell_pb2.Query) -> frames.Query:
    return frames.Query(
        message.query_id,
        checked_fqcn(message.asker, "asker"),
        checked_optional_fqcn(message.subject, "subject"),
        message.trace,
        message.hops_left,
        CellSelection(
            checked_text(message.prefix, limits.FQCN_BYTES, "prefix"),
            message.limit,
            checked_text(message.after, limits.FQCN_BYTES, "after"),
        ),
        message.contested,
        message.claim_id,
    )


def _cell_info(message: cell_pb2.CellInfo) -> frames.CellInfo:
    return frames.CellInfo(
        checked_fqcn(message.fqcn, "fqcn"),
        message.incarnation,
        checked_optional_fqcn(message.via, "via"),
        checked_label(message.address, "address"),
        checked_label(message.software, "software"),
        checked_seconds(message.known_for_s, "known_for_s"),
        checked_optional_fqcn(message.identity, "identity"),
    )


def _query_reply(message: cell_pb2.QueryReply) -> frames.QueryReply:
    check_count(len(message.cells), _CELLS, "cells")
    return frames.QueryReply(
        message.query_id,
        checked_fqcn(message.asker, "asker"),
        checked_fqcn(message.responder, "responder"),
        tuple(_cell_info(cell) for cell in message.cells),
        message.hops_left,
        message.more,
        message.total,
        _HOLDER_ANSWERS.get(message.holder, frames.HolderAnswer.UNSPECIFIED),
        message.claim_id,
    )


def _ping(message: cell_pb2.Ping) -> frames.Ping:
    return frames.Ping(message.nonce, message.settled_below, _runs(message.settled, len(message.settled)))


def _pong(message: cell_pb2.Pong) -> frames.Pong:
    return frames.Pong(message.nonce)


def _goodbye(message: cell_pb2.Goodbye) -> frames.Goodbye:
    return frames.Goodbye(
        ERROR_CODES.get(message.code, ErrorCode.INTERNAL),
        checked_sentence(message.sentence),
        checked_optional_fqcn(message.linked_fqcn, "linked_fqcn"),
    )


def _handshake(message: cell_pb2.Handshake) -> frames.Handshake:
    if len(message.data) > limits.HANDSHAKE_FLIGHT_BYTES:
        raise ProtocolError(
            f"data of a handshake has {len(message.data)} bytes, more than {limits.HANDSHAKE_FLIGHT_BYTES}"
        )
    return frames.Handshake(
        checked_fqcn(message.initiator, "initiator"),
        message.initiator_incarnation,
        checked_fqcn(message.responder, "responder"),
        message.responder_incarnation,
        message.from_responder,
        checked_id(message.session_id, "session_id"),
        message.number,
        message.data,
        message.hops_left,
        checked_sentence(message.refusal),
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
    "handshake": _handshake,
}
