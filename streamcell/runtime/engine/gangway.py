"""How many cells of a process are connecting at a time.

A process may have hundreds of cells, whose links all break at once when a hub goes. If all of them dialled at the same
time, each would get so little of the processor that none was connected within its limit; and the work would be thrown
away. So they go one behind the other, and the limit of each counts from when it really dials.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

# How many connect at a time.
PLACES = 16
# How long one may keep others waiting: nothing answers at the address that it dials.
KEPT_S = 1.5


class OnHeld(Protocol):
    """Who wants to know that its dial is held back, and then that it begins."""

    def __call__(self, *, held: bool) -> None:
        """Take note of it."""


class _Place:
    """A place, until it is given back."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._kept = True

    def give_back(self) -> None:
        if self._kept:
            self._kept = False
            self._free.release()


class Gangway:
    """One for each process. On the engine's loop."""

    def __init__(self, places: int = PLACES, kept_s: float = KEPT_S) -> None:
        self._free = asyncio.Semaphore(places)
        self._kept_s = kept_s

    @contextlib.asynccontextmanager
    async def on_it(self, on_held: OnHeld) -> AsyncIterator[None]:
        """Be one of those that connect; wait for a place if there is none, of which ``on_held`` is told."""
        held = self._free.locked()
        if held:
            on_held(held=True)
        await self._free.acquire()
        place = _Place(self._free)
        late = asyncio.get_running_loop().call_later(self._kept_s, place.give_back)
        try:
            if held:
                on_held(held=False)
            yield
        finally:
            late.cancel()
            place.give_back()
