"""What a relayed stream holds: the chunks that have come and wait to go on, in the order of their sequence."""

from __future__ import annotations

import heapq

from streamcell.protocol.wire.frames import Chunk


class Held:
    """Chunks of one attempt.

    :ivar bytes: their payload.
    :ivar arrived: the end of the furthest chunk that has come, held or gone on.
    """

    __slots__ = ("_arrivals", "_waiting", "arrived", "bytes")

    def __init__(self, begin_offset: int = 0) -> None:
        self.bytes = 0
        self.arrived = begin_offset
        self._waiting: list[tuple[int, int, Chunk]] = []
        # Chunks that came twice have the same sequence: then the one that came first goes first.
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, chunk: Chunk) -> None:
        """Keep a chunk until its turn."""
        size = len(chunk.payload)
        self._arrivals += 1
        heapq.heappush(self._waiting, (chunk.sequence, self._arrivals, chunk))
        self.bytes += size
        self.arrived = max(self.arrived, chunk.offset + size)

    def can_go(self, allowed: int) -> bool:
        """Return whether the next chunk's first byte lies below ``allowed``, or it has none."""
        if not self._waiting:
            return False
        chunk = self._waiting[0][2]
        return chunk.offset < allowed or len(chunk.payload) == 0

    def pop(self) -> Chunk:
        """Return the next chunk, which is not held any more."""
        chunk = heapq.heappop(self._waiting)[2]
        self.bytes -= len(chunk.payload)
        return chunk
