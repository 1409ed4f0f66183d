"""Fixtures for tests that run over the in-memory network and over gRPC: a ``conftest.py`` takes them in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamcell.testing import FaultyNetwork
from tests.kit.cells import CARRIERS, Carrier, Cells, Pair, Peer, making_cells
from tests.kit.waiting import Gate


@pytest.fixture(params=sorted(CARRIERS))
def carrier_kind(request: pytest.FixtureRequest) -> str:
    """What carries lanes: ``memory`` or ``grpc``."""
    return str(request.param)


@pytest.fixture
def carrier(carrier_kind: str) -> Carrier:
    """A network of its own for each test."""
    return CARRIERS[carrier_kind]()


@pytest.fixture
def network(carrier: Carrier) -> FaultyNetwork:
    """The network, with faults at the test's command where lanes are dialled."""
    return carrier.network


@pytest.fixture
def cells(carrier: Carrier) -> Iterator[Cells]:
    """Makes cells on the network; all are stopped at the end."""
    with making_cells(carrier) as made:
        yield made


@pytest.fixture
def pair(cells: Cells) -> Pair:
    """Two connected cells: ``site``, which has dialled, and ``server``."""
    return cells.pair()


@pytest.fixture(params=["up", "down"])
def either_pair(pair: Pair, request: pytest.FixtureRequest) -> tuple[Peer, Peer]:
    """A sender and a receiver, connected; either of them has dialled."""
    return (pair.site, pair.server) if request.param == "up" else (pair.server, pair.site)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Holds callbacks and sources until the test opens it; open at the end in any case, so that no thread stays."""
    with Gate() as made:
        yield made
