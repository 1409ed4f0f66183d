"""What streams that are sent fail with, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.errors import (
    AuthenticationError,
    CellError,
    ErrorCode,
    Fault,
    RequestFailed,
    StreamError,
    StreamIntegrityError,
    StreamOutcomeUnknown,
    StreamResumeError,
    StreamTargetUnreachable,
    StreamTimeout,
    error_from_wire,
)
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Lost, LostReason, Reset

if TYPE_CHECKING:
    from streamcell.protocol.sending.half import StreamSender


def stopped(fqcn: str) -> CellError:
    """The cell sends nothing any more."""
    return StreamError(f"{fqcn} is stopped", ErrorCode.STOPPING)


def unreachable(sender: StreamSender, why: str) -> CellError:
    """There is no way to the target, or it was never heard of."""
    return StreamTargetUnreachable(
        f"{sender.spec.target} cannot be reached from {sender.key.origin}: {why}; check its name, and that it "
        "runs and is connected",
        fault=Fault.NETWORK,
    )


def never_heard(sender: StreamSender) -> CellError:
    """The target has not acknowledged the stream for as long as the application waits for that."""
    return unreachable(sender, f"nothing was heard of it for {sender.spec.unreachable_timeout_s:g} s")


def silent(sender: StreamSender) -> CellError:
    """The target, which knows the stream, said nothing about it for the idle timeout."""
    spec = sender.spec
    return StreamTimeout(
        f"{spec.target} was silent about stream {sender.key.stream_id} ({spec.channel}/{spec.topic}) for "
        f"{spec.description.idle_timeout_s:g} s, at {sender.confirmed.received} bytes: its reader does not read, or "
        "the way is cut",
        fault=Fault.TARGET,
    )


def longer_than_declared(spec: SendSpec, given: int) -> CellError:
    """The source gave more bytes than the application said."""
    return _wrong_size(spec, f"gave {given} bytes, more than the {spec.description.size} declared")


def other_end(spec: SendSpec, given: int, expected: int, *, read_before: bool) -> CellError:
    """The source ended before the size that was declared, or elsewhere than when it was read before."""
    what = "there before" if read_before else "declared"
    return _wrong_size(spec, f"ended after {given} bytes, but {expected} were {what}")


def _wrong_size(spec: SendSpec, what: str) -> CellError:
    return StreamIntegrityError(f"the source of the stream to {spec.target} {what}", fault=Fault.ORIGIN)


def reset_by_target(sender: StreamSender, frame: Reset) -> CellError:
    """The target gave the stream up; nobody there took a request, say."""
    code = frame.code
    if sender.spec.description.kind is StreamKind.REQUEST and code in (ErrorCode.NO_CALLBACK, ErrorCode.REJECTED):
        return RequestFailed(frame.sentence, code, frame.fault)
    return error_from_wire(code, frame.sentence, frame.fault)


def fault_in_loss(sender: StreamSender, frame: Lost) -> CellError | None:
    """Return what a loss ends the stream with; None: it asks where to go on."""
    if frame.reason is LostReason.NO_ROUTE and sender.spec.optional:
        return unreachable(sender, f"{frame.reporter} knows no way to it now")
    if frame.reason is LostReason.REFUSED and sender.confirmed.takes_refusal():
        return _refused_on_the_way(sender, frame)
    return None


def _refused_on_the_way(sender: StreamSender, frame: Lost) -> CellError:
    """A cell on the way does not let the stream pass. That is what it says: nothing proves it."""
    spec = sender.spec
    said = (
        f"{frame.reporter}, on the way to {spec.target}, refuses stream {sender.key.stream_id} "
        f"({spec.channel}/{spec.topic}): {frame.sentence}"
    )
    if sender.whole and sender.confirmed.acknowledged and sender.attempt.end_sent:
        sentence = f"{said}. All of it had been sent before, and may have been delivered"
        return StreamOutcomeUnknown(sentence, fault=Fault.ORIGIN)
    return AuthenticationError(said, fault=Fault.ORIGIN)


def confirmed_too_much(sender: StreamSender, frame: Ack) -> CellError:
    """The target says that it has what was not sent."""
    return StreamError(
        f"{sender.spec.target} confirmed {frame.received} bytes of stream {sender.key.stream_id}, more than were sent",
        ErrorCode.PROTOCOL,
        Fault.TARGET,
    )


def not_kept(sender: StreamSender, offset: int) -> CellError:
    """The target asks for bytes of a blob that are not here."""
    buffer = sender.source.buffer
    return StreamResumeError(
        f"{sender.spec.target} asked stream {sender.key.stream_id} to go on at {offset}, outside of what is kept "
        f"({buffer.start} to {buffer.end})",
        fault=Fault.TARGET,
    )


def outcome_unknown(sender: StreamSender) -> CellError:
    """Another life of the target may have got all of what must not be delivered twice."""
    return StreamOutcomeUnknown(
        f"{sender.spec.target} was restarted after all of stream {sender.key.stream_id} had been sent and before it "
        "confirmed: it may or may not have been delivered; send it again if twice is better than not at all",
        fault=Fault.TARGET,
    )
