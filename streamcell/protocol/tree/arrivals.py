"""How often a child's announcements are looked at: a whole tree of them at once, and then so many a second.

What is beyond waits here as a state, the last word of each name, and is not lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from streamcell.limits import ANNOUNCEMENTS_AT_ONCE, ANNOUNCEMENTS_PER_S
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.buckets import TokenBucket
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Announce, Withdraw

Arrival: TypeAlias = Announce | Withdraw

# How soon those that wait are looked at again: not for each of them alone.
_AGAIN_S = 0.05


class _Behind(Timed):
    """What a child has said of those behind it, and was not looked at yet."""

    def __init__(self, context: Context, link: Link, handle: Callable[[Link, Arrival, float], None]) -> None:
        super().__init__()
        self.waiting: dict[str, Arrival] = {}
        self._context = context
        self._link = link
        self._handle = handle
        self._bucket = TokenBucket(ANNOUNCEMENTS_PER_S, ANNOUNCEMENTS_AT_ONCE)

    def on_arrival(self, frame: Arrival, now: float) -> bool:
        """Look at a frame, now or later; returns False if even that is too much."""
        if not self.waiting and self._bucket.take(now):
            self._handle(self._link, frame, now)
            return True
        if frame.fqcn not in self.waiting and len(self.waiting) >= ANNOUNCEMENTS_AT_ONCE:
            return False
        self.waiting[frame.fqcn] = frame
        self._context.deadlines.schedule(self, now + _AGAIN_S)
        return True

    def handle_timer(self, now: float) -> None:
        """Look at those whose turn it is."""
        while self.waiting and self._bucket.take(now):
            self._handle(self._link, self.waiting.pop(next(iter(self.waiting))), now)
        if self.waiting:
            self._context.deadlines.schedule(self, now + _AGAIN_S)


class Arrivals:
    """What all children say of those behind them.

    :param handle: takes in what a child says, when it is its turn. May end the link.
    """

    def __init__(self, context: Context, handle: Callable[[Link, Arrival, float], None]) -> None:
        self._context = context
        self._handle = handle
        self._links: dict[Link, _Behind] = {}

    def on_arrival(self, link: Link, frame: Arrival, now: float) -> bool:
        """Look at what a child says, now or later; returns False if even that is too much."""
        behind = self._links.get(link)
        if behind is None:
            behind = self._links[link] = _Behind(self._context, link, self._handle)
        return behind.on_arrival(frame, now)

    def begin_anew(self, link: Link) -> None:
        """The neighbour announces everything anew: what waits is out of date. How much it has said still counts."""
        if link in self._links:
            self._links[link].waiting.clear()

    def forget(self, link: Link) -> None:
        """The link is down."""
        behind = self._links.pop(link, None)
        if behind is not None:
            behind.waiting.clear()
            self._context.deadlines.cancel(behind)
