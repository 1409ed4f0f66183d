"""Cells for tests: pairs of them over the in-memory network or gRPC, and waiting for what happens in other threads."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from streamcell import CellConfig, CoreCell, StreamCell
from streamcell.testing import InMemoryNetwork
from tests.timing import scaled

T = TypeVar("T")

# Most that anything here may take. Only a failing test comes near it.
PATIENCE_S = scaled(30.0)

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


class Box(Generic[T]):
    """Takes things in any thread, for the test to wait for."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()

    def put(self, thing: T) -> None:
        """Take a thing."""
        self._queue.put(thing)

    def get(self, seconds: float = PATIENCE_S) -> T:
        """Wait for the next thing."""
        return self._queue.get(timeout=seconds)

    def get_all(self, count: int) -> list[T]:
        """Wait for ``count`` things."""
        return [self.get() for _ in range(count)]

    def is_empty(self) -> bool:
        """Return whether nothing is there now."""
        return self._queue.empty()


def eventually(check: Callable[[], bool], what: str = "", seconds: float = PATIENCE_S) -> None:
    """Wait for what nobody announces: look again and again until ``check`` holds."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or check}")
        pause.wait(0.005)


def pattern(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes in which every piece tells where it belongs."""
    block = b"".join((seed + index).to_bytes(4, "little") for index in range(4096))
    whole, rest = divmod(size, len(block))
    return b"".join((seed + number).to_bytes(8, "big") + block[8:] for number in range(whole)) + block[:rest]


class Gate:
    """Where callbacks wait until the test lets them through; at the end of a ``with`` it opens by itself."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._arrived = threading.Semaphore(0)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def open(self) -> None:
        """Let all through, now and later."""
        self._open.set()

    def pass_through(self) -> None:
        """Wait here until it is open."""
        self._arrived.release()
        if not self._open.wait(3 * PATIENCE_S):
            raise AssertionError("nobody opened the gate")

    def wait_arrived(self, count: int = 1) -> None:
        """Wait until ``count`` threads have come."""
        for _ in range(count):
            if not self._arrived.acquire(timeout=PATIENCE_S):
                raise AssertionError("nobody came to the gate")
