"""SIGTERM, SIGINT and SIGHUP as events, or as a call that reads the configuration again.

A handler of a signal runs between two bytecodes of the main thread, perhaps while that holds the lock of an event. So
it only puts the signal into a queue that is made for that, and a thread does the rest.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
# How long the end waits for a configuration that is just being read.
_LET_GO_S = 1.0


class EndSignals:
    """Watches for signals while it is entered. To be used in the main thread.

    SIGTERM and SIGINT ask for an orderly end, the second of them for one at once. SIGHUP asks for an orderly end where
    the process was started from a terminal, which has closed then; its kernel, its shell and others may each say so.
    Elsewhere it asks for ``reload``. Where it is ignored, as under nohup, it stays so.

    Args:
        reload: called, in a thread of its own, one at a time; None: there is nothing to read again, and SIGHUP always
            asks for an end.

    Attributes:
        end: set by the first signal; anybody may set it.
        hurry: set by the second.
    """

    def __init__(self, reload: Callable[[], None] | None = None) -> None:
        self.end = threading.Event()
        self.hurry = threading.Event()
        self._reload = reload
        self._before: dict[signal.Signals, Any] = {}
        self._ending = 0
        # Reentrant: a handler may interrupt another one.
        self._arrived: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="streamcell-signals", daemon=True)

    def __enter__(self) -> Self:
        if has_terminal():
            self._reload = None
        self._thread.start()
        for number in (*_ENDING, signal.SIGHUP):
            if number in _ENDING or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._arrived.put(None)
        self._thread.join(_LET_GO_S)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.put(number)

    def _watch(self) -> None:
        while (number := self._arrived.get()) is not None:
            if number in _ENDING:
                self._ending += 1
                if self._ending > 1:
                    self.hurry.set()
                self.end.set()
            elif self._reload is None:
                self.end.set()
            else:
                self._reload()


def has_terminal() -> bool:
    """Return whether this process has a terminal that controls it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
