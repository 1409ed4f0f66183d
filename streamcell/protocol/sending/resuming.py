"""Where a stream goes on after its target was asked.

The origin's side of going on: a life of the target that knows the stream names the offset up to which it has
everything; one that does not is sent the stream from the start, or is asked to choose an offset, or must not be sent
it again because that might deliver it twice. Bytes that are not kept here come from the source anew.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.errors import CellError
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import SendPlaced, SendProgressed, SourceSeekWanted
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.states import (
    SenderInput,
    SenderState,
)
from streamcell.protocol.wire.frames import ResumeReply


class SenderOwner(Protocol):
    """What the table of all senders does with one."""

    def give_up(self, sender: StreamSender, error: CellError, now: float) -> None:
        """End the stream from this side."""

    def pump(self, sender: StreamSender, now: float) -> None:
        """Put the stream where writers find it, and ask its source for more, if there is room."""


class Resuming:
    """Lets senders go on."""

    def __init__(self, context: Context, owner: SenderOwner) -> None:
        self._context = context
        self._owner = owner

    def handle_reply(self, sender: StreamSender, frame: ResumeReply, now: float) -> None:
        """The target says where to go on, or that this life of it cannot say."""
        if sender.state is SenderState.RESUMING and frame.unknown:
            self._start_over(sender, frame.target_incarnation, now)
        elif not frame.unknown and _expects(sender, frame):
            # Another life that knows the stream got it from 0, when the one before had answered that it had nothing.
            sender.target_incarnation = frame.target_incarnation
            sender.heard_at = now
            self._go_to(sender, frame.offset, frame.prefix_digest, now)

    def move_source(self, sender: StreamSender, offset: int, now: float) -> None:
        """The source gives the bytes from ``offset`` on next."""
        if sender.state is not SenderState.SEEKING:
            return
        if not sender.keeps_all:
            sender.buffer.restart(offset)
            sender.source_ended = False
            sender.source_error = None
            sender.wanted = 0
        self._go_on(sender, offset, now)

    def _start_over(self, sender: StreamSender, incarnation: int, now: float) -> None:
        error = _fault_in_starting_over(sender, incarnation)
        if error is not None:
            self._owner.give_up(sender, error, now)
            return
        if sender.taken_up and incarnation != sender.target_incarnation:
            # One that was only offered to that life, or that it did not hear to begin, has left nothing there.
            sender.seen_before = True
        if sender.received:
            self._context.events.append(SendProgressed(sender.key.stream_id, 0))
        sender.forget_target()
        sender.target_incarnation = incarnation
        sender.heard_at = now
        if sender.asks_offset:
            sender.step(SenderInput.UNKNOWN)
            self.ask_offset(sender, now)
        else:
            self._go_on(sender, 0, now)

    def ask_offset(self, sender: StreamSender, now: float) -> None:
        """Offer the stream to a life of the target that is to choose where it goes on."""
        sender.placed = False
        sender.begin(0, 0)
        self._owner.pump(sender, now)

    def _go_to(self, sender: StreamSender, offset: int, prefix_digest: str, now: float) -> None:
        size = sender.spec.description.size
        if size is not None and offset > size:
            # What the target has is not the beginning of this.
            offset, prefix_digest = 0, ""
        buffer = sender.buffer
        if buffer.start <= offset <= buffer.end and (not prefix_digest or sender.whole):
            self._go_on(sender, offset, now)
        elif sender.whole:
            self._owner.give_up(sender, send_errors.not_kept(sender, offset), now)
        else:
            sender.step(SenderInput.SEEK)
            self._context.events.append(SourceSeekWanted(sender.key.stream_id, offset, prefix_digest))

    def _go_on(self, sender: StreamSender, offset: int, now: float) -> None:
        if sender.opened:
            # The offer was this attempt's first chunk, and its only one.
            sender.raise_attempt()
        skipped = max(0, offset - max(sender.received, sender.next_offset))
        sender.step(SenderInput.GO_ON)
        sender.begin(offset, sender.link.initial_credit if sender.link is not None else 0)
        sender.place(offset)
        self._context.events.append(SendPlaced(sender.key.stream_id, sender.received, skipped))
        self._owner.pump(sender, now)


def _expects(sender: StreamSender, reply: ResumeReply) -> bool:
    """Return whether an answer where to go on counts: the first one to a question, or that of who got the offer.

    Whoever answers the question of an attempt lived after the attempt had begun, and so after any life of which the
    origin had heard before. A second answer in the same attempt, of another life, may be the earlier one.
    """
    if sender.state is SenderState.AWAITING_OFFSET:
        return sender.target_incarnation in (None, reply.target_incarnation)
    return sender.state is SenderState.RESUMING


def _fault_in_starting_over(sender: StreamSender, incarnation: int) -> CellError | None:
    """Return why what is delivered whole cannot be sent again to a life of the target that does not know it, or None.

    The life that everything was sent to does not know it: then nothing arrived. Another life: an earlier one may have
    got all of it. A stream can always be offered: its reader says how much of it is wanted.
    """
    if not sender.whole or not sender.last_ever_sent or sender.spec.retry_unknown:
        return None
    if not sender.acknowledged and incarnation == sender.target_incarnation:
        return None
    return send_errors.outcome_unknown(sender)
