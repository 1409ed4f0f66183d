"""That a signal ends a command in good order, and none stays unnoticed while the main thread waits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# What ends a command as Ctrl-C does. SIGHUP: the terminal has closed.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
# How long a signal can stay unnoticed: short for a person, and two wake-ups a second cost nothing.
_NOTICE_S = 0.5


@contextmanager
def ending_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise SystemExit in the main thread while this is entered, with 128 and their number.

    So what is open is closed: a cell says Goodbye. One that is ignored, as SIGHUP is under nohup, stays so.
    """
    before = {number: signal.getsignal(number) for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def noticed_signals() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM noticed within half a second while this is entered. For the main thread.

    CPython runs handlers of signals between bytecodes. One that comes behind the last of these, before the thread has
    begun to wait for a lock, would be noticed when the wait ends: perhaps never. An alarm interrupts each wait for a
    moment, and it goes on. (The window is short, but a busy machine puts threads to sleep in it.)
    """
    handler = signal.signal(signal.SIGALRM, lambda *_: None)
    timer = signal.setitimer(signal.ITIMER_REAL, _NOTICE_S, _NOTICE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
