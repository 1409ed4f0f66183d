"""A cell that is stopped while it is being started is stopped, whoever does so."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable

import pytest

from streamcell import CoreCell, LinkError, UsageError, aio, running_cells
from streamcell.testing import InMemoryNetwork
from streamcell.transport.base import Carrier, Listener
from tests.kit.waiting import PATIENCE_S, eventually

URL = "memory://cell"
STOPPED = "was stopped while it was being started: make a new CoreCell"


class Slow(InMemoryNetwork):
    """A network on which it takes until ``let`` is called to listen, and fails if that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self._outcome: concurrent.futures.Future[None] = concurrent.futures.Future()

    def let(self, error: Exception | None = None) -> None:
        """Let what listens do so, now and later; or fail."""
        if error is None:
            self._outcome.set_result(None)
        else:
            self._outcome.set_exception(error)

    async def listen(self, url: str, on_lane: Callable[[Carrier], None], *, insecure: bool = False) -> Listener:
        self.asked.set()
        await asyncio.wrap_future(self._outcome)
        return await super().listen(url, on_lane, insecure=insecure)


@pytest.fixture
def network() -> Slow:
    return Slow()


def assert_stopped(cell: CoreCell, network: Slow) -> None:
    """It has ended for good, and left nothing behind."""
    assert "has been stopped" in repr(cell)
    assert cell not in running_cells()
    cell.stop()
    with pytest.raises(UsageError, match="has been stopped: make a new CoreCell"):
        cell.start()
    with CoreCell("next", listen=URL, network=network) as following:
        assert following.listen_urls == [URL]


def test_case_1_10_by_other_threads(network: Slow) -> None:
    cell = CoreCell("cell", listen=URL, network=network)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        started = pool.submit(cell.start)
        assert network.asked.wait(PATIENCE_S)
        stops = [pool.submit(cell.stop, 0) for _ in range(2)]
        # Both have asked, or will; whoever comes when the start has ended finds a cell that is stopped, or stops it.
        eventually(lambda: any(stop.running() for stop in stops))
        network.let()
        for stop in stops:
            assert stop.result(PATIENCE_S) is None
        error = started.exception(PATIENCE_S)
    assert error is None or STOPPED in str(error)
    assert_stopped(cell, network)


def test_case_1_10_by_the_handler_of_a_signal(network: Slow) -> None:
    cell = CoreCell("cell", listen=URL, network=network)

    def stop(*_: object) -> None:
        network.let()
        cell.stop(0)

    def interrupt() -> None:
        assert network.asked.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    other = threading.Thread(target=interrupt)
    try:
        other.start()
        cell.start()
    except UsageError as error:
        assert STOPPED in str(error)  # noqa: PT017 - or the start was quicker
    finally:
        other.join(PATIENCE_S)
        signal.signal(signal.SIGUSR1, before)
    assert_stopped(cell, network)


def test_case_1_10_by_another_task(network: Slow) -> None:
    async def main() -> None:
        cell = aio.CoreCell("cell", listen=URL, network=network)
        starting = asyncio.create_task(cell.start())
        await asyncio.to_thread(network.asked.wait, PATIENCE_S)
        stopping = asyncio.create_task(cell.stop(0))
        # It has asked when this runs on.
        await asyncio.sleep(0)
        network.let()
        with pytest.raises(UsageError, match=STOPPED):
            await starting
        await stopping
        assert aio.running_cells() == []
        with pytest.raises(UsageError, match="has been stopped"):
            await cell.start()

    asyncio.run(main())


def test_case_1_10_of_a_start_that_fails(network: Slow) -> None:
    async def main() -> None:
        cell = aio.CoreCell("cell", listen=URL, network=network)
        starting = asyncio.create_task(cell.start())
        await asyncio.to_thread(network.asked.wait, PATIENCE_S)
        stopping = asyncio.create_task(cell.stop(0))
        await asyncio.sleep(0)
        network.let(LinkError("nobody can listen here"))
        with pytest.raises(LinkError, match="nobody can listen here"):
            await starting
        await stopping
        with pytest.raises(UsageError, match="has been stopped"):
            await cell.start()

    asyncio.run(main())
