"""A system that says no: calls of the standard library, or of streamcell to the system, that fail when a test says so.

Only calls made in threads of streamcell count, so that what the test itself does is never refused.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

# How the threads of cells, and those that serve all cells, are called.
OWN_THREADS = ("server", "site", "streamcell-")


class Refusal:
    """Calls of one function, counted from 1, of which some are refused."""

    def __init__(self, error: Callable[[], BaseException], is_refused: Callable[[int], bool]) -> None:
        self._error = error
        self._is_refused = is_refused
        self._lock = threading.Lock()
        #: Calls so far.
        self.calls = 0
        #: The names of the threads whose calls were refused.
        self.refused: list[str] = []

    def check(self) -> None:
        """Take note of a call; raise if it is to be refused."""
        name = threading.current_thread().name
        if not name.startswith(OWN_THREADS):
            return
        with self._lock:
            self.calls += 1
            if not self._is_refused(self.calls):
                return
            self.refused.append(name)
        raise self._error()

    def end(self) -> None:
        """Refuse nothing from now on."""
        self._is_refused = never


@contextlib.contextmanager
def refusing(
    owner: Any, name: str, error: Callable[[], BaseException], is_refused: Callable[[int], bool]
) -> Iterator[Refusal]:
    """Have calls of ``owner.name`` fail with ``error()``: those whose number ``is_refused`` says."""
    refusal = Refusal(error, is_refused)
    really = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        refusal.check()
        return really(*args, **kwargs)

    setattr(owner, name, call)
    try:
        yield refusal
    finally:
        setattr(owner, name, really)


@contextlib.contextmanager
def no_threads(is_refused: Callable[[int], bool]) -> Iterator[Refusal]:
    """Have the system refuse threads."""
    with refusing(threading.Thread, "start", lambda: RuntimeError("can't start new thread"), is_refused) as refusal:
        yield refusal


def always(_number: int) -> bool:
    """Refuse every call."""
    return True


def never(_number: int) -> bool:
    """Refuse no call."""
    return False


def first(count: int) -> Callable[[int], bool]:
    """Refuse the first calls."""
    return lambda number: number <= count


def only(refused: int) -> Callable[[int], bool]:
    """Refuse one call."""
    return lambda number: number == refused
