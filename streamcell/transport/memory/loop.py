"""The lane of a cell to itself."""

from __future__ import annotations

from collections.abc import Callable

from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Parts
from streamcell.transport.base import check_batch_size
from streamcell.transport.memory.pipe import Pipe
from streamcell.transport.parts import size_of


class LoopCarrier:
    """Carries a lane that ends where it begins: what a cell sends on it, it receives.

    Each part arrives as ``bytes``, of the receiver's own: there are no leases.
    """

    def __init__(self) -> None:
        self._pipe: Pipe[Parts] = Pipe()

    @property
    def info(self) -> CarrierInfo:
        """The cell itself, which has no address for itself."""
        return CarrierInfo("memory", "here")

    async def send(self, batch: Parts) -> None:
        """Give a batch to the receiving end."""
        check_batch_size(batch)
        await self._pipe.wait_for_room()
        self._pipe.put([bytes(part) for part in batch], size_of(batch))

    async def receive(self) -> Parts:
        """Return the next batch that was sent."""
        return await self._pipe.get()

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Nobody ends the lane but its owner."""

    async def close(self) -> None:
        """End the lane."""
        self._pipe.end_by_receiver()
