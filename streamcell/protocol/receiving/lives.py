"""What a target remembers of one life of an origin, and what it answers from memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeAlias

from streamcell.errors import ErrorCode, Fault, StreamError
from streamcell.limits import (
    IDLE_RESERVATION_S,
    MOST_IDLE_RESERVATION_S,
    PAST_LIVES,
    REMEMBERED_S,
    REMEMBERED_STREAMS,
    REQUESTS_IN_EXCESS,
    REQUESTS_OF_ORIGIN,
    SETTLED_RUNS_KEPT,
    STREAMS_IN_EXCESS,
    STREAMS_OF_ORIGIN,
)
from streamcell.protocol.flow.settled import SettledIds
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    IdRuns,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
)

# Found once: a member of an enumeration is found slowly before Python 3.12.
_REQUEST, _REPLY = StreamKind.REQUEST, StreamKind.REPLY
_MOST_STREAMS = STREAMS_OF_ORIGIN + STREAMS_IN_EXCESS
_MOST_REQUESTS = REQUESTS_OF_ORIGIN + REQUESTS_IN_EXCESS
# An origin, and whether it is about its sealed streams or about the others.
Who: TypeAlias = tuple[str, bool]
# Lives of one origin that are remembered when they are over.
_PAST_LIVES_OF_ONE = 16


@dataclasses.dataclass(slots=True)
class OriginLife:
    """The streams of one incarnation of an origin: open, ended with a last word, or settled (DESIGN: Once).

    :ivar asked: the attempts that were asked for of streams that were not known then. What an earlier attempt has left
        on a lane that broke may still come, and is not to be taken in: the origin was told that nothing had come.
    :ivar answering: the requests that the application has, and of which the reply is not settled.
    :ivar patience_s: how long what has memory may stand still that others wait for.
    :ivar full_since: since when there has been no room to remember more; None while there is.
    :ivar heard_at: when a stream of it was heard of that was not open here.
    """

    incarnation: int
    receivers: dict[int, StreamReceiver] = dataclasses.field(default_factory=dict)
    ended: dict[int, Ack | Reset] = dataclasses.field(default_factory=dict)
    settled: SettledIds = dataclasses.field(default_factory=SettledIds)
    asked: dict[int, int] = dataclasses.field(default_factory=dict)
    answering: dict[int, None] = dataclasses.field(default_factory=dict)
    requests: int = 0
    replies: int = 0
    patience_s: float = IDLE_RESERVATION_S
    full_since: float | None = None
    heard_at: float = 0.0

    def has_room(self, now: float) -> bool:
        """Return whether more may be remembered of this life, whose origin is to say what is settled.

        Of one that does not say so for long what was said last is forgotten: it has asked about what it missed by then.
        """
        self.heard_at = now
        if len(self.ended) + len(self.asked) < REMEMBERED_STREAMS and self.settled.run_count < SETTLED_RUNS_KEPT:
            self.full_since = None
            return True
        if self.full_since is None:
            self.full_since = now
        elif now >= self.full_since + REMEMBERED_S:
            self.full_since = None
            self._forget_last_words()
        return False

    def _forget_last_words(self) -> None:
        """Count what has ended as settled, as far as that may be kept, and take nothing for late any more."""
        self.asked.clear()
        for stream_id in sorted(self.ended):
            if self.settled.run_count < SETTLED_RUNS_KEPT:
                self.settled.add(stream_id, stream_id)
                del self.ended[stream_id]

    def settle(self, below: int, runs: IdRuns) -> Iterator[int]:
        """Forget what the origin has settled; yield the ids that were not settled before, and may have a receiver."""
        fresh = self.settled.add_below(below)
        for first, last in runs:
            if self.settled.run_count < SETTLED_RUNS_KEPT:
                fresh += self.settled.add(first, last)
        for first, last in fresh:
            for stream_id in self._known_ids(first, last):
                self.ended.pop(stream_id, None)
                self.asked.pop(stream_id, None)
                yield stream_id

    def _known_ids(self, first: int, last: int) -> list[int]:
        """Return the ids from ``first`` to ``last`` that may be remembered here, at the cost of the fewer of both."""
        if last - first < len(self.ended) + len(self.receivers) + len(self.asked):
            return list(range(first, last + 1))
        known = (*self.ended, *self.receivers, *self.asked)
        return [stream_id for stream_id in known if first <= stream_id <= last]

    def first_unseen_id(self) -> int:
        """Return the lowest id above all that were heard of: ids rise, so what follows has never been here."""
        return max(self.settled.end, *self.ended, *self.receivers, *self.asked, 0) + 1

    def be_patient(self) -> None:
        """What has memory stood still: it may be slow, and never get through if it has to begin again each time."""
        self.patience_s = min(2 * self.patience_s, MOST_IDLE_RESERVATION_S)

    def may_open(self, kind: StreamKind) -> bool:
        """Return whether a stream more of a kind may be open. A request counts until its reply is settled."""
        if kind is _REQUEST:
            return self.requests + len(self.answering) < _MOST_REQUESTS
        if kind is _REPLY:
            return self.replies < _MOST_REQUESTS
        return self.has_slot()

    def has_slot(self) -> bool:
        """Return whether a stream or blob more may be open."""
        return len(self.receivers) - self.requests - self.replies < _MOST_STREAMS

    def on_stream_begun(self, stream_id: int, receiver: StreamReceiver) -> None:
        """A stream is open from now on."""
        self.receivers[stream_id] = receiver
        self._count(receiver, 1)

    def _count(self, receiver: StreamReceiver, by: int) -> None:
        kind = receiver.description.kind
        if kind is _REQUEST:
            self.requests += by
        elif kind is _REPLY:
            self.replies += by

    def on_stream_ended(self, stream_id: int, last_word: Ack | Reset | None) -> None:
        """A stream is not open any more. The first last word about it is kept, until the origin has settled it."""
        receiver = self.receivers.pop(stream_id, None)
        if receiver is not None:
            self._count(receiver, -1)
            description = receiver.description
            if description.kind is _REQUEST and not description.no_reply and isinstance(last_word, Ack):
                self.answering[stream_id] = None
        if last_word is not None and stream_id not in self.settled:
            self.ended.setdefault(stream_id, last_word)
            self.asked.pop(stream_id, None)

    def note_asked(self, query: ResumeQuery) -> None:
        """Take note of a query about a stream that is not open here."""
        if not query.probe:
            self.asked[query.key.stream_id] = query.attempt

    def is_outdated(self, reply: ResumeReply) -> bool:
        """Return whether the origin has gone on since it was told this, so that it need not be told again."""
        stream_id = reply.key.stream_id
        receiver = self.receivers.get(stream_id)
        if receiver is not None:
            return reply.unknown or reply.attempt < receiver.attempt
        later = reply.attempt < self.asked.get(stream_id, 0)
        return later or stream_id in self.ended or stream_id in self.settled

    def has_ended(self, stream_id: int) -> bool:
        """Return whether there is a last word about a stream, or its origin has settled it."""
        return stream_id in self.ended or stream_id in self.settled

    def is_late(self, chunk: Chunk) -> bool:
        """Return whether a chunk of a stream that is not open here belongs to an attempt that is over."""
        return chunk.attempt < self.asked.get(chunk.key.stream_id, 0)


class PastLives:
    """How far the lives of origins had got when they were over, so that nothing is taken in twice if one comes back.

    It does when two cells have a name in turn. Of too many the origin goes first that was heard of last long ago.
    """

    def __init__(self) -> None:
        self._unseen: dict[Who, dict[int, int]] = {}
        self._count = 0

    def bury(self, who: Who, life: OriginLife) -> None:
        """Keep the least of a life that is over."""
        unseen = self._unseen.pop(who, {})
        self._unseen[who] = unseen
        unseen[life.incarnation] = life.first_unseen_id()
        self._count += 1
        if len(unseen) > _PAST_LIVES_OF_ONE:
            self._take_oldest(unseen)
        while self._count > PAST_LIVES:
            oldest, unseen = next(iter(self._unseen.items()))
            self._take_oldest(unseen)
            if not unseen:
                del self._unseen[oldest]

    def begin(self, who: Who, incarnation: int) -> OriginLife:
        """Return a life of which nothing is open. All that was heard of in it before counts as settled."""
        life = OriginLife(incarnation)
        unseen = self._unseen.get(who, {})
        if incarnation in unseen:
            self._count -= 1
            life.settled.add_below(unseen.pop(incarnation))
            if not unseen:
                del self._unseen[who]
        return life

    def _take_oldest(self, unseen: dict[int, int]) -> None:
        del unseen[next(iter(unseen))]
        self._count -= 1


class Registrar:
    """Answers for streams that are not open here.

    :param fqcn: the target's name.
    :param incarnation: the target's life.
    """

    def __init__(self, fqcn: str, incarnation: int) -> None:
        self._fqcn = fqcn
        self._incarnation = incarnation

    def answer_query(self, life: OriginLife, query: ResumeQuery) -> Ack | Reset | ResumeReply:
        """Return the stream's last word, or that it is stale, or that it is not known."""
        return self._last_word(life, query) or ResumeReply.to(query, self._incarnation, 0, unknown=True)

    def answer_chunk(self, life: OriginLife, chunk: Chunk) -> Ack | Reset | Lost | None:
        """Return the answer to a chunk that does not begin a stream here, or None to one that does."""
        reason = self._fault_in_beginning(chunk)
        last_word = self._last_word(life, chunk)
        if last_word is not None or reason is None:
            return last_word
        return Lost.by_target(chunk, reason)

    def _last_word(self, life: OriginLife, frame: Chunk | ResumeQuery) -> Ack | Reset | None:
        """Return what was said last of a stream, under the seal of what asks for it."""
        key, attempt = frame.key, frame.attempt
        seal = None if frame.seal is None else Seal(frame.seal.session_id)
        last_word = life.ended.get(key.stream_id)
        if last_word is not None:
            return dataclasses.replace(last_word, attempt=attempt, seal=seal)
        if key.stream_id not in life.settled:
            return None
        settled = f"stream {key.stream_id} from {key.origin} was settled before"
        return Reset.by_target(key, self._fqcn, attempt, StreamError(settled, ErrorCode.STALE, Fault.ORIGIN), seal)

    def _fault_in_beginning(self, chunk: Chunk) -> LostReason | None:
        if chunk.is_for_another_life(self._incarnation):
            # It may have been on the way for long: another life may have got all of it, by another way.
            return LostReason.OTHER_LIFE
        return LostReason.UNKNOWN_HERE if chunk.open is None or chunk.offset > 0 else None
