"""Networks that change what goes through them, beside what ``streamcell.testing`` offers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Chunk, Frame, Parts
from streamcell.transport.base import Carrier, Listener, Network
from streamcell.transport.codec import decode_batch, encode_batch

Tamper = Callable[[Parts], Parts]


class TamperingNetwork:
    """Any network, on which each batch that a dialler sends goes through a function of the test.

    What the function raises comes out of the lane's ``send``, as if the carrier had a bug.
    """

    def __init__(self, inner: Network, tamper: Tamper) -> None:
        self._inner = inner
        self._tamper = tamper

    async def dial(self, url: str, timeout_s: float) -> Carrier:
        return _TamperedCarrier(await self._inner.dial(url, timeout_s), self._tamper)

    async def listen(self, url: str, on_lane: Callable[[Carrier], None], *, insecure: bool) -> Listener:
        return await self._inner.listen(url, on_lane, insecure=insecure)


class _TamperedCarrier:
    def __init__(self, inner: Carrier, tamper: Tamper) -> None:
        self._inner = inner
        self._tamper = tamper

    @property
    def info(self) -> CarrierInfo:
        return self._inner.info

    async def send(self, batch: Parts) -> None:
        await self._inner.send(self._tamper(batch))

    async def receive(self) -> Parts:
        return await self._inner.receive()

    def watch(self, on_leaving: Callable[[], None]) -> None:
        self._inner.watch(on_leaving)

    async def close(self) -> None:
        await self._inner.close()


def for_each_frame(change: Callable[[Frame], Frame]) -> Tamper:
    """Return what puts another frame in the place of every frame of a batch, or the same."""

    def tamper(batch: Parts) -> Parts:
        changed = (change(frame) for frame in decode_batch(batch))
        return encode_batch(
            [dataclasses.replace(frame, encoded=None) if isinstance(frame, Chunk) else frame for frame in changed]
        )

    return tamper
