"""Waiting for memory that the system refuses for a moment.

What is put together whole (blobs, requests, replies) is accepted when a buffer of its size can be had. If there is none
then, or later when it is needed, it is tried again and again; in the end the sender is told.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

from streamcell.errors import StreamError
from streamcell.runtime.context import CellContext
from streamcell.runtime.receiving.assembly import no_memory_error

# Both are called on the engine or in the caller's thread, with the time.
Attempt: TypeAlias = Callable[[float], None]
Refuse: TypeAlias = Callable[[StreamError, float], None]

# How long a transfer waits for memory before its sender is told.
PATIENCE_S = 10.0


class MemoryWait:
    """The wait of one transfer. Used by one thread at a time.

    Args:
        context: of the cell that receives it.
        size: what is needed; None: not known before it has arrived.
        what: the transfer, for the log.
    """

    def __init__(self, context: CellContext, size: int | None, what: str) -> None:
        self._context = context
        self._size = size
        self._what = what
        self._until: float | None = None

    def admit(self, accept: Attempt, refuse: Refuse, now: float) -> None:
        """Call ``accept`` when there is a buffer of the size, which is mostly at once, or ``refuse``. On the engine."""
        if self._size is None or self._context.buffers.can_lend(self._size):
            self.end()
            accept(now)
        else:
            self.again(functools.partial(self.admit, accept, refuse), refuse, now)

    def again(self, attempt: Attempt, refuse: Refuse, now: float) -> None:
        """Have ``attempt`` called on the engine in a moment, or call ``refuse`` now if that took long enough."""
        context = self._context
        if self._until is None:
            self._until = now + PATIENCE_S
            context.stream_log.warning("< %s waits for memory: the system refuses it", self._what)
        if now >= self._until:
            refuse(no_memory_error(context.fqcn, self._size), now)
        else:
            context.later(functools.partial(context.post, attempt))

    def end(self) -> None:
        """Take note that there is memory."""
        if self._until is not None:
            self._until = None
            self._context.stream_log.info("< %s has the memory that it waited for", self._what)
