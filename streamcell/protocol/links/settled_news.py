"""Which streams of this cell are settled, and when a neighbour is told.

It is said on the control lane only: in the first chunk of a stream, and in Pings. What is settled must not overtake the
Reset of a stream that is, or its target would hear that it is over and not why; so nothing is said while anything else
waits, or may still be on a lane that is being left.
"""

from __future__ import annotations

from streamcell.limits import SETTLED_UNTOLD
from streamcell.protocol.flow.settled import SettledIds
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import IdRuns, Ping


class SettledNews:
    """The settled ids of this life. ``Link.settled_told`` is how many of them the neighbour was told of."""

    def __init__(self) -> None:
        self._ids = SettledIds()
        self._count = 0

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._ids

    def add(self, stream_id: int) -> None:
        """One stream more is settled."""
        self._ids.add(stream_id, stream_id)
        self._count += 1

    def is_owed(self, link: Link) -> bool:
        """Return whether so many streams were settled since the neighbour was told that a Ping is worth it."""
        return self._count - link.settled_told >= SETTLED_UNTOLD and _may_tell(link)

    def telling(self, link: Link, ping: Ping) -> Ping:
        """Return a Ping on the control lane so that it says what is settled, if that may be said now."""
        return Ping(ping.nonce, *self.take(link))

    def take(self, link: Link) -> tuple[int, IdRuns]:
        """Return what a frame on the control lane is to say: the floor and runs above it, or 0 for nothing."""
        if not _may_tell(link):
            return 0, ()
        link.settled_told = self._count
        return self._ids.below, self._ids.runs_to_send()


def _may_tell(link: Link) -> bool:
    return not link.outbox and not link.drains()
