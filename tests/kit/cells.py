"""Cells for tests, over the in-memory network or gRPC."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from streamcell import CellConfig, CoreCell, StreamCell
from streamcell.testing import InMemoryNetwork
from tests.kit.waiting import PATIENCE_S

# Reconnects and gives up in the time that a test has.
QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, dial_timeout_s=5.0)


@dataclasses.dataclass(frozen=True)
class Carrier:
    """What carries lanes: where a cell listens on it, and the network to give to cells (None: gRPC)."""

    url: str
    network: InMemoryNetwork | None = None

    def cell(self, fqcn: str, **options: Any) -> CoreCell:
        """Make a cell on this carrier."""
        options.setdefault("config", QUICK)
        return CoreCell(fqcn, network=self.network, **options)


def memory_carrier() -> Carrier:
    """Return an in-memory network of its own."""
    return Carrier("memory://", InMemoryNetwork())


def grpc_carrier() -> Carrier:
    """Return gRPC on a free port of this machine."""
    return Carrier("grpc://127.0.0.1:0")


CARRIERS = {"memory": memory_carrier, "grpc": grpc_carrier}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A cell that listens and one that has dialled it, both running and connected."""

    carrier: Carrier
    server: CoreCell
    site: CoreCell

    @property
    def at_server(self) -> StreamCell:
        """The server's streams."""
        return StreamCell(self.server)

    @property
    def at_site(self) -> StreamCell:
        """The site's streams."""
        return StreamCell(self.site)


@contextlib.contextmanager
def connected_pair(carrier: Carrier, **options: Any) -> Iterator[Pair]:
    """Start a cell ``server`` and its child ``site``, wait until they are connected, and stop them at the end."""
    server = carrier.cell("server", listen=carrier.url, **options)
    with running(server):
        site = carrier.cell("site", connect=server.listen_urls, **options)
        with running(site):
            site.wait_connected(PATIENCE_S)
            yield Pair(carrier, server, site)


@contextlib.contextmanager
def running(cell: CoreCell) -> Iterator[CoreCell]:
    """Start ``cell`` and stop it at the end without grace, so that a test that fails does not wait."""
    cell.start()
    try:
        yield cell
    finally:
        cell.stop(0)
