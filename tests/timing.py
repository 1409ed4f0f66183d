"""Times in tests, all scaled by one variable of the environment, STREAMCELL_TEST_TIME_SCALE.

A test names the time that a fast idle machine needs; a slow or busy one raises the scale.
"""

import os

TIME_SCALE = float(os.environ.get("STREAMCELL_TEST_TIME_SCALE", "1.0"))


def scaled(seconds: float) -> float:
    """Returns `seconds` stretched for the machine that the tests run on."""
    return seconds * TIME_SCALE
