"""Who may receive a file, and who may give one its name, while an inbox is open, drains and gives up.

 An inbox is open, then it drains (what has begun goes on, nothing new begins), then it gives up
(nothing gets a name any more). A file that is being given its name when the inbox gives up gets it, and its sender
hears so: whoever gives up waits for that. So what is said to be given up never is there in the end.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Iterator

from streamcell.errors import ErrorCode, StreamRejected

# How long a transfer that is begun again waits for its predecessor to let go of the partial file.
_PREDECESSOR_S = 10.0


class _Stage(enum.IntEnum):
    OPEN = 0
    DRAINING = 1
    GIVEN_UP = 2


class Admission:
    """Safe for use by several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stage = _Stage.OPEN
        self._active: set[str] = set()
        self._naming = 0

    @contextlib.contextmanager
    def enter(self, key: str) -> Iterator[str]:
        """Keep the work files of a transfer, ``key``, from everybody else as long as it is received.

        Raises:
            StreamRejected: the inbox takes nothing new, or somebody has them for too long.
        """
        with self._changed:
            free = self._changed.wait_for(lambda: self._stage or key not in self._active, _PREDECESSOR_S)
            if self._stage:
                raise _closing()
            if not free:
                raise StreamRejected("this file is being received already: wait for the other sender to end")
            self._active.add(key)
        try:
            yield key
        finally:
            with self._changed:
                self._active.discard(key)
                self._changed.notify_all()

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Be entered while a file is given its name and its sender is told.

        Raises:
            StreamRejected: the inbox has given up.
        """
        with self._changed:
            if self._stage is _Stage.GIVEN_UP:
                raise _closing()
            self._naming += 1
        try:
            yield
        finally:
            with self._changed:
                self._naming -= 1
                self._changed.notify_all()

    def begin_drain(self) -> None:
        """Let nothing new begin."""
        self._go_on_to(_Stage.DRAINING)

    def give_up(self) -> None:
        """Let no file get a name from now on, but those that are given one just now."""
        self._go_on_to(_Stage.GIVEN_UP)

    def wait_named(self, timeout_s: float) -> bool:
        """Wait until no file is just given its name; return False if there still is one after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._naming, timeout_s)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is received; return False if something still is after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._active, timeout_s)

    def count(self) -> int:
        """Return how many are received."""
        return len(self._active)

    def is_active(self, key: str) -> bool:
        """Return whether somebody has the work files of a transfer."""
        return key in self._active

    def _go_on_to(self, stage: _Stage) -> None:
        with self._changed:
            self._stage = max(self._stage, stage)
            self._changed.notify_all()


def _closing() -> StreamRejected:
    return StreamRejected("the inbox is being closed: send it again in a while", ErrorCode.STOPPING)
