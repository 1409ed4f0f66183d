"""What every test of the core shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.frozen import frozen_frames


@pytest.fixture(autouse=True)
def frames_never_change() -> Iterator[None]:
    """A frame stays what it was when it was made, whatever a test has the core do."""
    with frozen_frames():
        yield
