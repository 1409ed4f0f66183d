"""Where an attempt begins, from the origin's side.

A life of the target that knows the stream names the offset up to which it has everything. One that does not is sent the
stream from the start, or is offered it and chooses an offset, or must not be sent it again, because that might deliver
it twice. Bytes that are not kept here come from the source anew.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from streamcell.digest import Digest
from streamcell.errors import CellError
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending.buffer import SendBuffer
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.wire.frames import Lost, LostReason, ResumeReply

if TYPE_CHECKING:
    from streamcell.protocol.sending.half import StreamSender


@dataclasses.dataclass(frozen=True, slots=True)
class StartingPoint:
    """An offset, and the digest of what the target has below it, if the source is to show that it has the same."""

    offset: int = 0
    prefix_digest: Digest | None = None

    def is_kept(self, buffer: SendBuffer, *, whole: bool) -> bool:
        """Return whether the attempt can begin there with what is kept. What is delivered whole is never compared."""
        return buffer.start <= self.offset <= buffer.end and (whole or self.prefix_digest is None)


#: The first byte, which needs no proof.
AT_THE_START = StartingPoint()


def named_by(reply: ResumeReply, size: int | None) -> StartingPoint:
    """Return where a target wants a stream of ``size`` bytes (None: not known) to go on."""
    if size is not None and reply.offset > size:
        # What the target has is not the beginning of this.
        return AT_THE_START
    return StartingPoint(reply.offset, reply.prefix_digest)


def is_expected(sender: StreamSender, reply: ResumeReply) -> bool:
    """Return whether an answer where to go on counts: the first one to a question, or that of who got the offer.

    Whoever answers the question of an attempt lived after the attempt had begun, and so after any life of which the
    origin had heard before. A second answer in the same attempt, of another life, may be the earlier one.
    """
    if sender.state is SenderState.AWAITING_OFFSET:
        return sender.target_life in (None, reply.target_incarnation)
    return sender.state is SenderState.RESUMING


def fault_in_starting_over(sender: StreamSender, life: int) -> CellError | None:
    """Return why what is delivered whole cannot be sent again to a life of the target that does not know it, or None.

    The life that everything was sent to does not know it: then nothing arrived. Another life: an earlier one may have
    got all of it. A stream can always be offered: its reader says how much of it is wanted.
    """
    if not sender.whole or not sender.attempt.end_sent or sender.spec.retry_unknown:
        return None
    if not sender.confirmed.acknowledged and life == sender.target_life:
        return None
    return send_errors.outcome_unknown(sender)


def shows_refusal(sender: StreamSender, frame: Lost) -> bool:
    """Return whether a loss shows that the target has taken nothing of the attempt, not even its end.

    Of a sealed stream only the target itself can show that.
    """
    refused = frame.reason in (LostReason.LIMIT, LostReason.OTHER_LIFE)
    return refused and (frame.seal is not None or not sender.spec.description.sealed)
