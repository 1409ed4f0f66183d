"""What programs in processes of their own need of the process that starts them."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _programs_may_be_interrupted() -> None:
    """Take interrupts, and so let programs that are started take them: a shell's background jobs ignore them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
