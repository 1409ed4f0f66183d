"""Cells that come and go leave nothing behind: no thread, no file, no task, no memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.adversity.leaks import LIVES
from tests.kit.programs import ROOT, environment
from tests.kit.timing import scaled

LIMIT_S = 250.0


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("name", LIVES)
def test_nothing_is_left_of(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.adversity.leaks", name],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=scaled(LIMIT_S),
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
