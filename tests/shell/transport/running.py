"""Running coroutines in tests: bounded in time, and leaving no task behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from streamcell.transport.base import Carrier, LaneClosed, Listener, Network
from streamcell.transport.grpc.event_loop import quiet_empty_wakeups
from streamcell.transport.parts import join
from tests.kit.timing import scaled

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], timeout_s: float = 20.0) -> T:
    """Runs `coroutine` on a loop of its own; fails if it hangs or leaves tasks behind."""

    async def main() -> T:
        # Other tests of the process have left the engine running, which is a second loop with gRPC on it.
        quiet_empty_wakeups(asyncio.get_running_loop())
        async with asyncio.timeout(scaled(timeout_s)):
            result = await coroutine
            await until(lambda: len(asyncio.all_tasks()) == 1)
        return result

    return asyncio.run(main())


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Waits until `condition` is true, for things that cannot be awaited."""
    async with asyncio.timeout(scaled(timeout_s)):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class Arrivals:
    """Where a listener puts the lanes that arrive."""

    def __init__(self) -> None:
        self.lanes: asyncio.Queue[Carrier] = asyncio.Queue()

    def __call__(self, lane: Carrier) -> None:
        self.lanes.put_nowait(lane)


class Pair:
    """A lane from both sides, and the listener between them."""

    def __init__(self, listener: Listener, dialled: Carrier, arrived: Carrier) -> None:
        self.listener = listener
        self.dialled = dialled
        self.arrived = arrived

    def sides(self, from_dialler: bool) -> tuple[Carrier, Carrier]:
        """Returns the side that the test is about, and the other one."""
        return (self.dialled, self.arrived) if from_dialler else (self.arrived, self.dialled)

    async def __aenter__(self) -> "Pair":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.dialled.close(), self.arrived.close())
        await self.listener.close()


async def open_pair(network: Network, url: str) -> Pair:
    arrivals = Arrivals()
    listener = await network.listen(url, arrivals, insecure=False)
    dialled = await network.dial(listener.url, scaled(3))
    return Pair(listener, dialled, await arrivals.lanes.get())


async def say(lane: Carrier, batch: bytes) -> None:
    """Sends a batch of one part."""
    await lane.send([batch])


async def hear(lane: Carrier) -> bytes:
    """Returns the next batch, joined."""
    return join(await lane.receive())


async def read_to_end(lane: Carrier) -> list[bytes]:
    """Returns all batches until the lane ends."""
    batches = []
    while True:
        try:
            batches.append(await hear(lane))
        except LaneClosed:
            return batches
