"""What the origin of a received stream sends: attempts, chunks, and questions where to go on.

Chunks are taken in whatever the application makes of the stream, within the credit that was given: see ``states.py``.
Whatever the origin does wrong is raised, for the receiver to give the stream up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.limits import CHUNK_PAYLOAD_BYTES, CORRUPT_CHUNKS
from streamcell.protocol.base.context import Count
from streamcell.protocol.base.events import StreamPlaced
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving.allowance import Allowance
from streamcell.protocol.receiving.news import News
from streamcell.protocol.receiving.progress import Progress, TooManyGaps
from streamcell.protocol.receiving.starting_point import StartingPoint
from streamcell.protocol.receiving.states import StartingPointState
from streamcell.protocol.wire.frames import Chunk, LostReason, Open, Payload, ResumeQuery
from streamcell.protocol.wire.integrity import is_intact

if TYPE_CHECKING:
    from streamcell.protocol.links.link import Link
    from streamcell.protocol.receiving.surroundings import Surroundings

# Asked for each chunk: found once, since a member of an enumeration is found slowly before Python 3.12.
_PLACED, _BYTES_RECEIVED = StartingPointState.PLACED, Count.BYTES_RECEIVED


class OriginSide:
    """The side of one stream that its origin sees.

    :ivar progress: what has come, in order, what was taken, and where the stream ends.
    :ivar point: where it begins.
    :ivar allowance: how far its sender may go, and the window that this comes from.
    :ivar news: what the origin is told, of which stream and attempt, and by which link.
    :ivar party: who it shares memory and threads with others for, whichever way it comes later.
    :ivar heard_at: when the origin showed last that it has the stream.
    """

    __slots__ = ("_context", "_corrupt_chunks", "allowance", "heard_at", "news", "party", "point", "progress")

    def __init__(self, near: Surroundings, chunk: Chunk, opening: Open, link: Link, now: float) -> None:
        description = opening.description
        self.progress = Progress(description.size, description.digest)
        self.point = StartingPoint(awaited=opening.awaits_offset and not description.kind.whole)
        self.party = link.party_of(chunk.key.origin)
        self.allowance = Allowance(near.memory.window(self.party), self.progress, self.point, chunk.offset)
        self.news = News(near, chunk, link, (self.progress, self.point, self.allowance), now)
        self.heard_at = now
        self._context = near.context
        self._corrupt_chunks = 0

    def on_new_life(self, chunk: Chunk, opening: Open, now: float, *, admitted: bool) -> None:
        """A new life of the origin sends the stream again, beginning with this chunk; it goes on from what has come."""
        self.heard_at = now
        self._corrupt_chunks = 0
        self.progress.on_new_life(opening.description.size, opening.description.digest)
        self.point.on_new_life(self.progress.received)
        self.allowance.on_attempt(self.progress.received, admitted=admitted)
        self.news.on_new_life(chunk)

    def take_in(self, link: Link, chunk: Chunk, now: float, *, admitted: bool) -> list[Payload] | None:
        """Return what is in order from now on, or None if the chunk does not count.

        :raises ProtocolError: if the sender ignored its credit.
        :raises StreamIntegrityError: if it contradicts itself, or too many chunks were changed on the way.
        :raises StreamResumeError: if it goes on where nobody asked it to.
        """
        news, progress = self.news, self.progress
        if chunk.attempt < news.attempt:
            return None
        if news.link is not link:
            news.take_way(link)
        self.heard_at = now
        if chunk.seal is not None:
            news.note_seal(chunk.seal)
        if self.point.state is not _PLACED and not self._takes_start(link, chunk, admitted=admitted):
            return None
        if chunk.attempt > news.attempt:
            self._enter_attempt(chunk.attempt, chunk.offset, admitted=admitted)
        link.remembered_window.heard(now)
        if not is_intact(chunk, self._context.checksum):
            self.on_corrupt_chunk(link, chunk)
            return None
        allowed = self.allowance.allowed_to_previous
        if chunk.offset + len(chunk.payload) > allowed and self._goes_too_far(chunk, allowed):
            news.say_lost(link, chunk, LostReason.LIMIT)
            return None
        before = progress.received
        try:
            pieces = progress.take_in(chunk)
        except TooManyGaps:
            news.say_lost(link, chunk, LostReason.LANE_LOST)
            return None
        self._context.counters.add(_BYTES_RECEIVED, progress.received - before)
        return pieces

    def _goes_too_far(self, chunk: Chunk, allowed: int) -> bool:
        """Return whether a chunk that ends beyond the credit does not count.

        Before the first Credit none may: that much is kept of streams that nobody has taken yet.

        :raises ProtocolError: if it begins so far beyond that the sender must know.
        """
        if len(chunk.payload) == 0:
            return False
        if chunk.offset >= allowed + CHUNK_PAYLOAD_BYTES:
            raise receive_errors.credit_ignored(chunk, allowed)
        return not self.allowance.told

    def on_query(self, link: Link, query: ResumeQuery, now: float, *, admitted: bool) -> None:
        """The origin asks where to go on, or shows that it is alive."""
        news = self.news
        if query.attempt < news.attempt:
            return
        if news.link is not link:
            news.take_way(link)
        self.heard_at = now
        if query.seal is not None:
            news.note_seal(query.seal)
        if query.probe:
            self.point.repeat()
        elif query.attempt > news.attempt:
            self._enter_attempt(query.attempt, self.progress.received, admitted=admitted)
            self.point.repeat()
        else:
            # It is asked twice: chunks of this attempt may have come in between.
            news.repeat()
        news.answer(link, query)
        news.speak()

    def _takes_start(self, link: Link, chunk: Chunk, *, admitted: bool) -> bool:
        """Take in where the origin goes on, while that is not known; return whether the chunk counts."""
        if chunk.open is None:
            self.news.say_lost(link, chunk, LostReason.UNKNOWN_HERE)
            return False
        if chunk.open.awaits_offset:
            return True
        if not is_intact(chunk, self._context.checksum):
            self.on_corrupt_chunk(link, chunk)
            return False
        received = self.progress.received
        if not self.point.allows(chunk.offset, received):
            raise receive_errors.placed_elsewhere(chunk, self.point.offset)
        self.point.on_origin_went_on()
        if received == 0:
            self.progress.start_at(chunk.offset)
            self.allowance.start_at(chunk.offset)
            self.news.on_start()
            self._context.events.append(StreamPlaced(self.news.key, chunk.offset))
        self._enter_attempt(chunk.attempt, chunk.offset, admitted=admitted)
        return True

    def _enter_attempt(self, attempt: int, offset: int, *, admitted: bool) -> None:
        """Go over to an attempt that goes on at ``offset``."""
        self.progress.forget_beyond_gap()
        self.allowance.on_attempt(offset, admitted=admitted)
        self.news.on_attempt(attempt)

    def on_corrupt_chunk(self, link: Link, chunk: Chunk) -> None:
        """Have a chunk with a wrong checksum sent again, but not for ever."""
        self._context.counters.add(Count.CORRUPT_CHUNKS)
        self._corrupt_chunks += 1
        if self._corrupt_chunks >= CORRUPT_CHUNKS:
            raise receive_errors.corrupted(chunk, self._context.fqcn)
        self.news.say_lost(link, chunk, LostReason.CORRUPT)
