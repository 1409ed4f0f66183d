"""A part of ``scripts/refusals``, the same each time: each call to the system fails once, and nothing else does."""

from __future__ import annotations

import pytest

from tests.adversity.refusals import CALLS, refuse_all
from tests.kit.timing import scaled

# So that about one in so many pairs of call and error is tried; coprime to the numbers of errors.
STEPS = {"memory": 31, "grpc": 61}


@pytest.mark.timeout(scaled(240))
@pytest.mark.parametrize("carrier", STEPS)
def test_each_call_is_refused_once(carrier: str) -> None:
    tally = refuse_all(CALLS, [carrier], step=STEPS[carrier])
    assert tally.wrong == []
    assert tally.refused > 0
