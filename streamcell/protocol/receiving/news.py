"""What the origin of a received stream is told, and by which link.

Where the stream stands is told as states, not messages: the offset to go on from, the Credit, the Ack. Each is due or
not; when the link's writer asks, what is due is told as things stand then. An Ack is worth a frame of its own only when
enough is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.limits import HOPS, KIB, MIB, SHARED_LANE_IN_FLIGHT_BYTES
from streamcell.protocol.receiving.allowance import Allowance
from streamcell.protocol.receiving.progress import Progress
from streamcell.protocol.receiving.starting_point import StartingPoint
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Credit,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
    StreamKey,
)

if TYPE_CHECKING:
    from streamcell.protocol.links.link import Link
    from streamcell.protocol.receiving.surroundings import Surroundings

# An Ack goes with each Credit, since each message wakes both ends. It is worth one of its own when this much is new, or
# this part of the window if that is more: while the reader keeps up, a Credit comes first.
_ACK_BYTES = 64 * KIB
_ACK_WINDOW_PART = 4
# What is assembled has all its credit from the start and is kept by its origin to the end: an Ack only shows how far it
# has come.
_ACK_ASSEMBLED_BYTES = 4 * MIB
# On a lane that is shared with control an Ack is worth a frame for this part of what may be in flight there.
_ACK_SHARED_BYTES = SHARED_LANE_IN_FLIGHT_BYTES // 4
# What is not worth an Ack of its own is said after this time.
ACK_DELAY_S = 0.1


class News:
    """What is to be said about one stream, the key and the attempt that it is said of, and the way that it goes.

    :ivar link: None while no way to the origin is known.
    :ivar seal: under what its origin has sealed what came last, and what is said to it is sealed, too.
    :ivar ack_due: an Ack is to be sent.
    :ivar ack_at: when an Ack is sent whatever it has to tell; None while there is nothing that none has told.
    """

    __slots__ = (
        "_acked_consumed",
        "_acked_received",
        "_allowance",
        "_context",
        "_point",
        "_progress",
        "_ways",
        "ack_at",
        "ack_due",
        "attempt",
        "key",
        "link",
        "seal",
    )

    def __init__(
        self,
        near: Surroundings,
        chunk: Chunk,
        link: Link,
        parts: tuple[Progress, StartingPoint, Allowance],
        now: float,
    ) -> None:
        self.key: StreamKey = chunk.key
        self.attempt = chunk.attempt
        self.link: Link | None = link
        self.seal = None if chunk.seal is None else Seal(chunk.seal.session_id)
        self.ack_due = False
        self.ack_at: float | None = now + ACK_DELAY_S
        # Before the first Ack even an empty stream is news.
        self._acked_received = -1
        self._acked_consumed = 0
        self._progress, self._point, self._allowance = parts
        self._context = near.context
        self._ways = near.ways
        self._ways.on_way_taken(link, self)

    # Whose stream it is.

    def on_start(self) -> None:
        """The stream begins: the origin, which knows where, need not be told of what lies below."""
        self._acked_received = self._acked_consumed = self._progress.received

    def on_attempt(self, attempt: int) -> None:
        """From now on all is said of this attempt, and where the stream stands first."""
        self.attempt = attempt
        self.ack_due = True
        self.speak()

    def on_new_life(self, chunk: Chunk) -> None:
        """From now on all is said of the stream of a new life of the origin, which this chunk opens."""
        self.key = chunk.key
        self.seal = None if chunk.seal is None else Seal(chunk.seal.session_id)
        self.on_attempt(chunk.attempt)

    def note_seal(self, seal: Seal) -> None:
        """From now on all is said under this session."""
        self.seal = Seal(seal.session_id)

    # The way.

    def take_way(self, link: Link) -> None:
        """Speak by ``link`` from now on: what was said another way may be of no use to anybody there."""
        if self.link is not None:
            self.link.outbox.forget(self)
            self._ways.on_way_left(self.link, self)
        self.link = link
        self._ways.on_way_taken(link, self)
        self.repeat()

    def on_way_changed(self, link: Link) -> None:
        """What is said may have another way; what was said before may not have found any."""
        if self.link is not link:
            self.take_way(link)
        self.ack_due = True
        self.speak()

    def on_way_lost(self) -> None:
        """Say nothing until there is a way again: the origin may come back, or the stream fails by its timers."""
        if self.link is not None:
            self._ways.on_way_left(self.link, self)
            self.link = None

    def on_ended(self, last_word: Ack | Reset | None) -> None:
        """Say this, if there is a way, and nothing more: it says all that there was to say."""
        link = self.link
        self.on_way_lost()
        if link is not None:
            link.outbox.forget(self)
            if last_word is not None:
                link.say(last_word)

    def repeat(self) -> None:
        """Tell again what may have been missed."""
        self.ack_due = True
        self._allowance.repeat()
        self._point.repeat()
        self.speak()

    def speak(self) -> None:
        """Have the link ask for what is due."""
        link = self.link
        if link is not None and (self.ack_due or self._allowance.due or self._point.due):
            link.outbox.note(self)
            link.wake_control()

    # Acks.

    def tell(self, now: float | None, link: Link | None = None) -> bool:
        """Have said what is worth a frame, and all the rest in a moment; return whether ``ack_at`` is set for that.

        ``link``: what a chunk has just come over, of which the lanes may be shared with control. No ``now``: the rest
        waits until there is more.
        """
        progress, allowance = self._progress, self._allowance
        fresh = max(progress.received - self._acked_received, progress.consumed - self._acked_consumed)
        least = _ACK_ASSEMBLED_BYTES if allowance.assembled else _ACK_BYTES
        delays = False
        if fresh > 0 and not self.ack_due:
            if fresh >= max(least, allowance.window.size // _ACK_WINDOW_PART) or (
                link is not None and fresh >= _ACK_SHARED_BYTES and not link.has_bulk_lane()
            ):
                self.ack_due = True
            elif self.ack_at is None and now is not None:
                self.ack_at = now + ACK_DELAY_S
                delays = True
        if self.ack_due or allowance.due or self._point.due:
            self.speak()
        return delays

    def want_ack(self) -> None:
        """Have an Ack sent, whatever it has to tell."""
        self.ack_due = True

    def on_time(self, now: float) -> None:
        """Tell what was delayed, if its time has come."""
        if self.ack_at is not None and now >= self.ack_at:
            self.ack_at = None
            self.ack_due = self.ack_due or self._owes_ack()
            self.speak()

    def _owes_ack(self) -> bool:
        progress = self._progress
        return progress.received > self._acked_received or progress.consumed > self._acked_consumed

    # Words.

    def take_control_frames(self, lane_id: int, now: float) -> list[Ack | Credit | ResumeReply]:
        """Return the offset to go on from, the Credit and the Ack that are due, as they stand now."""
        frames: list[Ack | Credit | ResumeReply] = []
        if self._point.due:
            frames.append(self._point.tell(self.key, self.attempt, self._context, self.seal))
        if self._allowance.due:
            self._allowance.on_told()
            self.ack_due = self.ack_due or self._owes_ack()
            frames.append(Credit(self.key, self._context.fqcn, self.attempt, self._allowance.allowed_to_previous))
        if self.ack_due:
            self.ack_due = False
            self.ack_at = None
            self._acked_received = self._progress.received
            self._acked_consumed = self._progress.consumed
            frames.append(self.ack(complete=False))
        return frames

    def ack(self, *, complete: bool) -> Ack:
        """Return the Ack that says where the stream stands."""
        progress, context = self._progress, self._context
        return Ack(
            self.key,
            context.fqcn,
            self.attempt,
            target_incarnation=context.incarnation,
            received=progress.received,
            consumed=progress.consumed,
            complete=complete,
            hops_left=HOPS,
            seal=self.seal,
        )

    def say_lost(self, link: Link, chunk: Chunk, reason: LostReason) -> None:
        """Have a chunk that came over ``link`` sent again."""
        link.answer(Lost.by_target(chunk, reason))

    def answer(self, link: Link, query: ResumeQuery) -> None:
        """Say where the stream stands, or that it is not known while the application has not chosen where it begins.

        Then the origin offers it again, and shows life while it waits. A choice is told as a state.
        """
        if query.probe or self._point.placed:
            link.answer(ResumeReply.to(query, self._context.incarnation, self._progress.received, unknown=False))
        elif self._point.undecided:
            link.answer(ResumeReply.to(query, self._context.incarnation, 0, unknown=True))
