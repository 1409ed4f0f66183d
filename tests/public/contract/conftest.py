"""Fixtures of the contract's tests: every test runs over the in-memory network and over gRPC on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamcell.testing import FaultyNetwork, InMemoryNetwork
from streamcell.transport.grpc.network import GrpcNetwork
from tests.public.contract.world import Cells, Pair

LISTEN_URLS = {"memory": "memory://", "grpc": "grpc://127.0.0.1:0"}


@pytest.fixture(params=LISTEN_URLS)
def network_kind(request: pytest.FixtureRequest) -> str:
    """Which network the test runs on."""
    return str(request.param)


@pytest.fixture
def network(network_kind: str) -> FaultyNetwork:
    """The network, with faults at the test's command where lanes are dialled."""
    return InMemoryNetwork() if network_kind == "memory" else FaultyNetwork(GrpcNetwork())


@pytest.fixture
def cells(network: FaultyNetwork, network_kind: str) -> Iterator[Cells]:
    """Makes cells on the network; all are stopped at the end."""
    made = Cells(network, LISTEN_URLS[network_kind])
    yield made
    made.stop()


@pytest.fixture
def pair(cells: Cells) -> Pair:
    """A sender that has dialled and a receiver that listens, connected."""
    return cells.pair()


@pytest.fixture(params=["up", "down"])
def either_pair(pair: Pair, request: pytest.FixtureRequest) -> Pair:
    """A sender and a receiver, connected; either of them has dialled."""
    dialler, listener = pair
    return (dialler, listener) if request.param == "up" else (listener, dialler)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds callbacks and sources until the test sets it; set at the end in any case, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()
