"""Waiting for what happens in other threads, with a bound and without luck."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.kit.timing import scaled

T = TypeVar("T")

# Most that anything here may take. Only a failing test comes near it.
PATIENCE_S = scaled(30.0)
# Short enough to be waited for, long enough that a busy machine does not reach it by accident.
IDLE_S = scaled(1.0)


class Box(Generic[T]):
    """Takes things in any thread, for the test to wait for."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()

    def put(self, thing: T) -> None:
        """Take a thing."""
        self._queue.put(thing)

    def get(self, seconds: float = PATIENCE_S) -> T:
        """Wait for the next thing."""
        return self._queue.get(timeout=seconds)

    def get_all(self, count: int) -> list[T]:
        """Wait for ``count`` things."""
        return [self.get() for _ in range(count)]

    def is_empty(self) -> bool:
        """Return whether nothing is there now."""
        return self._queue.empty()


def eventually(check: Callable[[], bool], what: str = "", seconds: float = PATIENCE_S) -> None:
    """Wait for what nobody announces: look again and again until ``check`` holds."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or check}")
        pause.wait(0.005)


class Gate:
    """Where callbacks wait until the test lets them through; at the end of a ``with`` it opens by itself."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._arrived = threading.Semaphore(0)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def is_open(self) -> bool:
        """Return whether it is open."""
        return self._open.is_set()

    def open(self) -> None:
        """Let all through, now and later."""
        self._open.set()

    def pass_through(self) -> None:
        """Wait here until it is open."""
        self._arrived.release()
        if not self._open.wait(3 * PATIENCE_S):
            raise AssertionError("nobody opened the gate")

    def wait_arrived(self, count: int = 1) -> None:
        """Wait until ``count`` threads have come."""
        for _ in range(count):
            if not self._arrived.acquire(timeout=PATIENCE_S):
                raise AssertionError("nobody came to the gate")


def wait_for(event: threading.Event) -> None:
    """Wait for an event that is bound to come."""
    assert event.wait(PATIENCE_S), "what was waited for did not happen"


def let_time_pass(seconds: float) -> None:
    """Stand still, where a test shows that something does *not* happen in that time."""
    threading.Event().wait(seconds)
