"""What a target remembers of one life of an origin, and what it answers from memory. Imports L0 and ``frames``."""

from __future__ import annotations

import dataclasses

from streamcell.errors import ErrorCode, Fault
from streamcell.limits import HOPS
from streamcell.protocol.frames import (
    Ack,
    Chunk,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from streamcell.protocol.receiver import StreamReceiver
from streamcell.protocol.settled import SettledIds


@dataclasses.dataclass(slots=True)
class OriginLife:
    """The streams of one incarnation of an origin: open, ended with a last word, or settled (DESIGN: Once).

    :ivar asked: the attempts that were asked for of streams that were not known then. What an earlier attempt has left
        on a lane that broke may still come, and is not to be taken in: the origin was told that nothing had come.
    """

    incarnation: int
    receivers: dict[int, StreamReceiver] = dataclasses.field(default_factory=dict)
    ended: dict[int, Ack | Reset] = dataclasses.field(default_factory=dict)
    settled: SettledIds = dataclasses.field(default_factory=SettledIds)
    asked: dict[int, int] = dataclasses.field(default_factory=dict)

    def known_ids(self, first: int, last: int) -> list[int]:
        """Return the ids from ``first`` to ``last`` that may be remembered here, at the cost of the fewer of both."""
        if last - first < len(self.ended) + len(self.receivers) + len(self.asked):
            return list(range(first, last + 1))
        known = (*self.ended, *self.receivers, *self.asked)
        return [stream_id for stream_id in known if first <= stream_id <= last]

    def knows(self, stream_id: int) -> bool:
        """Return whether the stream was open here before and is not any more."""
        return stream_id in self.ended or stream_id in self.settled

    def note_asked(self, query: ResumeQuery) -> None:
        """Take note of a query about a stream that is not open here."""
        if not query.probe:
            self.asked[query.key.stream_id] = query.attempt

    def is_late(self, chunk: Chunk) -> bool:
        """Return whether a chunk of a stream that is not open here belongs to an attempt that is over."""
        return chunk.attempt < self.asked.get(chunk.key.stream_id, 0)


class Registrar:
    """Answers for streams that are not open here.

    :param fqcn: the target's name.
    :param incarnation: the target's life.
    """

    def __init__(self, fqcn: str, incarnation: int) -> None:
        self._fqcn = fqcn
        self._incarnation = incarnation

    def answer(
        self, life: OriginLife, key: StreamKey, attempt: int, query: ResumeQuery | None
    ) -> Ack | Reset | ResumeReply | Lost:
        """Return the stream's last word, or that it is stale, or that it is not known (to ``query``, or to a chunk)."""
        last_word = life.ended.get(key.stream_id)
        if last_word is not None:
            return dataclasses.replace(last_word, attempt=attempt)
        if key.stream_id in life.settled:
            sentence = f"stream {key.stream_id} from {key.origin} was settled before"
            return Reset(key, self._fqcn, attempt, True, ErrorCode.STALE, Fault.ORIGIN, sentence, HOPS)
        if query is not None:
            return self.reply(query, 0, unknown=True)
        return Lost(key, self._fqcn, attempt, LostReason.UNKNOWN_HERE, self._fqcn, HOPS)

    def reply(self, query: ResumeQuery, offset: int, *, unknown: bool) -> ResumeReply:
        """Return the answer to a query."""
        return ResumeReply(
            query.key,
            query.target,
            query.attempt,
            self._incarnation,
            unknown,
            offset,
            HOPS,
            probe=query.probe,
        )
