"""Deadlines of many owners, kept lazily. Imports the standard library only.

A stream's deadline moves with every frame. Moving it in a heap each time would cost more than handling the frame, so
an owner that is heard of does nothing here: when its old deadline fires it looks at the time again and, if there is
some left, schedules itself anew. Only an *earlier* deadline is pushed at once.
"""

from __future__ import annotations

import heapq
from typing import Protocol


class Timed(Protocol):
    """Something with a deadline."""

    timer_at: float | None

    def handle_timer(self, now: float) -> None:
        """Do what is due, and schedule again if anything is left to wait for."""
        ...


class Deadlines:
    """A heap of deadlines, each owner with at most one that counts."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0

    def schedule(self, owner: Timed, at: float) -> None:
        """See to it that ``owner.handle_timer`` is called at ``at`` or before."""
        if owner.timer_at is not None and owner.timer_at <= at:
            return
        owner.timer_at = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, owner))

    def cancel(self, owner: Timed) -> None:
        """Forget the deadline of ``owner``."""
        owner.timer_at = None

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
            owner.timer_at = None
            owner.handle_timer(now)
