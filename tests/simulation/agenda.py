"""Virtual time: what is to happen, in the order in which it happens."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

# Far from 0, so that a time that was forgotten to be set stands out.
START_S = 1000.0
# What happens in a virtual second of a busy network, many times over: cells that never come to rest are caught.
_MOST_ACTIONS_PER_RUN = 400_000


class RestlessError(AssertionError):
    """So much happens that it will never end."""


class Agenda:
    """Actions with their times. Those of one time happen in the order in which they were added."""

    def __init__(self) -> None:
        self.now = START_S
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._added = 0
        # What is to happen now, behind that of the heap: it was added when its time had come.
        self._at_once: deque[Callable[[], None]] = deque()

    def add(self, at: float, action: Callable[[], None]) -> None:
        """Let ``action`` happen at ``at``, or now if that is over."""
        if at <= self.now:
            self._at_once.append(action)
            return
        self._added += 1
        heapq.heappush(self._heap, (at, self._added, action))

    def run_until(self, end: float, done: Callable[[], bool] | None = None) -> None:
        """Let everything happen up to and including ``end``, or until ``done`` holds."""
        heap, at_once = self._heap, self._at_once
        for _ in range(_MOST_ACTIONS_PER_RUN):
            if heap and heap[0][0] <= self.now:
                action = heapq.heappop(heap)[2]
            elif at_once:
                action = at_once.popleft()
            elif heap and heap[0][0] <= end:
                self.now, _, action = heapq.heappop(heap)
            else:
                self.now = max(self.now, end)
                return
            action()
            if done is not None and done():
                return
        raise RestlessError(f"{_MOST_ACTIONS_PER_RUN} things happened before {end:.3f}: the cells never come to rest")
