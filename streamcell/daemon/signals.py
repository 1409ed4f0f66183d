"""SIGTERM and SIGINT as events: the first asks for an orderly end, the second for one at once. Imports nothing."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class EndSignals:
    """Watches for both signals while it is entered. To be used in the main thread.

    Attributes:
        end: set by the first signal; anybody may set it.
        hurry: set by the second.
    """

    def __init__(self) -> None:
        self.end = threading.Event()
        self.hurry = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.end.is_set():
            self.hurry.set()
        self.end.set()
