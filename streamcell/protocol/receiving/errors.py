"""What received streams fail with, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.errors import (
    AuthenticationError,
    BlobSizeError,
    CellError,
    ErrorCode,
    Fault,
    ProtocolError,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamRejected,
    StreamResumeError,
    StreamTimeout,
    error_from_wire,
)
from streamcell.limits import CORRUPT_CHUNKS, REMEMBERED_STREAMS, SETTLED_RUNS_KEPT
from streamcell.protocol.wire.frames import Chunk, Reset, ResumeQuery

if TYPE_CHECKING:
    from streamcell.protocol.receiving.half import StreamReceiver


def rejected(code: ErrorCode, sentence: str) -> CellError:
    """The application does not take the stream."""
    return error_from_wire(code, sentence, Fault.TARGET)


def not_allowed(sentence: str) -> CellError:
    """The policy of this cell does not let the origin send the stream."""
    return AuthenticationError(sentence, fault=Fault.ORIGIN)


def unknown_kind() -> CellError:
    """The stream is of a kind that a later version has."""
    return ProtocolError("the kind of the stream is not known here", fault=Fault.ORIGIN)


def not_awaited() -> CellError:
    """The request has ended, or another life has asked."""
    return StreamCancelled("nobody waits for this reply any more", fault=Fault.TARGET)


def reset_by_origin(frame: Reset) -> CellError:
    """The origin gave the stream up."""
    return error_from_wire(frame.code, frame.sentence, frame.fault)


def closed_early(receiver: StreamReceiver, fqcn: str) -> CellError:
    """The reader was closed before the end."""
    end = (
        "its end" if receiver.progress.size is not None else "its end was known: one that has no size is read until b''"
    )
    return StreamCancelled(
        f"the reader at {fqcn} closed {_name(receiver)} at offset {receiver.progress.consumed}, before {end}",
        fault=Fault.TARGET,
    )


def origin_restarted(receiver: StreamReceiver) -> CellError:
    """The life of the origin that sent the stream is over."""
    return StreamError(
        f"{receiver.key.origin} was restarted in the middle of {_name(receiver)}, at offset "
        f"{receiver.progress.received}",
        ErrorCode.RESUME,
        Fault.ORIGIN,
    )


def replaced(receiver: StreamReceiver) -> CellError:
    """Two streams of one name wait for the same new life of their origin."""
    return StreamResumeError(
        f"{receiver.key.origin} was restarted in the middle of {_name(receiver)}, and a later stream of the same "
        f"resume id {receiver.description.resume_id!r} waits to go on",
        fault=Fault.ORIGIN,
    )


def placed_elsewhere(chunk: Chunk, told: int) -> CellError:
    """The origin goes on where nobody asked it to."""
    return StreamResumeError(
        f"{chunk.key.origin} goes on with stream {chunk.key.stream_id} ({chunk.channel}/{chunk.topic}) at offset "
        f"{chunk.offset}, not at {told}",
        fault=Fault.ORIGIN,
    )


def nobody_registered(receiver: StreamReceiver, fqcn: str) -> CellError:
    """No callback was registered in time for a stream that goes on after a restart."""
    return StreamRejected(
        f"{fqcn} was restarted, and for {receiver.idle_timeout_s:g} s no callback was registered for "
        f"{receiver.channel}/{receiver.topic}",
        ErrorCode.NO_CALLBACK,
        Fault.TARGET,
    )


def corrupted(chunk: Chunk, fqcn: str) -> CellError:
    """Too many chunks arrived with a wrong checksum."""
    return StreamIntegrityError(
        f"{CORRUPT_CHUNKS} chunks of stream {chunk.key.stream_id} from {chunk.key.origin} reached {fqcn} with a wrong "
        "checksum: something on the way changes bytes",
        fault=Fault.NETWORK,
    )


def made_up(receiver: StreamReceiver) -> CellError:
    """A stream came in plain, and then a sealed one with its id."""
    return StreamIntegrityError(
        f"{_name(receiver)} came in plain, and {receiver.key.origin} has sealed the one with that id: a cell on the "
        "way has made this up",
        fault=Fault.NETWORK,
    )


def id_is_taken(frame: Chunk | ResumeQuery, fqcn: str) -> CellError:
    """A stream came sealed, and before it one in plain with its id."""
    return StreamIntegrityError(
        f"{fqcn} was sent another stream {frame.key.stream_id} of {frame.key.origin} in plain before this one came "
        "sealed: a cell on the way has made that up; send it again",
        fault=Fault.NETWORK,
    )


def too_large(fqcn: str, most: int, size: int) -> CellError:
    """What is to be assembled has more bytes than this cell takes."""
    return BlobSizeError(
        f"{fqcn} takes blobs of at most {most} bytes, this one has {size} or more: send it as a stream, or raise "
        "max_blob_bytes there",
        fault=Fault.ORIGIN,
    )


def credit_ignored(chunk: Chunk, allowed: int) -> CellError:
    """The sender went further than it was let."""
    return ProtocolError(
        f"stream {chunk.key.stream_id} from {chunk.key.origin} sent offset {chunk.offset} with a credit of {allowed}",
        fault=Fault.ORIGIN,
    )


def remembered_too_much(origin: str, fqcn: str) -> CellError:
    """An origin does not say which of its streams are settled."""
    return ProtocolError(
        f"{fqcn} remembers {REMEMBERED_STREAMS} streams of {origin} that have ended, or {SETTLED_RUNS_KEPT} runs of "
        f"settled ones: {origin} has to say which are settled (settled_below), and to ask only about streams that it "
        "sends",
        ErrorCode.LIMIT,
        Fault.ORIGIN,
    )


def stood_still(receiver: StreamReceiver, fqcn: str) -> CellError:
    """Others wait for the memory that a stream has, and that it makes no use of."""
    return StreamError(
        f"{receiver.key.origin} brought nothing more of {_name(receiver)} for long, while others wait for the memory "
        f"that it has at {fqcn}: they get it, and the stream begins again behind them",
        ErrorCode.LIMIT,
        Fault.ORIGIN,
    )


def cut_off(receiver: StreamReceiver, why: CellError) -> CellError:
    """The origin is a neighbour that was cut off."""
    return StreamError(f"{_name(receiver)} has ended with its origin, which was cut off: {why}", why.code, Fault.ORIGIN)


def gave_up(receiver: StreamReceiver) -> CellError:
    """The origin has settled the stream, and its reason got lost."""
    return StreamCancelled(f"{receiver.key.origin} gave up {_name(receiver)}", fault=Fault.ORIGIN)


def silent(receiver: StreamReceiver) -> CellError:
    """The origin showed no life for the idle timeout."""
    return StreamTimeout(
        f"{receiver.key.origin} was silent about {_name(receiver)} for {receiver.idle_timeout_s:g} s, at "
        f"offset {receiver.progress.received}",
        fault=Fault.ORIGIN,
    )


def _name(receiver: StreamReceiver) -> str:
    return f"stream {receiver.key.stream_id} ({receiver.channel}/{receiver.topic})"
