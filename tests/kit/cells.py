"""Cells for tests, over the in-memory network or gRPC."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from streamcell import (
    CellConfig,
    CoreCell,
    HeaderValue,
    LinkError,
    Message,
    NameInUse,
    StreamCell,
    StreamFuture,
)
from streamcell.testing import FaultyNetwork, InMemoryNetwork
from streamcell.transport.base import Network
from streamcell.transport.grpc.network import GrpcNetwork
from tests.kit.waiting import PATIENCE_S

T = TypeVar("T", bound=CoreCell)

CHANNEL, TOPIC = "c", "t"
_BARRIER = "barrier"

# As by default, but quick to come back after a break, to give up, and to end.
QUICK = CellConfig(backoff_min_s=0.01, backoff_max_s=0.05, connect_timeout_s=5.0, connect_in_order=True, stop_grace_s=0)


class Peer(CoreCell):
    """A cell with short ways to do what tests do most, on one channel and, if not said otherwise, one topic."""

    @property
    def streams(self) -> StreamCell:
        """Its streams."""
        return StreamCell(self)

    def send_stream(
        self,
        target: CoreCell | str,
        payload: Any,
        *,
        topic: str = TOPIC,
        headers: Mapping[str, HeaderValue] | None = None,
        **more: Any,
    ) -> StreamFuture:
        return self.streams.send_stream(CHANNEL, topic, name_of(target), Message(headers, payload), **more)

    def send_blob(
        self,
        target: CoreCell | str,
        payload: Any,
        *,
        topic: str = TOPIC,
        headers: Mapping[str, HeaderValue] | None = None,
        **more: Any,
    ) -> StreamFuture:
        return self.streams.send_blob(CHANNEL, topic, name_of(target), Message(headers, payload), **more)

    def request(
        self, target: CoreCell | str, payload: Any = None, *, topic: str = TOPIC, timeout: float = PATIENCE_S
    ) -> Message:
        return self.send_request(CHANNEL, topic, name_of(target), Message(None, payload), timeout)

    def on_stream(self, callback: Callable[..., Any], *, topic: str = TOPIC) -> None:
        self.streams.register_stream_cb(CHANNEL, topic, callback)

    def on_blob(self, callback: Callable[..., Any], *, topic: str = TOPIC, **more: Any) -> None:
        self.streams.register_blob_cb(CHANNEL, topic, callback, **more)

    def on_request(self, callback: Callable[[Message], Any], *, topic: str = TOPIC) -> None:
        self.register_request_cb(CHANNEL, topic, callback)

    def meet(self, other: Peer) -> None:
        """Wait until all frames that were under way between the two have been handled."""
        self.send_request(_BARRIER, "here", other.fqcn, Message(), PATIENCE_S)
        other.send_request(_BARRIER, "there", self.fqcn, Message(), PATIENCE_S)


class Pair(NamedTuple):
    """Two cells that are connected: ``site`` has dialled ``server``."""

    site: Peer
    server: Peer

    @property
    def at_server(self) -> StreamCell:
        """The server's streams."""
        return self.server.streams

    @property
    def at_site(self) -> StreamCell:
        """The site's streams."""
        return self.site.streams


@dataclasses.dataclass(frozen=True)
class Carrier:
    """What carries lanes: where a cell listens on it, and the network to give to cells, with faults at command."""

    url: str
    network: FaultyNetwork

    @property
    def nobody(self) -> str:
        """Where nobody listens."""
        return "memory://nobody" if self.url.startswith("memory:") else "grpc://127.0.0.1:1"

    def cell(self, fqcn: str, **options: Any) -> Peer:
        """Make a cell on this carrier."""
        return Peer(fqcn, **{"config": QUICK, "network": self.network, **options})


def memory_carrier() -> Carrier:
    """Return an in-memory network of its own."""
    return Carrier("memory://", InMemoryNetwork())


def grpc_carrier() -> Carrier:
    """Return gRPC on a free port of this machine."""
    return Carrier("grpc://127.0.0.1:0", FaultyNetwork(GrpcNetwork()))


CARRIERS = {"memory": memory_carrier, "grpc": grpc_carrier}


class Cells:
    """Makes cells on one carrier, and stops them all."""

    def __init__(self, carrier: Carrier) -> None:
        self.network = carrier.network
        self.listen_url = carrier.url
        self._carrier = carrier
        self._made: list[CoreCell] = []
        #: Called at the end, before the cells are stopped: what lets threads of the test go.
        self.at_end: list[Callable[[], object]] = []

    def make(self, fqcn: str, **options: Any) -> Peer:
        """Return a cell that is not started."""
        cell = self._carrier.cell(fqcn, **options)
        cell.register_request_cb(_BARRIER, "*", return_none)
        self._made.append(cell)
        return cell

    def listen(self, fqcn: str = "server", *, url: str = "", config: CellConfig = QUICK) -> Peer:
        """Return a cell that listens."""
        cell = self.make(fqcn, listen=url or self.listen_url, config=config)
        cell.start()
        return cell

    def dial(
        self, parent: CoreCell, fqcn: str = "site", *, config: CellConfig = QUICK, network: Network | None = None
    ) -> Peer:
        """Return a cell that is connected with ``parent``."""
        cell = self.make(fqcn, connect=parent.listen_urls, config=config, network=network or self.network)
        cell.start()
        cell.wait_connected(PATIENCE_S)
        return cell

    def pair(self, *, sender: CellConfig = QUICK, receiver: CellConfig = QUICK) -> Pair:
        """Return two cells that are connected. The first one has dialled: faults ``TO_LISTENER`` hit what it sends."""
        server = self.listen(config=receiver)
        return Pair(self.dial(server, config=sender), server)

    def kill(self, cell: CoreCell) -> None:
        """End a cell so that the others hear nothing of it, as if its process had been killed."""
        self.network.stall()
        cell.stop(grace=0)
        self.network.cut()
        self.network.release()

    def stop(self) -> None:
        """Stop all cells, without grace, so that a test that fails does not wait."""
        for let_go in self.at_end:
            let_go()
        self.network.heal()
        for cell in reversed(self._made):
            cell.stop(grace=0)


@contextlib.contextmanager
def making_cells(carrier: Carrier) -> Iterator[Cells]:
    """Make cells, and stop them all at the end."""
    cells = Cells(carrier)
    try:
        yield cells
    finally:
        cells.stop()


@contextlib.contextmanager
def connected_pair(carrier: Carrier, config: CellConfig = QUICK) -> Iterator[Pair]:
    """Start a cell ``server`` and its child ``site``, wait until they are connected, and stop them at the end."""
    with making_cells(carrier) as cells:
        yield cells.pair(sender=config, receiver=config)


@contextlib.contextmanager
def running(cell: T) -> Iterator[T]:
    """Start ``cell`` and stop it at the end without grace, so that a test that fails does not wait."""
    cell.start()
    try:
        yield cell
    finally:
        cell.stop(0)


def name_of(target: CoreCell | str) -> str:
    return target if isinstance(target, str) else target.fqcn


def return_none(_request: Message) -> None:
    """Answer a request with nothing."""


def is_refused_its_name(cell: CoreCell) -> bool:
    """Tell whether a cell does not get connected because its name is in use."""
    try:
        cell.wait_connected(0.01)
    except NameInUse:
        return True
    except LinkError:
        return False
    return False
