"""Frames into protobuf messages.

``codec`` makes bytes of the messages. Messages are filled in place: making the submessages first
and handing them to a constructor copies each of them and takes twice as long. Frames come from this
cell's own core, so nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from streamcell.protocol.wire import frames
from streamcell.transport.descriptions import enum_number, fill_description
from streamcell.v1 import cell_pb2

_StreamFrame: TypeAlias = (
    frames.Chunk | frames.Credit | frames.Ack | frames.Lost | frames.Reset | frames.ResumeQuery | frames.ResumeReply
)


def fill_frame(message: cell_pb2.Frame, frame: frames.Frame) -> None:
    """Set the empty ``message`` to ``frame``."""
    _FILLERS[type(frame)](message, frame)


def fill_chunk_head(message: cell_pb2.Chunk, frame: frames.Chunk) -> None:
    """Set the empty ``message`` to ``frame`` without its payload."""
    _fill_stream(message.stream, frame)
    message.channel = frame.channel
    message.topic = frame.topic
    if frame.sequence:
        message.sequence = frame.sequence
    if frame.offset:
        message.offset = frame.offset
    message.last = frame.last
    message.hops_left = frame.hops_left
    message.checksum = frame.checksum
    if frame.open is not None:
        _fill_open(message.open, frame.open)
    if frame.digest is not None:
        message.digest = frame.digest.text
    if frame.seal is not None:
        _fill_seal(message.seal, frame.seal)


def _fill_seal(message: cell_pb2.Seal, seal: frames.Seal) -> None:
    message.session_id, message.proof = seal


def _fill_stream(message: cell_pb2.StreamRef, frame: _StreamFrame) -> None:
    message.origin, message.origin_incarnation, message.stream_id = frame.key
    message.target = frame.target
    message.attempt = frame.attempt


def _fill_hello(message: cell_pb2.Frame, frame: frames.Hello) -> None:
    hello = message.hello
    hello.version_min = frame.version_min
    hello.version_max = frame.version_max
    hello.fqcn = frame.fqcn
    hello.incarnation = frame.incarnation
    hello.link_id = frame.link_id
    hello.lane_number = frame.lane_number
    hello.lane_role = enum_number(frame.lane_role)
    hello.lanes_held.extend(frame.lanes_held)
    hello.capabilities.extend(frame.capabilities)
    hello.limits.message_bytes = frame.message_bytes
    hello.limits.lanes = frame.lanes
    hello.limits.max_idle_timeout_s = frame.max_idle_timeout_s
    hello.initial_credit = frame.initial_credit
    hello.peer = frame.peer
    hello.software = frame.software
    hello.lanes_replaced.extend(frame.lanes_replaced)
    hello.claim_id = frame.claim_id


def _fill_lanes_wanted(message: cell_pb2.Frame, frame: frames.LanesWanted) -> None:
    message.lanes_wanted.bulk_lanes = frame.bulk_lanes


def _fill_announce(message: cell_pb2.Frame, frame: frames.Announce) -> None:
    announce = message.announce
    announce.fqcn = frame.fqcn
    announce.incarnation = frame.incarnation
    announce.epoch = frame.epoch
    announce.path.extend(frame.path)
    announce.software = frame.software
    announce.address = frame.address


def _fill_announce_reply(message: cell_pb2.Frame, frame: frames.AnnounceReply) -> None:
    reply = message.announce_reply
    reply.fqcn = frame.fqcn
    reply.incarnation = frame.incarnation
    reply.epoch = frame.epoch
    reply.code = enum_number(frame.code)
    reply.sentence = frame.sentence
    reply.withdrawn = frame.withdrawn
    reply.wait = frame.wait


def _fill_withdraw(message: cell_pb2.Frame, frame: frames.Withdraw) -> None:
    withdraw = message.withdraw
    withdraw.fqcn = frame.fqcn
    withdraw.incarnation = frame.incarnation
    withdraw.epoch = frame.epoch


def _fill_settled(message: cell_pb2.Open | cell_pb2.Ping | cell_pb2.ResumeQuery, runs: frames.IdRuns) -> None:
    for first, last in runs:
        run = message.settled.add()
        run.first = first
        run.last = last


def _fill_open(message: cell_pb2.Open, opening: frames.Open) -> None:
    fill_description(message, opening.description)
    message.settled_below = opening.settled_below
    # What most attempts do not have. A field that is not set is the same on the wire as one set to its default.
    if opening.settled:
        _fill_settled(message, opening.settled)
    if opening.seen_before:
        message.seen_before = True
    if opening.awaits_offset:
        message.awaits_offset = True
    if opening.target_incarnation:
        message.target_incarnation = opening.target_incarnation
    if opening.sealing_envelope:
        message.sealing_envelope = opening.sealing_envelope


def _fill_chunk(message: cell_pb2.Frame, frame: frames.Chunk) -> None:
    chunk = message.chunk
    fill_chunk_head(chunk, frame)
    chunk.payload = bytes(frame.payload)


def _fill_credit(message: cell_pb2.Frame, frame: frames.Credit) -> None:
    credit = message.credit
    _fill_stream(credit.stream, frame)
    credit.offset = frame.offset


def _fill_ack(message: cell_pb2.Frame, frame: frames.Ack) -> None:
    ack = message.ack
    _fill_stream(ack.stream, frame)
    ack.target_incarnation = frame.target_incarnation
    ack.received = frame.received
    ack.consumed = frame.consumed
    ack.complete = frame.complete
    ack.hops_left = frame.hops_left
    if frame.seal is not None:
        _fill_seal(ack.seal, frame.seal)


def _fill_lost(message: cell_pb2.Frame, frame: frames.Lost) -> None:
    lost = message.lost
    _fill_stream(lost.stream, frame)
    lost.reason = enum_number(frame.reason)
    lost.reporter = frame.reporter
    lost.hops_left = frame.hops_left
    lost.sentence = frame.sentence
    if frame.seal is not None:
        _fill_seal(lost.seal, frame.seal)


def _fill_reset(message: cell_pb2.Frame, frame: frames.Reset) -> None:
    reset = message.reset
    _fill_stream(reset.stream, frame)
    reset.from_target = frame.from_target
    reset.code = enum_number(frame.code)
    reset.fault = enum_number(frame.fault)
    reset.sentence = frame.sentence
    reset.hops_left = frame.hops_left
    if frame.seal is not None:
        _fill_seal(reset.seal, frame.seal)


def _fill_resume_query(message: cell_pb2.Frame, frame: frames.ResumeQuery) -> None:
    query = message.resume_query
    _fill_stream(query.stream, frame)
    query.probe = frame.probe
    query.resume_id = frame.resume_id
    query.source_stamp = frame.source_stamp
    if frame.digest is not None:
        query.digest = frame.digest.text
    query.hops_left = frame.hops_left
    query.settled_below = frame.settled_below
    if frame.settled:
        _fill_settled(query, frame.settled)
    if frame.seal is not None:
        _fill_seal(query.seal, frame.seal)


def _fill_resume_reply(message: cell_pb2.Frame, frame: frames.ResumeReply) -> None:
    reply = message.resume_reply
    _fill_stream(reply.stream, frame)
    reply.target_incarnation = frame.target_incarnation
    reply.unknown = frame.unknown
    reply.offset = frame.offset
    if frame.prefix_digest is not None:
        reply.prefix_digest = frame.prefix_digest.text
    reply.probe = frame.probe
    reply.hops_left = frame.hops_left
    if frame.seal is not None:
        _fill_seal(reply.seal, frame.seal)


def _fill_query(message: cell_pb2.Frame, frame: frames.Query) -> None:
    query = message.query
    query.query_id = frame.query_id
    query.asker = frame.asker
    query.subject = frame.subject
    query.trace = frame.trace
    query.hops_left = frame.hops_left
    query.prefix = frame.selection.prefix
    query.limit = frame.selection.limit
    query.after = frame.selection.after
    query.contested = frame.contested
    query.claim_id = frame.claim_id


def _fill_query_reply(message: cell_pb2.Frame, frame: frames.QueryReply) -> None:
    reply = message.query_reply
    reply.query_id = frame.query_id
    reply.asker = frame.asker
    reply.responder = frame.responder
    reply.hops_left = frame.hops_left
    reply.more = frame.more
    reply.total = frame.total
    reply.holder = enum_number(frame.holder)
    reply.claim_id = frame.claim_id
    for cell in frame.cells:
        info = reply.cells.add()
        info.fqcn = cell.fqcn
        info.incarnation = cell.incarnation
        info.via = cell.via
        info.address = cell.address
        info.software = cell.software
        info.known_for_s = cell.known_for_s
        info.identity = cell.identity


def _fill_ping(message: cell_pb2.Frame, frame: frames.Ping) -> None:
    ping = message.ping
    ping.nonce = frame.nonce
    ping.settled_below = frame.settled_below
    _fill_settled(ping, frame.settled)


def _fill_pong(message: cell_pb2.Frame, frame: frames.Pong) -> None:
    message.pong.nonce = frame.nonce


def _fill_goodbye(message: cell_pb2.Frame, frame: frames.Goodbye) -> None:
    message.goodbye.code = enum_number(frame.code)
    message.goodbye.sentence = frame.sentence
    message.goodbye.linked_fqcn = frame.linked_fqcn


def _fill_handshake(message: cell_pb2.Frame, frame: frames.Handshake) -> None:
    handshake = message.handshake
    handshake.initiator = frame.initiator
    handshake.initiator_incarnation = frame.initiator_incarnation
    handshake.responder = frame.responder
    handshake.responder_incarnation = frame.responder_incarnation
    handshake.from_responder = frame.from_responder
    handshake.session_id = frame.session_id
    handshake.number = frame.number
    handshake.data = frame.data
    handshake.hops_left = frame.hops_left
    handshake.refusal = frame.refusal


_FILLERS: dict[type, Callable[[cell_pb2.Frame, Any], None]] = {
    frames.Hello: _fill_hello,
    frames.LanesWanted: _fill_lanes_wanted,
    frames.Announce: _fill_announce,
    frames.AnnounceReply: _fill_announce_reply,
    frames.Withdraw: _fill_withdraw,
    frames.Chunk: _fill_chunk,
    frames.Credit: _fill_credit,
    frames.Ack: _fill_ack,
    frames.Lost: _fill_lost,
    frames.Reset: _fill_reset,
    frames.ResumeQuery: _fill_resume_query,
    frames.ResumeReply: _fill_resume_reply,
    frames.Query: _fill_query,
    frames.QueryReply: _fill_query_reply,
    frames.Ping: _fill_ping,
    frames.Pong: _fill_pong,
    frames.Goodbye: _fill_goodbye,
    frames.Handshake: _fill_handshake,
}
