"""How much bulk a lane takes that carries control, too.

What counts is what the neighbour may not have read yet, whoever the bulk is for: its way beyond the neighbour, and what
becomes of its streams, are no concern of the lane. Frames of a lane arrive in order and are read without waiting for
anything, so the Pong for a Ping behind the bulk says that all of it has been read.
"""

from __future__ import annotations

from collections import deque

from streamcell.limits import SHARED_LANE_IN_FLIGHT_BYTES

# A Ping follows when this much has gone since the last: the rest of the room lasts until its Pong comes.
_MARK_BYTES = SHARED_LANE_IN_FLIGHT_BYTES // 4


class SharedRoom:
    """The room for bulk on one lane."""

    def __init__(self) -> None:
        self._sent = 0
        self._marked = 0
        self._read = 0
        self._marks: deque[tuple[int, int]] = deque()

    @property
    def free_bytes(self) -> int:
        """How much bulk may go now."""
        return max(0, SHARED_LANE_IN_FLIGHT_BYTES - (self._sent - self._read))

    @property
    def wants_mark(self) -> bool:
        """Whether a Ping is to follow what was put on the lane."""
        return self._sent - self._marked >= _MARK_BYTES

    def take(self, size: int) -> None:
        """Count bulk that was put on the lane."""
        self._sent += size

    def mark(self, nonce: int) -> None:
        """Take note that a Ping follows."""
        self._marked = self._sent
        self._marks.append((nonce, self._sent))

    def note_pong(self, nonce: int) -> bool:
        """Give back what was sent before the Ping that this answers; return whether there was one."""
        for marked, sent in self._marks:
            if marked == nonce:
                self._read = sent
                while self._marks.popleft()[0] != nonce:
                    pass
                return True
        return False
