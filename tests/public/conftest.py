"""Every test that takes ``pair`` or ``carrier`` runs over the in-memory network and over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamcell import ReceivedStream, StreamFuture
from tests.kit.cells import Pair
from tests.kit.fixtures import carrier, carrier_kind, cells, either_pair, gate, network, pair
from tests.kit.frozen import frozen_frames
from tests.kit.transfers import Arrived
from tests.kit.waiting import Box

__all__ = ["carrier", "carrier_kind", "cells", "either_pair", "gate", "network", "pair", "received"]


@pytest.fixture(autouse=True)
def frames_never_change() -> Iterator[None]:
    """A frame stays what it was when it was made, whatever reads, writes or passes it on."""
    with frozen_frames():
        yield


@pytest.fixture
def received(pair: Pair) -> Box[Arrived]:
    """What arrives at the server on c/t, with headers and declared size."""
    box: Box[Arrived] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        size = stream.get_size()
        box.put((stream.read(-1), dict(stream.headers), size))

    pair.at_server.register_stream_cb("c", "t", read)
    return box
