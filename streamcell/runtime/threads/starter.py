"""Starting threads where the system may refuse them for a moment."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

# How long after a refusal it is tried again: others end threads all the time.
RETRY_S = 0.1


class ThreadStarter:
    """Starts daemon threads, and logs once when the system begins to refuse them, and once when it no longer does.

    Any thread may use it.

    Args:
        later: calls what it is given after about ``RETRY_S``, in whichever thread; never if the process ends before.
        log: where.
    """

    def __init__(self, later: Callable[[Callable[[], None]], object], log: logging.Logger) -> None:
        self._later = later
        self._log = log
        self._lock = threading.Lock()
        self._refused = False

    def start(self, work: Callable[[], None], name: str) -> bool:
        """Run ``work`` in a thread of its own; return False if the system refuses one now."""
        try:
            threading.Thread(target=work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._note(True, error)
            return False
        if self._refused:
            self._note(False, None)
        return True

    def again(self, attempt: Callable[[], None]) -> None:
        """Have ``attempt`` called in a moment. Never blocks."""
        self._later(attempt)

    def _note(self, refused: bool, error: BaseException | None) -> None:
        with self._lock:
            changed, self._refused = self._refused != refused, refused
        if not changed:
            return
        if refused:
            self._log.warning("the system refuses a thread (%s): what needs one waits until it can be had", error)
        else:
            self._log.info("threads can be had again")
