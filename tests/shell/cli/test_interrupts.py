"""Signals while the main thread waits."""

from __future__ import annotations

import signal
import threading

from streamcell.cli.interrupts import noticed_signals

LIMIT_S = 30.0


def test_a_signal_that_does_not_interrupt_the_wait_ends_it_all_the_same() -> None:
    """A signal that another thread takes does not wake the main thread, like one that comes just before it waits."""
    came = threading.Event()
    may_end = threading.Event()

    def take_signal() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        may_end.wait(LIMIT_S)

    before = signal.signal(signal.SIGUSR1, lambda *_: came.set())
    other = threading.Thread(target=take_signal)
    try:
        with noticed_signals():
            other.start()
            assert came.wait(LIMIT_S)
    finally:
        may_end.set()
        other.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_timer_that_was_there_goes_on() -> None:
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    timer = signal.setitimer(signal.ITIMER_REAL, 1000.0)
    try:
        with noticed_signals():
            assert signal.getsignal(signal.SIGALRM) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGALRM) is signal.default_int_handler
        assert 0.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
