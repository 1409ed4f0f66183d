"""The one thread of a cell that tells the application what has happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from streamcell.runtime.threads.callbacks import call_user_code, level_of_raised
from streamcell.runtime.threads.starter import ThreadStarter
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.threads.workers import WorkerPool


class Notifier:
    """Runs done-callbacks and connection callbacks one after the other, in the order in which they were posted.

    The thread is a daemon, starts with the first callback and ends when there is none for a while. A callback that
    blocks holds up the later ones, and nothing else.
    """

    def __init__(self, name: str, log: CellLog, starter: ThreadStarter) -> None:
        self._pool = WorkerPool(name, 1, starter)
        self._log = log
        self.failures = 0

    def post(self, what: str, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``callback`` called; ``what`` names it in the log if it raises. Never blocks."""
        self._pool.submit(lambda: self._call(what, callback, args, kwargs))

    def close(self) -> None:
        """Let the thread end when it has run what waits."""
        self._pool.close()

    @property
    def waiting(self) -> int:
        """Callbacks that wait for their turn."""
        return self._pool.stats().waiting

    def _call(
        self,
        what: str,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        _, error = call_user_code(self._log, level_of_raised, what, callback, *args, **kwargs)
        if error is not None and level_of_raised(error) > logging.DEBUG:
            self.failures += 1
