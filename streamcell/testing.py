"""Test doubles for applications and for streamcell itself: networks with faults, and a clock.

Faults are set by the thread of a test while cells work in theirs: everything here that is not a
coroutine may be called from any thread, at any time, and returns at once. A fault takes effect when
the next batch passes, a cut as soon as the event loop comes to it; to see it, wait for what the
cell does about it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from streamcell.errors import UsageError
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Chunk, Parts
from streamcell.security.credentials import Credentials
from streamcell.transport.base import Carrier, LaneClosed, Listener, Network
from streamcell.transport.codec import decode_batch, encode_batch
from streamcell.transport.memory.network import MemoryNetwork
from streamcell.transport.parts import size_of

__all__ = ["Direction", "FakeClock", "FaultyLane", "FaultyNetwork", "InMemoryNetwork"]

_T = TypeVar("_T")

_CUT = "a test has cut the lane"


class FakeClock:
    """A clock that stands still: calling it returns the time in seconds that was set.

    Never goes backwards. May be used by any number of threads.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Let ``seconds`` pass, and return the new time.

        :raises UsageError: if ``seconds`` is negative.
        """
        if not seconds >= 0:
            raise UsageError(f"a clock cannot go back by {-seconds} seconds")
        with self._lock:
            self._now += seconds
            return self._now


class Direction(enum.Enum):
    """Which way batches go on a lane."""

    TO_LISTENER = "to listener"
    TO_DIALLER = "to dialler"


BOTH = (Direction.TO_LISTENER, Direction.TO_DIALLER)


@dataclasses.dataclass(slots=True)
class _Cut:
    """Loses a batch, and with it the lane, when so much has passed."""

    direction: Direction
    batches: float
    size_bytes: float
    spent: bool = False

    def apply(self, batch: Parts) -> Parts | None:
        self.batches -= 1
        self.size_bytes -= size_of(batch)
        self.spent = self.batches <= 0 or self.size_bytes <= 0
        return None if self.spent else batch


@dataclasses.dataclass(slots=True)
class _Corruption:
    """Changes the n-th batch that can be changed so."""

    direction: Direction
    batches: int
    change: Callable[[Parts], Parts | None]
    spent: bool = False

    def apply(self, batch: Parts) -> Parts:
        corrupted = self.change(batch)
        if corrupted is None:
            return batch
        self.batches -= 1
        self.spent = self.batches <= 0
        return corrupted if self.spent else batch


class FaultyNetwork:
    """Any network, with faults: wraps the network that carries the lanes, and is given to cells.

    The faults act where lanes are dialled, on what passes in either direction, so it is enough that
    the dialling cell has this network. Listening is passed through.

    What a lane guarantees stays true: batches arrive in order and once, or the lane ends.
    """

    def __init__(self, inner: Network) -> None:
        self._inner = inner
        self._refusing = False
        self._stalled: frozenset[Direction] = frozenset()
        self._delay_s = 0.0
        self._rules: list[_Cut | _Corruption] = []
        self._lanes: list[FaultyLane] = []
        self._dials = 0
        # Tasks that wait for this network's faults to change, with the loop that each runs on.
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    # --- what a test sees and does

    @property
    def dials(self) -> int:
        """How often a cell has tried to dial, refused or not."""
        return self._dials

    @property
    def lanes(self) -> tuple[FaultyLane, ...]:
        """The living lanes that were dialled here, oldest first."""
        return tuple(self._lanes)

    def refuse_dials(self, refuse: bool = True) -> None:
        """Let dialling fail at once from now on, or, with False, work again."""
        self._refusing = refuse

    def cut(self) -> None:
        """Cut all living lanes. What is on its way is lost, or not, as on a real network."""
        for lane in self.lanes:
            lane.cut()

    def announce_ends(self) -> None:
        """Tell the dialler of every lane that it is about to end; they go on until they are cut or given up."""
        for lane in self.lanes:
            lane.announce_end()

    def cut_after(
        self,
        *,
        batches: int | None = None,
        size_bytes: int | None = None,
        direction: Direction = Direction.TO_LISTENER,
    ) -> None:
        """Cut the lane that carries the n-th batch, or the n-th byte, from now on. Happens once.

        Counted over all lanes in ``direction``. That batch itself is lost.

        :raises UsageError: unless one of the two is given, and is above 0.
        """
        if (batches is None) == (size_bytes is None) or (batches or size_bytes or 0) <= 0:
            raise UsageError("give either batches or size_bytes, above 0")
        self._rules.append(_Cut(direction, batches or math.inf, size_bytes or math.inf))

    def corrupt_payload(self, batch: int = 1, *, direction: Direction = Direction.TO_LISTENER) -> None:
        """Change one byte of payload in the n-th batch from now on that has any. Happens once."""
        self._rules.append(_Corruption(direction, batch, _with_corrupt_payload))

    def corrupt_batch(self, batch: int = 1, *, direction: Direction = Direction.TO_LISTENER) -> None:
        """Let the n-th batch from now on arrive as bytes that no cell can read. Happens once."""
        self._rules.append(_Corruption(direction, batch, _unreadable))

    def stall(self, *directions: Direction) -> None:
        """Let nothing pass, as when a cable is pulled: no batch, no end of a lane, no dialling.

        :param directions: which way; both if none is given. Dialling needs both.
        """
        self._stalled = self._stalled.union(directions or BOTH)

    def release(self) -> None:
        """End a stall. What was held back goes on, in order."""
        self._stalled = frozenset()
        for loop, changed in tuple(self._waiting):
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

    def delay(self, seconds: float) -> None:
        """Hold each batch for ``seconds`` before the next one of its direction may come."""
        self._delay_s = seconds

    def heal(self) -> None:
        """Take back all faults that have not happened yet, and end a stall."""
        self._refusing = False
        self._delay_s = 0.0
        self._rules = []
        self.release()

    # --- what a cell does

    async def dial(self, url: str, timeout_s: float) -> Carrier:
        """Return the carrier of a lane with this network's faults. See :class:`transport.base.Network`."""
        self._dials += 1
        if self._refusing:
            await asyncio.sleep(0)
            raise LaneClosed(f"{url} cannot be dialled: a test refuses it")
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait_released(*BOTH)
        except TimeoutError as error:
            raise LaneClosed(f"{url} did not answer within {timeout_s:g} s") from error
        lane = FaultyLane(self, await self._inner.dial(url, timeout_s))
        self._lanes.append(lane)
        return lane

    async def listen(self, url: str, on_lane: Callable[[Carrier], None], *, insecure: bool) -> Listener:
        """Listen on the network that is wrapped."""
        return await self._inner.listen(url, on_lane, insecure=insecure)

    def with_credentials(self, credentials: Credentials) -> FaultyNetwork:
        """Have the network that is wrapped use the certificates of one cell; returns this network."""
        with_credentials = getattr(self._inner, "with_credentials", None)
        if with_credentials is None:
            raise UsageError(f"{type(self._inner).__name__} has no TLS")
        self._inner = with_credentials(credentials)
        return self

    # --- for lanes

    def is_stalled(self, *directions: Direction) -> bool:
        """Return whether any of ``directions`` is stalled."""
        return not self._stalled.isdisjoint(directions)

    async def wait_released(self, *directions: Direction) -> None:
        """Wait while any of ``directions`` is stalled."""
        changed = asyncio.Event()
        entry = (asyncio.get_running_loop(), changed)
        self._waiting.add(entry)
        try:
            while self.is_stalled(*directions):
                changed.clear()
                await changed.wait()
        finally:
            self._waiting.discard(entry)

    async def carry(self, direction: Direction, batch: Parts) -> Parts | None:
        """Return ``batch`` as it arrives, when it arrives; None if its lane is to be cut."""
        await self.wait_released(direction)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        carried: Parts | None = batch
        for rule in tuple(self._rules):
            if carried is not None and rule.direction is direction and not rule.spent:
                carried = rule.apply(carried)
        return carried

    def drop(self, lane: FaultyLane, closing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Forget ``lane``, and see to it that it is closed."""
        if lane in self._lanes:
            self._lanes.remove(lane)
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


class FaultyLane:
    """A lane of a :class:`FaultyNetwork`, seen from the side that dialled it."""

    def __init__(self, network: FaultyNetwork, inner: Carrier) -> None:
        self._network = network
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._on_leaving: Callable[[], None] | None = None

    @property
    def info(self) -> CarrierInfo:
        """What carries it, and the other side."""
        return self._inner.info

    def cut(self) -> None:
        """Break the lane for both sides. May be called from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cut)

    async def send(self, batch: Parts) -> None:
        """Send as the network's faults allow."""
        carried = await self._on_the_way(self._network.carry(Direction.TO_LISTENER, batch))
        if carried is None:
            self._cut()
            raise LaneClosed(_CUT)
        await self._unless_ended(self._inner.send(carried))

    async def receive(self) -> Parts:
        """Receive as the network's faults allow."""
        try:
            batch = await self._unless_ended(self._inner.receive())
        except LaneClosed:
            await self._on_the_way(self._network.wait_released(Direction.TO_DIALLER))
            raise
        carried = await self._on_the_way(self._network.carry(Direction.TO_DIALLER, batch))
        if carried is None:
            self._cut()
            raise LaneClosed(_CUT)
        return carried

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Have ``on_leaving`` called when a test announces the end."""
        self._on_leaving = on_leaving
        self._inner.watch(self._announce_end)

    def announce_end(self) -> None:
        """Tell the dialler that the lane is about to end, as a proxy does (GOAWAY). May be called from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._announce_end)

    async def close(self) -> None:
        """End the lane. While the network is stalled the other side does not hear of it."""
        if self._end("the lane was closed here"):
            closing = self._network.drop(self, self._close())
            if not self._network.is_stalled(Direction.TO_LISTENER):
                await asyncio.shield(closing)

    async def _close(self) -> None:
        await self._network.wait_released(Direction.TO_LISTENER)
        await self._inner.close()

    def _announce_end(self) -> None:
        on_leaving, self._on_leaving = self._on_leaving, None
        if on_leaving is not None and not self._ended.done():
            on_leaving()

    def _cut(self) -> None:
        if self._end(_CUT):
            self._network.drop(self, self._inner.close())

    def _end(self, reason: str) -> bool:
        if self._ended.done():
            return False
        self._ended.set_result(reason)
        return True

    async def _unless_ended(self, operation: Awaitable[_T]) -> _T:
        """Return what ``operation`` returns, unless the lane ends before.

        It is not cancelled then: one on the lane that is wrapped ends when that is closed.
        """
        task = asyncio.ensure_future(operation)
        task.add_done_callback(_take_exception)
        either: set[asyncio.Future[Any]] = {task, self._ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            raise LaneClosed(self._ended.result())
        return task.result()

    async def _on_the_way(self, passing: Awaitable[_T]) -> _T:
        """Return what ``passing`` through the network returns, unless the lane ends before."""
        task = asyncio.ensure_future(passing)
        try:
            return await self._unless_ended(task)
        finally:
            task.cancel()


class InMemoryNetwork(FaultyNetwork):
    """A network inside the process, with faults: nothing is opened, nothing is waited for.

    Give the same one to all cells that are to meet; addresses are ``memory://name``.
    """

    def __init__(self) -> None:
        super().__init__(MemoryNetwork())


def _take_exception(task: asyncio.Future[Any]) -> None:
    """Take the exception of a task that nobody may be waiting for any more."""
    if not task.cancelled():
        task.exception()


def _unreadable(batch: Parts) -> Parts:
    """Return as many bytes that are no frames: a field that is longer than the batch."""
    return (b"\x0a" + b"\xff" * max(1, size_of(batch) - 1),)


def _with_corrupt_payload(batch: Parts) -> Parts | None:
    """Return the batch with one byte of its first payload changed, None if it has none."""
    frames = decode_batch(batch)
    for place, frame in enumerate(frames):
        if isinstance(frame, Chunk) and len(frame.payload) > 0:
            payload = bytearray(frame.payload)
            payload[len(payload) // 2] ^= 0xFF
            frames[place] = dataclasses.replace(frame, payload=bytes(payload), encoded=None)
            return encode_batch(frames)
    return None
