"""A file arrives intact through cuts and kills of both sides: the small version of ``scripts/endurance``."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamcell.limits import MIB
from tests.adversity.endurance import Plan, run
from tests.kit.timing import scaled


@pytest.mark.timeout(scaled(120))
@pytest.mark.parametrize("seed", [1, 2])
def test_a_file_through_cuts_and_kills(tmp_path: Path, seed: int) -> None:
    outcome = run(
        Plan(64 * MIB, cuts=8, receiver_kills=2, sender_kills=2, seed=seed, time_limit_s=scaled(100)), tmp_path
    )
    assert outcome["intact"]
    assert outcome["resent_bytes_and_overhead"] <= outcome["allowed_bytes"]
