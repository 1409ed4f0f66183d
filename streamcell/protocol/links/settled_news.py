"""Which streams of this cell are settled, and when their targets are told.

Each target is told of its own streams: whatever is no open stream to it is settled as far as it is concerned, so that
there are at most as many runs as there are open streams to it, whatever this cell sends to others. Some of it is said
in the first chunk of a stream and in Pings, all of it at every 256th end (:class:`TargetNews`).

It is said on the control lane only. What is settled must not overtake the Reset of a stream that is, or its target
would hear that it is over and not why; so nothing is said while anything else waits, or may still be on a lane that is
being left.

Of sealed streams a target believes only what is said of them under a seal: in the first chunk of another one, and at
every 256th end.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamcell.limits import SETTLED_RUNS, SETTLED_TARGETS, SETTLED_UNTOLD
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import NO_STREAM, IdRuns, Ping, ResumeQuery, StreamKey


class SettledNews:
    """What each target is told of the streams of this life that are settled.

    :ivar last_id: the highest id that was given to a stream. Ids rise, and begin at 1.
    """

    def __init__(self, context: Context) -> None:
        self.last_id = 0
        self._context = context
        self._targets: dict[str, TargetNews] = {}

    def begin(self, target: str, *, sealed: bool = False) -> int:
        """Return the id of a new stream, which is open from now on."""
        self.last_id += 1
        news = self._targets.get(target)
        if news is None:
            if len(self._targets) >= SETTLED_TARGETS:
                self._forget_one()
            news = self._targets[target] = TargetNews(self._context, self, target)
        news.ids[self.last_id] = None
        news.seals = news.seals or sealed
        return self.last_id

    def add(self, target: str, stream_id: int, link: Link | None) -> None:
        """A stream is settled, which went by ``link``."""
        self._targets[target].on_end(stream_id, link)

    def telling(self, link: Link, ping: Ping) -> Ping:
        """Return a Ping on the control lane so that it says what is settled, if that may be said now."""
        return Ping(ping.nonce, *self.take(link, link.fqcn))

    def take(self, link: Link, target: str) -> tuple[int, IdRuns]:
        """Return what a frame on the control lane is to say: the floor and runs above it, or 0 for nothing."""
        news = self._targets.get(target)
        if news is None or link.outbox or link.drains():
            return 0, ()
        return news.some()

    def _forget_one(self) -> None:
        """Forget the target that was sent to first; or take it for the last, if anything is under way to it.

        What it remembers of the few that have ended since it was told last, it remembers in vain.
        """
        target, news = next(iter(self._targets.items()))
        del self._targets[target]
        if news.ids:
            self._targets[target] = news


class TargetNews:
    """The streams to one target: which are open, and how many have ended since it was told.

    It stands in the outbox of a link as a stream does that has something to say: behind all that was posted before.

    :ivar key: by which an outbox knows it.
    :ivar ids: the ids of the open ones, in the order in which they were opened: they rise.
    :ivar seals: whether any of its streams was sealed.
    """

    __slots__ = ("_context", "_link", "_news", "_pieces", "_target", "_untold", "ids", "key", "seals")

    def __init__(self, context: Context, news: SettledNews, target: str) -> None:
        self.key = StreamKey(target, 0, NO_STREAM)
        self.ids: dict[int, None] = {}
        self.seals = False
        self._context = context
        self._news = news
        self._target = target
        self._link: Link | None = None
        self._untold = 0
        # The runs above the floor as they were last told, as many together as a frame may have.
        self._pieces: list[IdRuns] = [()]

    def on_end(self, stream_id: int, link: Link | None) -> None:
        """A stream has ended, which went by ``link``. After many the target is told, when there is a way."""
        del self.ids[stream_id]
        self._untold += 1
        if self._untold >= SETTLED_UNTOLD and link is not None:
            self._link = link
            link.outbox.note(self)
            # On a link that carries bulk only nothing else wakes the writer of control frames.
            link.wake_control()

    def some(self) -> tuple[int, IdRuns]:
        """Return the floor, and the runs above if few streams are open; else, in turn, some that were told before."""
        if len(self.ids) <= SETTLED_RUNS:
            return self._floor(), self._runs()
        self._pieces.append(self._pieces.pop(0))
        return self._floor(), self._pieces[-1]

    def take_control_frames(self, lane_id: int, now: float) -> Sequence[ResumeQuery | Ping]:
        """Tell the target all: in signs of life, which concern no stream and find their way to any cell.

        A neighbour of an earlier version takes no notice of what these say. It is told some of it by a Ping.
        """
        link = self._link
        if link is None or link.drains():
            return ()
        self._untold = 0
        context, floor, runs = self._context, self._floor(), self._runs()
        self._pieces = [runs[first : first + SETTLED_RUNS] for first in range(0, len(runs), SETTLED_RUNS)] or [()]
        frames: list[ResumeQuery | Ping] = [
            ResumeQuery.telling_settled(context.fqcn, context.incarnation, self._target, floor, piece, sealed=sealed)
            for sealed in ((False, True) if self.seals else (False,))
            for piece in self._pieces
        ]
        if link.fqcn == self._target:
            frames.append(Ping(context.random_bits(64), *self.some()))
        return frames

    def _floor(self) -> int:
        return next(iter(self.ids), self._news.last_id + 1)

    def _runs(self) -> IdRuns:
        """Return the runs of ids that lie between two open ones, or above all of them."""
        runs = []
        before = None
        for open_id in (*self.ids, self._news.last_id + 1):
            if before is not None and before + 1 < open_id:
                runs.append((before + 1, open_id - 1))
            before = open_id
        return tuple(runs)
