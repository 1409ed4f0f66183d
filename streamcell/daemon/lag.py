"""How late the engine is: the time from asking it for something to its doing it."""

from __future__ import annotations

import threading
import time

from streamcell.errors import CellError, ErrorCode
from streamcell.runtime.engine.engine import get_engine

INTERVAL_S = 1.0


class LagMeter:
    """Asks the engine once a second, in a thread of its own, and keeps the last answer.

    What makes it late is what makes transfers slow: too little processor time, or Python code that holds the
    interpreter.
    """

    def __init__(self) -> None:
        self._engine = get_engine()
        self._ended = threading.Event()
        self._asked_at: float | None = None
        self._lag_s = 0.0
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamcell-lag", daemon=True)

    @property
    def seconds(self) -> float:
        """The last lag; if the engine has not answered yet, how long it has been asked."""
        asked_at = self._asked_at
        waiting_s = 0.0 if asked_at is None else time.monotonic() - asked_at
        return max(self._lag_s, waiting_s)

    def start(self) -> None:
        """Begin to measure.

        Raises:
            CellError: the system refuses the thread.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise CellError(f"the lag of the engine cannot be measured now: {error}", ErrorCode.LIMIT) from error

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._answered.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._answered.clear()
            self._asked_at = time.monotonic()
            if not self._engine.wake(self._answer):
                return
            self._answered.wait()

    def _answer(self) -> None:
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is not None:
            self._lag_s = time.monotonic() - asked_at
        self._answered.set()
