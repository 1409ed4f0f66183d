"""Fixtures for tests that run over the in-memory network and over gRPC: a ``conftest.py`` takes them in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.cells import CARRIERS, Carrier, Pair, connected_pair


@pytest.fixture(params=sorted(CARRIERS))
def carrier(request: pytest.FixtureRequest) -> Carrier:
    """A network of its own for each test."""
    return CARRIERS[request.param]()


@pytest.fixture
def pair(carrier: Carrier) -> Iterator[Pair]:
    """Two connected cells, ``server`` and its child ``site``."""
    with connected_pair(carrier) as cells:
        yield cells
