"""One hub and one innocent pair for the attacks of a process that runs tests; new ones where an attack did harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adversity.hostile.scene import Stages


@pytest.fixture(scope="package")
def stages() -> Iterator[Stages]:
    """Where attacks are done. Package: it ends before other tests, which it would keep from the processor."""
    with Stages() as made:
        yield made
