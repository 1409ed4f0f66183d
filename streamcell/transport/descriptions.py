"""What a stream is, into the Open part of a message and out of it: both ways of a field stand side by side.

What a peer has sent is checked; what this cell's own core has made is not.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from google.protobuf.message import DecodeError

from streamcell import limits
from streamcell.errors import ErrorCode, ProtocolError
from streamcell.message import Headers, HeaderValue
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind, is_traceparent
from streamcell.transport.checks import (
    ERROR_CODES,
    check_count,
    checked_digest,
    checked_name,
    checked_seconds,
    checked_sentence,
    checked_stamp,
    text_bytes,
)
from streamcell.v1 import cell_pb2

# What a header counts for beside its key and value, the same as in message.freeze_headers.
_HEADER_OVERHEAD_BYTES = 16

_STREAM_KINDS = {int(kind): kind for kind in StreamKind}


def enum_number(value: enum.IntEnum) -> Any:
    """Return the number of a value: protobuf takes any int for an enum, its type stubs want its own classes."""
    return value


def fill_description(message: cell_pb2.Open, description: StreamDescription) -> None:
    """Set those fields of ``message`` that say what a stream is."""
    message.kind = enum_number(description.kind)
    if description.size is not None:
        message.size = description.size
    message.idle_timeout_s = description.idle_timeout_s
    # What most streams do not have.
    if description.headers:
        _fill_headers(message, description.headers)
    if description.resume_id:
        message.resume_id = description.resume_id
    if description.source_stamp:
        message.source_stamp = description.source_stamp
    if description.digest is not None:
        message.digest = description.digest.text
    if description.digest_follows:
        message.digest_follows = True
    if description.reply_to is not None:
        _fill_reply_to(message, description.reply_to)
    if description.no_reply:
        message.no_reply = True
    if description.traceparent:
        message.traceparent = description.traceparent


def hidden_of(description: StreamDescription) -> bytes:
    """Return what a sealed stream hides of its description, as an Open part that says nothing else."""
    message = cell_pb2.Open()
    if description.headers:
        _fill_headers(message, description.headers)
    message.source_stamp = description.source_stamp
    if description.digest is not None:
        message.digest = description.digest.text
    if description.reply_to is not None:
        message.reply_code = enum_number(description.reply_to.code)
        message.reply_sentence = description.reply_to.sentence
    return message.SerializeToString()


def with_hidden(description: StreamDescription, hidden: bytes) -> StreamDescription:
    """Return a description with what was hidden of it, and nothing else of that: what is in plain there was added.

    :raises ProtocolError: if a field breaks a limit or a rule.
    """
    if not (hidden or description.headers or description.source_stamp or description.digest or description.reply_to):
        return description
    try:
        message = cell_pb2.Open.FromString(hidden)
    except DecodeError as error:
        raise ProtocolError("what an Open part hides is malformed") from error
    reply = description.reply_to
    if reply is not None:
        code = ERROR_CODES.get(message.reply_code, ErrorCode.INTERNAL)
        reply = dataclasses.replace(reply, code=code, sentence=checked_sentence(message.reply_sentence))
    return dataclasses.replace(
        description,
        headers=_headers(message),
        source_stamp=checked_stamp(message.source_stamp),
        digest=checked_digest(message.digest, "digest"),
        reply_to=reply,
    )


def _fill_reply_to(message: cell_pb2.Open, reply_to: ReplyTo) -> None:
    message.reply_to = reply_to.request_id
    message.reply_to_incarnation = reply_to.incarnation
    message.reply_code = enum_number(reply_to.code)
    message.reply_sentence = reply_to.sentence


def read_description(message: cell_pb2.Open) -> StreamDescription:
    """Return what ``message`` says of its stream.

    :raises ProtocolError: if a field breaks a limit or a rule.
    """
    return StreamDescription(
        _STREAM_KINDS.get(message.kind, StreamKind.UNSPECIFIED),
        message.size if message.HasField("size") else None,
        _headers(message),
        checked_seconds(message.idle_timeout_s, "idle_timeout_s"),
        checked_name(message.resume_id, "resume_id"),
        checked_stamp(message.source_stamp),
        checked_digest(message.digest, "digest"),
        message.digest_follows,
        _reply_to(message),
        message.no_reply,
        _traceparent(message.traceparent),
    )


def _traceparent(text: str) -> str:
    if text and not is_traceparent(text):
        raise ProtocolError(
            f"traceparent {text!r:.100} is not visible ASCII of at most {limits.TRACEPARENT_BYTES} characters"
        )
    return text


def _reply_to(message: cell_pb2.Open) -> ReplyTo | None:
    """Return what a reply answers. Where all fields have their defaults there is none: that is the same on the wire."""
    sentence = message.reply_sentence
    if not (message.reply_to or message.reply_to_incarnation or message.reply_code or sentence):
        return None
    code = ERROR_CODES.get(message.reply_code, ErrorCode.INTERNAL)
    return ReplyTo(message.reply_to, message.reply_to_incarnation, code, checked_sentence(sentence))


def _fill_headers(message: cell_pb2.Open, headers: Headers) -> None:
    for key, value in headers:
        header = message.headers.add()
        header.key = key
        if isinstance(value, str):
            header.value.text = value
        elif isinstance(value, bytes):
            header.value.raw = value
        elif isinstance(value, bool):  # before int, which it also is
            header.value.flag = value
        elif isinstance(value, int):
            header.value.integer = value
        else:
            header.value.real = value


def _headers(message: cell_pb2.Open) -> Headers:
    check_count(len(message.headers), limits.HEADERS_BYTES // _HEADER_OVERHEAD_BYTES, "headers")
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
        total += _HEADER_OVERHEAD_BYTES + text_bytes(key)
        if isinstance(value, str):
            total += text_bytes(value)
        elif isinstance(value, bytes):
            total += len(value)
        read.append((key, value))
    if total > limits.HEADERS_BYTES:
        raise ProtocolError(f"the headers take {total} bytes, more than {limits.HEADERS_BYTES}")
    return tuple(read)
