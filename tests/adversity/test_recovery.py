"""A stream goes on soon after a break, with the settings that cells have by default."""

from __future__ import annotations

import pytest

from tests.adversity.recovery import measure
from tests.kit.timing import scaled


@pytest.mark.timeout(scaled(120))
def test_short_breaks_are_soon_forgotten() -> None:
    found = measure([0.1, 1.5], times=1)
    assert found["0.1 s"]["worst_s"] < scaled(8.0)
    assert found["1.5 s"]["median_s"] < scaled(2.0)
