"""A network inside one process, for tests and examples.

Everything but the carrier is real: cells meet over it through the same core and codec as over gRPC,
and it is as strict as gRPC where a caller could come to rely on it being kinder.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable
from typing import TypeAlias

from streamcell.errors import UsageError
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Parts
from streamcell.transport.address import Address, Scheme, parse_address
from streamcell.transport.base import AddressInUse, Carrier, LaneClosed, Listener, check_batch_size
from streamcell.transport.memory.leases import MOST_LENT_BYTES, Leases, Stored
from streamcell.transport.memory.pipe import Pipe
from streamcell.transport.parts import size_of

_Pipe: TypeAlias = Pipe[Stored]


class _MemoryCarrier:
    """One end of a lane. What is sent is copied once, part by part, and lent to who receives it."""

    def __init__(self, info: CarrierInfo, inbound: _Pipe, outbound: _Pipe, leases: Leases) -> None:
        self._info = info
        self._inbound = inbound
        self._outbound = outbound
        self._leases = leases

    @property
    def info(self) -> CarrierInfo:
        return self._info

    async def send(self, batch: Parts) -> None:
        check_batch_size(batch)
        await self._outbound.wait_for_room()
        self._outbound.put(self._leases.store(batch), size_of(batch))

    async def receive(self) -> Parts:
        return self._leases.hand_out(await self._inbound.get())

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """A lane in memory ends without notice."""

    async def close(self) -> None:
        self._outbound.end_by_sender()
        self._inbound.end_by_receiver()


class _MemoryListener:
    """A name in memory where lanes arrive."""

    def __init__(
        self,
        address: Address,
        on_lane: Callable[[Carrier], None],
        on_close: Callable[[_MemoryListener], None],
    ) -> None:
        self.address = address
        self._on_lane = on_lane
        self._on_close = on_close
        self._lanes: weakref.WeakSet[_MemoryCarrier] = weakref.WeakSet()

    @property
    def url(self) -> str:
        return str(self.address)

    def accept(self, lane: _MemoryCarrier) -> None:
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

    :ivar leases: what is lent of the memory that large parts arrive in. It is overwritten when it
        comes back.
    :param most_lent_bytes: when more is lent, receivers get copies.
    """

    def __init__(self, most_lent_bytes: int = MOST_LENT_BYTES) -> None:
        self.leases = Leases(most_lent_bytes)
        self._listeners: dict[str, _MemoryListener] = {}
        self._lane_numbers = itertools.count(1)

    async def dial(self, url: str, timeout_s: float) -> Carrier:  # noqa: ARG002
        """Return the carrier of a lane to the cell that listens at ``url``. See :class:`base.Network`."""
        address = _memory_address(url)
        await asyncio.sleep(0)  # never at once, as on a real network
        listener = self._listeners.get(address.name)
        if listener is None:
            raise LaneClosed(f"no cell listens at {url}")
        here = CarrierInfo("memory", f"{url}#{next(self._lane_numbers)}")
        there = CarrierInfo("memory", url)
        outbound, inbound = _Pipe(), _Pipe()
        listener.accept(_MemoryCarrier(here, inbound=outbound, outbound=inbound, leases=self.leases))
        return _MemoryCarrier(there, inbound=inbound, outbound=outbound, leases=self.leases)

    async def listen(
        self,
        url: str,
        on_lane: Callable[[Carrier], None],
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
