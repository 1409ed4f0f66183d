"""Lines of the log about neighbours: so many a second about each, and then a count. One thread at a time.

What a neighbour does leads to lines here. One that does it without end must not fill the disk, nor hide what is said of
others.
"""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

# A logger, or one that says what cell it is about.
AnyLog: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"

# Lines about one neighbour within a second.
LINES = 10
WITHIN_S = 1.0


class _Said:
    """What was said about one neighbour since a moment."""

    __slots__ = ("lines", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines = 0


class NeighbourLog:
    """A log for what neighbours cause, and those who would be neighbours."""

    def __init__(self, log: AnyLog) -> None:
        self._log = log
        # Whoever was spoken of within the last second, in the order in which that began.
        self._said: dict[str, _Said] = {}

    def log(self, about: str, now: float, level: int, msg: str, *args: object) -> None:
        """Write a line about a neighbour, or about all strangers (``about`` empty), unless there were too many."""
        if not self._log.isEnabledFor(level):
            return
        self._end_seconds(now)
        said = self._said.get(about)
        if said is None:
            said = self._said[about] = _Said(now)
        said.lines += 1
        if said.lines <= LINES:
            self._log.log(level, msg, *args, stacklevel=2)

    def _end_seconds(self, now: float) -> None:
        """Say how many lines were left out, of those whose second is over."""
        for about, said in list(self._said.items()):
            if now < said.since + WITHIN_S:
                return
            del self._said[about]
            if said.lines > LINES:
                self._log.warning("%d more lines about %s were left out", said.lines - LINES, about or "strangers")
