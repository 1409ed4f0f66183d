"""The memory for what is assembled whole: blobs, requests and replies.

What is declared is held from admission on, since all of it may come. Of those whose size is not known memory is taken
as they grow, and the oldest of them may always go on, so that they cannot block each other half way.
"""

from __future__ import annotations

from collections import OrderedDict

from streamcell.protocol.flow.shares import Line, Shares
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.frames import StreamKey


class Admission:
    """So much memory, for which origins wait in turns (``shares.py``).

    One that holds nothing may take one stream beyond the capacity, so that nobody waits for others to give back what
    they hold. All that is admitted together is at most the capacity and the largest stream, and the oldest of unknown
    size another one as large.

    Args:
        capacity_bytes: the memory.
        largest_bytes: no stream that is assembled is larger.
    """

    def __init__(self, capacity_bytes: int, largest_bytes: int) -> None:
        self._shares = Shares(capacity_bytes, largest_bytes)
        self._line: Line[StreamKey] = Line(self._shares)
        self._waiting: dict[StreamKey, tuple[Party, int | None]] = {}
        self._admitted: dict[StreamKey, tuple[Party, int]] = {}
        self._unknown: OrderedDict[StreamKey, None] = OrderedDict()

    @property
    def used_bytes(self) -> int:
        """What all that were admitted hold."""
        return self._shares.used

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def others_wait(self, party: Party) -> bool:
        """Return whether anybody but a party stands in line."""
        return self._line.has_others(party)

    def request(self, key: StreamKey, party: Party, size: int | None) -> bool:
        """Ask for ``size`` bytes (None: not known, memory is taken as it grows), and return whether they are there.

        If they are not, it stands in line.
        """
        if not self._line and self._admits(party, size or 0):
            self._admit(key, party, size)
            return True
        self._waiting[key] = party, size
        self._line.join(party, key)
        return False

    def next_admitted(self) -> StreamKey | None:
        """Admit the one whose turn it is, if there is room, and return its key."""
        party = self._line.next_party()
        if party is None:
            return None
        key = self._line.first_of(party)
        size = self._waiting[key][1]
        if not self._admits(party, size or 0):
            return None
        self._line.take(party)
        del self._waiting[key]
        self._admit(key, party, size)
        return key

    def grow(self, key: StreamKey, size: int, *, contested: bool) -> bool:
        """Return whether a stream of unknown size may have ``size`` bytes more, and count them if so.

        Args:
            key: which.
            size: how many.
            contested: others wait to grow, of another origin.
        """
        party, held = self._admitted[key]
        if key != next(iter(self._unknown), None):
            contested = contested or self._line.has_others(party)
            if size > self._shares.room(party, contested=contested):
                return False
        self._admitted[key] = party, held + size
        self._shares.take(party, size)
        return True

    def release(self, key: StreamKey) -> None:
        """Give back what the stream holds, or its place in line."""
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            self._line.leave(waiting[0], key)
        self._unknown.pop(key, None)
        party, held = self._admitted.pop(key, (None, 0))
        if party is not None:
            self._shares.give_back(party, held)

    def _admits(self, party: Party, size: int) -> bool:
        return self._shares.has_room(party, size) or self._shares.takes_first(party, size)

    def _admit(self, key: StreamKey, party: Party, size: int | None) -> None:
        if size is None:
            self._unknown[key] = None
        self._admitted[key] = party, size or 0
        self._shares.take(party, size or 0)
