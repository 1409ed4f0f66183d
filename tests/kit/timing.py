"""Times in tests: each names the time that a fast quiet machine needs, and is stretched for the machine as it is now.

The scale is found by measuring (`tests/kit/pace.py`): at the start of a run, and again before each test, because load
may come later. Within a test it never falls, so that of two times the one that is meant to be longer is. A constant of
a module has the scale of the start. STREAMCELL_TEST_TIME_SCALE in the environment stands for all that is measured.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.kit import pace

OVERRIDE = "STREAMCELL_TEST_TIME_SCALE"
#: Where the pace of the run is written, for the processes that belong to it.
PACE_FILE = "STREAMCELL_TEST_PACE"


class TimeScale:
    """What times are multiplied with."""

    def __init__(self) -> None:
        self._fixed = float(os.environ.get(OVERRIDE, "0"))
        if self._fixed:
            self.value = self._fixed
        else:
            run = pace_of_run()
            self.value = run.base if run else pace.measure_well()
        self._base = self.value
        self._testing = False

    def begin_test(self) -> None:
        """Find the scale for a test that begins now. Until the first one it is that of the start, in every process."""
        self._testing = True
        self.value = self._base
        self.follow()

    def follow(self) -> None:
        """Rise with load that has come since the test began."""
        run = pace_of_run() if self._testing and not self._fixed else None
        if run:
            self.value = max(self.value, run.recent)


def pace_of_run() -> pace.Pace | None:
    """Return what the run that this process belongs to has measured last, or None if it belongs to none."""
    path = os.environ.get(PACE_FILE)
    return pace.Pace.read(Path(path)) if path else None


SCALE = TimeScale()


def scaled(seconds: float) -> float:
    """Returns `seconds` stretched for the machine that the tests run on."""
    SCALE.follow()
    return seconds * SCALE.value


def fair_time() -> float:
    """Return a time in seconds that passes as slowly as this machine is slow, where that is measured."""
    run = pace_of_run()
    return run.fair_s if run else time.monotonic()
