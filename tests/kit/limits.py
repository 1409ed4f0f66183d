"""How long a test may take at most. A hook of pytest-timeout: its limit counts the seconds of a quiet machine.

The limit of a test that names one stands, others get pytest's own, scaled. When the time is over and the machine was
busy with other things meanwhile (or the test's own run was), the test gets the rest of what is its due.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from types import FrameType
from typing import Protocol

import pytest

from tests.kit import timing
from tests.kit.pace import SLOWEST

# Beyond the limit: where a test that waits in C, and so cannot be ended, shows where.
_SHOW_AFTER = 1.5
# A rest that is shorter than this is as good as none.
_SHORTEST_S = 0.1


class Settings(Protocol):
    """What pytest-timeout has found for a test."""

    @property
    def timeout(self) -> float:
        """The limit in seconds."""

    @property
    def method(self) -> str:
        """How it is to be ended: by `signal` or by `thread`."""


class Limits:
    """The plugin: gives each test its time."""

    def __init__(self) -> None:
        self._stderr = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
        self._before: object = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Find the scale of the machine as it is when a test begins."""
        timing.SCALE.begin_test()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Settings) -> bool | None:
        """Set the alarm, unless it was asked for another way than by a signal, or cannot be."""
        if settings.method != "signal" or threading.current_thread() is not threading.main_thread():
            return None
        named = item.get_closest_marker("timeout") is not None
        limit_s = settings.timeout if named else timing.scaled(settings.timeout)
        alarm = Alarm(limit_s, lambda: end_test(item, limit_s))
        self._before = signal.signal(signal.SIGALRM, alarm.ring)
        alarm.set(limit_s)
        faulthandler.dump_traceback_later(limit_s * _SHOW_AFTER, file=self._stderr)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """Take the alarm back."""
        if threading.current_thread() is not threading.main_thread() or self._before is None:
            return None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.cancel_dump_traceback_later()
        self._before = None
        return True


class Alarm:
    """Calls `over` in the main thread, when so many seconds of a quiet machine have passed."""

    def __init__(self, limit_s: float, over: Callable[[], object]) -> None:
        self._limit_s = limit_s
        self._over = over
        self._began = time.monotonic()
        self._began_fair = timing.fair_time()

    def set(self, seconds: float) -> None:
        """Look at the clocks again after so many seconds."""
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def ring(self, _signal: int, _frame: FrameType | None) -> None:
        """Give the test the time that it did not have, or end it."""
        passed_s = timing.fair_time() - self._began_fair
        left_s = self._limit_s - passed_s
        if left_s < _SHORTEST_S or time.monotonic() - self._began > self._limit_s * SLOWEST:
            self._over()
        else:
            self.set(left_s)


def end_test(item: pytest.Item, limit_s: float) -> None:
    """Fail, and show what every thread does."""
    item.add_report_section("call", "threads at the end of the time", stacks())
    pytest.fail(f"Timeout: it took longer than {limit_s:g} s of a quiet machine")


def stacks() -> str:
    """Return what every thread of this process does but the one that asks."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"--- {names.get(ident, 'a thread that Python did not start')}\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - there is no other way
        if ident != threading.get_ident()
    )
