"""That no signal stays unnoticed while the main thread waits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# How long a signal can stay unnoticed: short for a person, and two wake-ups a second cost nothing.
_NOTICE_S = 0.5


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
