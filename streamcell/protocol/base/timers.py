"""Deadlines of many owners, kept lazily.

A stream's deadline moves with every frame. Moving it in a heap each time would cost more than handling the frame, so
an owner that is heard of does nothing here: when its old deadline fires it looks at the time again and, if there is
some left, schedules itself anew. Only an *earlier* deadline is pushed at once. Entries that no longer count are swept
out when they are the most, so that many short streams with long timeouts do not pile up until those are over.
"""

from __future__ import annotations

import abc
import heapq

# Entries that may lie about without a sweep.
_STALE_ENTRIES = 64


class Timed(abc.ABC):
    """Something with a deadline: a base class, so that the deadline belongs to :class:`Deadlines` alone.

    :ivar timer_at: when it is called at the latest, or None. Only :class:`Deadlines` sets it.
    """

    __slots__ = ("timer_at",)

    def __init__(self) -> None:
        self.timer_at: float | None = None

    @abc.abstractmethod
    def handle_timer(self, now: float) -> None:
        """Do what is due, and schedule again if anything is left to wait for."""


class Deadlines:
    """A heap of deadlines, each owner with at most one that counts."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0
        self._owners = 0

    def schedule(self, owner: Timed, at: float) -> None:
        """See to it that ``owner.handle_timer`` is called at ``at`` or before."""
        if owner.timer_at is not None and owner.timer_at <= at:
            return
        if owner.timer_at is None:
            self._owners += 1
        owner.timer_at = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, owner))
        if len(self._heap) > 2 * self._owners + _STALE_ENTRIES:
            self._sweep()

    def cancel(self, owner: Timed) -> None:
        """Forget the deadline of ``owner``."""
        if owner.timer_at is not None:
            owner.timer_at = None
            self._owners -= 1
            if len(self._heap) > 2 * self._owners + _STALE_ENTRIES:
                self._sweep()

    def next_deadline(self) -> float | None:
        """Return when ``expire`` is to be called next, or None."""
        while self._heap:
            at, _, owner = self._heap[0]
            if owner.timer_at == at:
                return at
            heapq.heappop(self._heap)
        return None

    def expire(self, now: float) -> None:
        """Call every owner whose deadline has come."""
        while True:
            at = self.next_deadline()
            if at is None or at > now:
                return
            owner = heapq.heappop(self._heap)[2]
            self.cancel(owner)
            owner.handle_timer(now)

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].timer_at == entry[0]]
        heapq.heapify(self._heap)
