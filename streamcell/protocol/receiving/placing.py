"""Where the streams that a cell receives begin.

The target's side of going on after a restart: the application chooses an offset, the origin is told until it goes on
there, or at 0 if it cannot agree.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.digest import Digest
from streamcell.errors import CellError
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import StreamPlaced
from streamcell.protocol.links.link import Link
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving.half import CorruptChunk, StreamReceiver
from streamcell.protocol.receiving.lives import Registrar
from streamcell.protocol.receiving.states import (
    AgreementInput,
)
from streamcell.protocol.wire.frames import Chunk, LostReason, ResumeQuery, StreamKey


class ReceiverOwner(Protocol):
    """What the table of all receivers does with one."""

    def find(self, key: StreamKey) -> StreamReceiver | None:
        """Return the receiver of a stream that has not ended."""

    def speak(self, receiver: StreamReceiver) -> None:
        """Let a receiver say what it has to say."""

    def give_up(self, receiver: StreamReceiver, error: CellError, now: float) -> None:
        """End a stream from this side."""

    def say_lost(self, link: Link, chunk: Chunk, reason: LostReason) -> None:
        """Tell the origin that a chunk did not get through."""

    def note_corrupt(self, receiver: StreamReceiver, link: Link, chunk: Chunk, now: float) -> None:
        """A chunk has a wrong checksum."""


class Placing:
    """Brings application and origin to agree."""

    def __init__(self, context: Context, owner: ReceiverOwner, registrar: Registrar) -> None:
        self._context = context
        self._owner = owner
        self._registrar = registrar

    def weigh(self, key: StreamKey) -> None:
        """The application is at finding out where its stream is to go on."""
        receiver = self._owner.find(key)
        if receiver is not None:
            receiver.agreement.step(AgreementInput.WEIGH)

    def choose(self, key: StreamKey, offset: int, prefix_digest: Digest | None) -> None:
        """The origin is to go on at ``offset``, if it has the same bytes below that."""
        receiver = self._owner.find(key)
        if receiver is not None:
            receiver.agreement.choose(offset, prefix_digest)
            self._owner.speak(receiver)

    def answer_query(self, receiver: StreamReceiver, link: Link, query: ResumeQuery) -> None:
        """The origin asks where to go on, or shows that it is alive. A choice is told as a state, not once."""
        agreement = receiver.agreement
        agreement.repeat()
        if not query.probe and query.attempt == receiver.attempt:
            # It is asked twice: chunks of this attempt may have come in between.
            receiver.repeat()
        elif not query.probe:
            receiver.enter_attempt(query.attempt, receiver.received)
        if query.probe or agreement.placed:
            link.outbox.post(self._registrar.reply(query, receiver.received, unknown=False))
        elif agreement.undecided:
            # Then the origin offers the stream again, and shows life while it waits.
            link.outbox.post(self._registrar.reply(query, 0, unknown=True))

    def takes(self, receiver: StreamReceiver, link: Link, chunk: Chunk, now: float) -> bool:
        """Take in where the origin of a stream goes on, if that is not known; return whether the chunk counts."""
        if chunk.open is None:
            self._owner.say_lost(link, chunk, LostReason.UNKNOWN_HERE)
            return False
        if chunk.open.awaits_offset:
            return True
        try:
            receiver.check_intact(chunk)
        except CorruptChunk:
            self._owner.note_corrupt(receiver, link, chunk, now)
            return False
        return self._place(receiver, chunk, now)

    def _place(self, receiver: StreamReceiver, chunk: Chunk, now: float) -> bool:
        offset, agreement = chunk.offset, receiver.agreement
        # What an earlier life of the origin sent cannot be taken back from its reader.
        begun = receiver.received > 0
        if offset != agreement.offset and (begun or offset > 0):
            self._owner.give_up(receiver, receive_errors.placed_elsewhere(receiver, offset), now)
            return False
        agreement.step(AgreementInput.WENT_ON)
        if not begun:
            receiver.start_at(chunk.attempt, offset)
            self._context.events.append(StreamPlaced(receiver.key, offset))
        else:
            receiver.enter_attempt(chunk.attempt, offset)
        return True
