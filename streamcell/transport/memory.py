"""A network inside one process, for tests and examples.

Everything but the carrier is real: cells meet over it through the same core and codec as over gRPC,
and it is as strict as gRPC where a caller could come to rely on it being kinder.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import weakref
from collections.abc import Callable

from streamcell.errors import UsageError
from streamcell.limits import MIB
from streamcell.transport.address import Address, Scheme, parse_address
from streamcell.transport.base import AddressInUse, Lane, LaneClosed, Listener, PeerInfo, check_batch_size

# What one direction of a lane holds before its sender waits: about what a socket's buffers hold.
_PIPE_BYTES = 4 * MIB
_CLOSED_HERE = "the lane was closed here"
_CLOSED_THERE = "the other side closed the lane"


class _Pipe:
    """One direction of a lane: a queue of batches, bounded by their bytes."""

    def __init__(self) -> None:
        self._batches: collections.deque[bytes] = collections.deque()
        self._bytes = 0
        self._put_ended = ""
        self._get_ended = ""
        # Set after each change. Whoever waits looks again, and clears it before waiting on.
        self._changed = asyncio.Event()

    async def put(self, batch: bytes) -> None:
        while self._bytes >= _PIPE_BYTES and not self._put_ended:
            await self._change()
        if self._put_ended:
            raise LaneClosed(self._put_ended)
        self._batches.append(batch)
        self._bytes += len(batch)
        self._changed.set()

    async def get(self) -> bytes:
        while not self._batches:
            if self._get_ended:
                raise LaneClosed(self._get_ended)
            await self._change()
        batch = self._batches.popleft()
        self._bytes -= len(batch)
        self._changed.set()
        return batch

    def end_by_sender(self, reason: str) -> None:
        """Take nothing more. What is in it can still be taken out."""
        self._end(reason, _CLOSED_THERE)

    def end_by_receiver(self, reason: str) -> None:
        """Take nothing more, and drop what is in it."""
        self._batches.clear()
        self._bytes = 0
        self._end(_CLOSED_THERE, reason)

    def _end(self, to_sender: str, to_receiver: str) -> None:
        self._put_ended = self._put_ended or to_sender
        self._get_ended = self._get_ended or to_receiver
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class _MemoryLane:
    """One end of a lane."""

    def __init__(self, peer: PeerInfo, inbound: _Pipe, outbound: _Pipe) -> None:
        self._peer = peer
        self._inbound = inbound
        self._outbound = outbound

    @property
    def peer(self) -> PeerInfo:
        return self._peer

    async def send(self, batch: bytes) -> None:
        check_batch_size(batch)
        await self._outbound.put(batch)

    async def receive(self) -> bytes:
        return await self._inbound.get()

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """A lane in memory ends without notice."""

    async def close(self) -> None:
        self._outbound.end_by_sender(_CLOSED_HERE)
        self._inbound.end_by_receiver(_CLOSED_HERE)


class LoopLane:
    """A lane that ends where it begins: what a cell sends on it, it receives."""

    def __init__(self) -> None:
        self._pipe = _Pipe()

    @property
    def peer(self) -> PeerInfo:
        """The cell itself, which has no address for itself."""
        return PeerInfo("here")

    async def send(self, batch: bytes) -> None:
        """Give a batch to the receiving end."""
        check_batch_size(batch)
        await self._pipe.put(batch)

    async def receive(self) -> bytes:
        """Return the next batch that was sent."""
        return await self._pipe.get()

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Nobody ends the lane but its owner."""

    async def close(self) -> None:
        """End the lane."""
        self._pipe.end_by_receiver(_CLOSED_HERE)


class _MemoryListener:
    """A name in memory where lanes arrive."""

    def __init__(
        self,
        address: Address,
        on_lane: Callable[[Lane], None],
        on_close: Callable[[_MemoryListener], None],
    ) -> None:
        self.address = address
        self._on_lane = on_lane
        self._on_close = on_close
        self._lanes: weakref.WeakSet[_MemoryLane] = weakref.WeakSet()

    @property
    def url(self) -> str:
        return str(self.address)

    def accept(self, lane: _MemoryLane) -> None:
        self._lanes.add(lane)
        self._on_lane(lane)

    def leave_to_parent(self) -> None:
        """A name in memory is the child's own."""

    async def close(self) -> None:
        self._on_close(self)
        for lane in list(self._lanes):
            await lane.close()


class MemoryNetwork:
    """Carries lanes between the cells of one process, which are given the same network object.

    Addresses are ``memory://name``. Listening at ``memory://`` picks a free name. All of it is used
    on one event loop, as any network; the object itself may be made anywhere.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, _MemoryListener] = {}
        self._lane_numbers = itertools.count(1)

    async def dial(self, url: str, timeout_s: float) -> Lane:  # noqa: ARG002
        """Return a lane to the cell that listens at ``url``. See :class:`base.Network`."""
        address = _memory_address(url)
        await asyncio.sleep(0)  # never at once, as on a real network
        listener = self._listeners.get(address.name)
        if listener is None:
            raise LaneClosed(f"no cell listens at {url}")
        here = PeerInfo(f"{url}#{next(self._lane_numbers)}")
        there = PeerInfo(url)
        outbound, inbound = _Pipe(), _Pipe()
        listener.accept(_MemoryLane(here, inbound=outbound, outbound=inbound))
        return _MemoryLane(there, inbound=inbound, outbound=outbound)

    async def listen(
        self,
        url: str,
        on_lane: Callable[[Lane], None],
        *,
        insecure: bool,  # noqa: ARG002
    ) -> Listener:
        """Listen at ``url``. See :class:`base.Network`."""
        address = _memory_address(url)
        if not address.name:
            address = Address(Scheme.MEMORY, name=self._free_name())
        if address.name in self._listeners:
            raise AddressInUse(str(address), "another cell does")
        listener = _MemoryListener(address, on_lane, self._forget)
        self._listeners[address.name] = listener
        return listener

    def _forget(self, listener: _MemoryListener) -> None:
        name = listener.address.name
        if self._listeners.get(name) is listener:
            del self._listeners[name]

    def _free_name(self) -> str:
        return next(name for name in (f"cell-{number}" for number in itertools.count(1)) if name not in self._listeners)


def _memory_address(url: str) -> Address:
    address = parse_address(url)
    if address.scheme is not Scheme.MEMORY:
        raise UsageError(f"{url} is not in memory: use memory://name")
    return address
