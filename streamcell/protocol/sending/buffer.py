"""The bytes that an origin may have to send, or send again."""

from __future__ import annotations

import bisect

from streamcell.limits import COALESCE_BYTES
from streamcell.protocol.wire.frames import Payload

# Dropped pieces are removed from the lists when this many have gathered, so that dropping stays cheap.
_COMPACT_PIECES = 64


class SendBuffer:
    """The pieces of a stream between ``start`` (dropped below) and ``end`` (supplied so far).

    The bound is given by the owner: it asks its source for more only while there is room.
    """

    __slots__ = (
        "_cursor",
        "_first",
        "_offsets",
        "_pieces",
        "end",
        "start",
    )

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._pieces: list[Payload | None] = []
        self._offsets: list[int] = []
        self._first = 0
        self._cursor = 0

    def append(self, piece: Payload) -> None:
        """Add bytes at the end."""
        if len(piece) == 0:
            return
        self._offsets.append(self.end)
        self._pieces.append(piece)
        self.end += len(piece)

    def drop_below(self, offset: int) -> None:
        """Forget whole pieces that lie below ``offset``."""
        while self._first < len(self._pieces):
            piece_end = self._offsets[self._first + 1] if self._first + 1 < len(self._offsets) else self.end
            if piece_end > offset:
                break
            self._pieces[self._first] = None
            self._first += 1
            self.start = piece_end
        if self._first >= _COMPACT_PIECES:
            del self._pieces[: self._first]
            del self._offsets[: self._first]
            self._cursor = max(0, self._cursor - self._first)
            self._first = 0

    def clear(self) -> None:
        """Forget everything; nothing will be sent again."""
        self.restart(self.end)

    def restart(self, offset: int) -> None:
        """Forget everything; what is appended next begins at ``offset``."""
        self._pieces.clear()
        self._offsets.clear()
        self._first = self._cursor = 0
        self.start = self.end = offset

    def cut(self, offset: int, limit: int) -> Payload:
        """Return at least one and at most ``limit`` bytes from ``offset``, which lies between start and end.

        Large pieces are returned as views; small ones that follow each other are joined, up to 64 KiB.
        """
        index = self._find(offset)
        piece = self._piece(index)
        within = offset - self._offsets[index]
        length = len(piece) - within
        most = min(limit, COALESCE_BYTES)
        if length >= most or offset + length == self.end:
            if within == 0 and length <= limit:
                return piece
            return memoryview(piece)[within : within + min(length, limit)]
        joined: list[Payload] = [memoryview(piece)[within:]]
        total = length
        while total < most and index + 1 < len(self._pieces):
            index += 1
            piece = self._piece(index)
            joined.append(piece if total + len(piece) <= most else memoryview(piece)[: most - total])
            total += len(joined[-1])
        return b"".join(joined)

    def _piece(self, index: int) -> Payload:
        piece = self._pieces[index]
        if piece is None:
            raise LookupError(f"piece {index} was dropped")
        return piece

    def _find(self, offset: int) -> int:
        # Nearly always the piece of the last cut or the one after it.
        for index in (self._cursor, self._cursor + 1):
            if index < len(self._offsets) and self._offsets[index] <= offset:
                following = self._offsets[index + 1] if index + 1 < len(self._offsets) else self.end
                if offset < following:
                    self._cursor = index
                    return index
        self._cursor = bisect.bisect_right(self._offsets, offset) - 1
        return self._cursor
