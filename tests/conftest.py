"""What every test shares: how Hypothesis searches, how long tests may take, and how several run at once."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kit import pace, side_by_side, timing
from tests.kit.limits import Limits
from tests.kit.strict_time import StrictCells

# A slow machine is no finding: pytest's own timeout is the only limit on time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Bytecode is kept whatever the environment says. Without, every run reads all tests anew, every program that a test
# starts compiles the whole package first, and both together cost more than the tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Processes for each processor, and in all: as many as it takes to keep two processors busy.
_WORKERS_PER_CORE, _MOST_WORKERS = 3, 12


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run tests: more than processors, since most tests wait."""
    return min(_WORKERS_PER_CORE * pace.cores(), _MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to measure, once for all processes of a run, and give each test its time and its room."""
    _take_signals()
    config.pluginmanager.register(Limits())
    config.pluginmanager.register(StrictCells())
    if "PYTEST_XDIST_WORKER" in os.environ:
        config.pluginmanager.register(side_by_side.SideBySide(Path(os.environ[timing.PACE_FILE]).parent))
        return
    folder = tempfile.TemporaryDirectory(prefix="streamcell-tests-")
    config.add_cleanup(folder.cleanup)
    workers = len(config.getoption("tx", None) or [None])
    # Workers come on top of what keeps the machine busy already.
    others = max(0.0, workers / pace.cores() - 1.0)
    pacer = pace.Pacer(Path(folder.name, "pace"), timing.SCALE.value + others)
    config.add_cleanup(pacer.end)
    os.environ[timing.PACE_FILE] = str(pacer.path)
    # All processes must find the same tests in the same order, those made of a set, too.
    os.environ.setdefault("PYTHONHASHSEED", str(secrets.randbelow(2**32)))


def _take_signals() -> None:
    """Take signals, and so let programs that are started take them: a shell's background jobs and nohup ignore some."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def test_processes() -> int:
    """How many processes run tests side by side, this one included."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    side_by_side.last_if_alone(items)
