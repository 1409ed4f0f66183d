"""Saying that the parent is out of reach while a command waits for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from streamcell.core_cell import CoreCell

# How often the cell is asked.
_LOOK_S = 0.5
# A break that heals sooner is not worth a word.
_SHORT_BREAK_S = 1.5
# A first link that takes no longer is not, either.
_SOON_S = 3.0


@contextlib.contextmanager
def first_link(urls: Iterable[str], say: Callable[[str], None]) -> Iterator[None]:
    """Say once, while this is entered to wait for the first link to the parent, that it is not there soon.

    Args:
        urls: where the parent listens; none: there is to be none.
        say: gets a sentence, in a thread of its own.
    """
    where = " or ".join(urls)
    timer = threading.Timer(_SOON_S, say, (f"no link to {where} yet; waiting",))
    timer.daemon = True
    if where:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class ParentWatch:
    """Says once when the parent goes out of reach, and when it is back.

    Args:
        cell: whose parent.
        say: gets a sentence.
        dials: whether there is to be a parent.
    """

    def __init__(self, cell: CoreCell, say: Callable[[str], None], *, dials: bool = True) -> None:
        self._cell = cell
        self._say = say
        self._dials = dials
        self._look_at = 0.0
        # Until it has been seen.
        self._parent = "the parent"
        self._seen_at = time.monotonic()
        self._told = False

    def look(self) -> None:
        """Look, if it is time again. To be called several times a second."""
        now = time.monotonic()
        if now < self._look_at or not self._dials:
            return
        self._look_at = now + _LOOK_S
        links = self._cell.stats().protocol.links
        parent = next((link.fqcn for link in links if link.is_uplink and link.lanes), "")
        if parent:
            if self._told:
                self._say(f"linked again with {parent}")
            self._parent, self._seen_at, self._told = parent, now, False
        elif not self._told and now - self._seen_at > _SHORT_BREAK_S:
            self._told = True
            self._say(f"{self._parent} is out of reach; waiting")
