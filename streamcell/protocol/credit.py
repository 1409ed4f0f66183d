"""How far a receiver lets its senders go, and out of which memory. Imports ``limits`` and ``frames`` only.

Three rules that cannot fight: a window bounds one stream, the budget bounds all windows together (a window grows only
by what the budget still has, and gives back what is above its fair share when others want it), and what is assembled
whole is admitted by :class:`Admission` before it gets a window at all. Initial credits are outside the budget: they
are what it costs to be reachable.
"""

from __future__ import annotations

from collections import OrderedDict

from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.frames import StreamKey


class WindowBudget:
    """Bytes that the windows of all streams, received or relayed, may take beyond their initial credit."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._free = capacity_bytes
        self._windows = 0
        self._short = False

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return self._free

    def take(self, size: int) -> int:
        """Take up to ``size`` bytes and return how many."""
        taken = min(size, self._free)
        self._free -= taken
        self._short = taken < size
        return taken

    def give_back(self, size: int) -> None:
        """Return bytes that were taken."""
        self._free += size

    def enter(self) -> None:
        """One window more shares the budget."""
        self._windows += 1

    def leave(self) -> None:
        """One window less does."""
        self._windows -= 1

    def excess(self, size: int) -> int:
        """Return how much of ``size`` bytes taken is above the fair share, while somebody wants more than there is."""
        return max(0, size - self._capacity // max(1, self._windows)) if self._short else 0


class Window:
    """The credit of one stream: what was consumed plus a size that doubles while it is what limits the stream.

    The sender is limited by the window when it was seen to use nearly all of it. So a window starts small, reaches
    the path's bandwidth times its delay in a few round trips, and stays small where the reader is the slow one: a slow
    reader keeps its window full, but consumes less than a window between two growths.
    """

    def __init__(self, budget: WindowBudget, max_bytes: int) -> None:
        self.size = INITIAL_CREDIT_BYTES
        self._budget = budget
        self._max_bytes = max_bytes
        self._grow_at = self.size
        self._consumed = 0
        self._closed = False
        budget.enter()

    def grow(self, consumed: int, received: int) -> None:
        """Double the size if a whole window was consumed since the last time, and the reader keeps up.

        Where others want memory a window above its fair share shrinks instead, by no more than was consumed, so that
        the credit that it has given never falls.
        """
        yielded = min(consumed - self._consumed, self._budget.excess(self.size - INITIAL_CREDIT_BYTES))
        self._consumed = consumed
        if yielded > 0:
            self.size -= yielded
            self._budget.give_back(yielded)
            return
        if consumed < self._grow_at or self.size >= self._max_bytes:
            return
        if received - consumed > self.size // 2:
            # What is unread may be a burst that has just come: a reader that keeps up is seen to in a moment.
            return
        taken = self._budget.take(min(self.size, self._max_bytes - self.size))
        if taken > 0:
            self._grow_at = consumed + self.size
            self.size += taken

    def start_at(self, offset: int) -> None:
        """Count consumption from ``offset``, where the stream begins here."""
        self._grow_at = offset + self.size

    def close(self) -> None:
        """Give the memory back; the window gives no more credit."""
        if self._closed:
            return
        self._closed = True
        self._budget.give_back(self.size - INITIAL_CREDIT_BYTES)
        self._budget.leave()
        self.size = INITIAL_CREDIT_BYTES


class Admission:
    """The memory for what is assembled whole, in order of arrival.

    The first in line may always go on when nothing else is admitted, so that a blob larger than the budget but within
    the blob limit is served alone. Of those whose size is not known the oldest may always go on, so that they cannot
    block each other half way.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._used = 0
        self._admitted: OrderedDict[StreamKey, int] = OrderedDict()
        self._unknown: OrderedDict[StreamKey, None] = OrderedDict()
        self._waiting: OrderedDict[StreamKey, int | None] = OrderedDict()

    def request(self, key: StreamKey, size: int | None) -> None:
        """Stand in line for ``size`` bytes (None: not known, memory is taken as it grows)."""
        self._waiting[key] = size

    def next_admitted(self) -> StreamKey | None:
        """Admit the first in line if there is room, and return its key."""
        for key, size in self._waiting.items():
            need = size or 0
            if self._admitted and self._used + need > self._capacity:
                return None
            del self._waiting[key]
            self._admitted[key] = need
            self._used += need
            if size is None:
                self._unknown[key] = None
            return key
        return None

    def grow(self, key: StreamKey, size: int) -> bool:
        """Return whether a stream of unknown size may have ``size`` bytes more, and count them if so."""
        oldest = next(iter(self._unknown), None)
        if self._used + size > self._capacity and key != oldest:
            return False
        self._admitted[key] += size
        self._used += size
        return True

    def release(self, key: StreamKey) -> None:
        """Give back what the stream holds, or its place in line."""
        self._waiting.pop(key, None)
        self._unknown.pop(key, None)
        self._used -= self._admitted.pop(key, 0)
