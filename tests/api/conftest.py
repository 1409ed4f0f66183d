"""Every test that takes ``pair`` or ``carrier`` runs over the in-memory network and over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamcell import ReceivedStream, StreamFuture
from tests.api.transfers import Arrived
from tests.cells import CARRIERS, Box, Carrier, Pair, connected_pair


@pytest.fixture(params=sorted(CARRIERS))
def carrier(request: pytest.FixtureRequest) -> Carrier:
    """A network of its own for each test."""
    return CARRIERS[request.param]()


@pytest.fixture
def pair(carrier: Carrier) -> Iterator[Pair]:
    """Two connected cells, ``server`` and its child ``site``."""
    with connected_pair(carrier) as cells:
        yield cells


@pytest.fixture
def received(pair: Pair) -> Box[Arrived]:
    """What arrives at the server on c/t, with headers and declared size."""
    box: Box[Arrived] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        size = stream.get_size()
        box.put((stream.read(-1), dict(stream.headers), size))

    pair.at_server.register_stream_cb("c", "t", read)
    return box
