"""What a relayed stream holds: the chunks that have come and wait to go on, in the order of their sequence."""

from __future__ import annotations

import heapq

from streamcell.protocol.wire.frames import Chunk


class Held:
    """Chunks of one attempt.

    :ivar front: the chunk that is to go on next, or None while nothing is held.
    :ivar bytes: the payload of all that are held.
    :ivar arrived: the end of the furthest chunk that has come, held or gone on.
    """

    __slots__ = ("_arrivals", "_waiting", "arrived", "bytes", "front")

    def __init__(self, begin_offset: int = 0) -> None:
        self.front: Chunk | None = None
        self.bytes = 0
        self.arrived = begin_offset
        self._waiting: list[tuple[int, int, Chunk]] = []
        # Chunks that came twice have the same sequence: then the one that came first goes first.
        self._arrivals = 0

    def push(self, chunk: Chunk) -> int:
        """Keep a chunk until its turn; return how many are held."""
        size = len(chunk.payload)
        self._arrivals += 1
        heapq.heappush(self._waiting, (chunk.sequence, self._arrivals, chunk))
        self.front = self._waiting[0][2]
        self.bytes += size
        self.arrived = max(self.arrived, chunk.offset + size)
        return len(self._waiting)

    def pop(self) -> Chunk:
        """Return the chunk in front, which is not held any more."""
        chunk = heapq.heappop(self._waiting)[2]
        self.front = self._waiting[0][2] if self._waiting else None
        self.bytes -= len(chunk.payload)
        return chunk
