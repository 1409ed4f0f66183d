"""What a carrier of lanes is: the interface that gRPC and the in-memory network implement.

A lane carries batches of bytes in order in both directions between two cells, and is disposable: any failure ends it,
and nothing is said about which of the batches in flight arrived. All methods are called on the engine's event loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from streamcell.errors import CellError, ErrorCode, LinkError
from streamcell.limits import MESSAGE_BYTES


class LaneClosed(Exception):
    """The lane has ended.

    :ivar refusal: set if whoever answers there refused the lane (authentication, permission, limits, not a cell), and
        would do so again. It need not be a cell, or not the one that listens there tomorrow.
    """

    def __init__(self, reason: str, refusal: CellError | None = None) -> None:
        super().__init__(reason)
        self.refusal = refusal


class AddressInUse(LinkError):
    """Something listens there.

    :ivar where: the place, in words.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"cannot listen at {where}: {reason}; choose another address, or end what uses it")
        self.where = where


def check_batch_size(batch: bytes) -> None:
    """Check that ``batch`` is not larger than what every cell takes.

    :raises LaneClosed: if it is, as a refusal: it would not fit through another lane either.
    """
    if len(batch) > MESSAGE_BYTES:
        sentence = f"a batch of {len(batch)} bytes is larger than {MESSAGE_BYTES}: a bug in streamcell"
        raise LaneClosed(sentence, LinkError(sentence, ErrorCode.LIMIT))


@dataclasses.dataclass(frozen=True, slots=True)
class PeerInfo:
    """What the carrier knows of the other side: its address, and who it proved to be (empty: nobody)."""

    address: str
    identity: str = ""


class Lane(Protocol):
    """One lane. Ordered; each batch arrives once or the lane ends.

    One task sends and one receives at a time. A task that waits in either is not to be cancelled, which may end the
    lane and lose what was given before: ``close`` is what wakes it.
    """

    @property
    def peer(self) -> PeerInfo:
        """The other side."""
        ...

    async def send(self, batch: bytes) -> None:
        """Give a batch to the carrier; returns when it has room for the next one (not when it was delivered).

        :raises LaneClosed: if the lane has ended.
        """
        ...

    async def receive(self) -> bytes:
        """Return the next batch.

        :raises LaneClosed: when the lane has ended, also after a clean end of the call.
        """
        ...

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Have ``on_leaving`` called, on the loop and at most once, if the carrier says that the lane is about to end.

        For the side that dialled, which alone can open the next one.
        """
        ...

    async def close(self) -> None:
        """End the lane and release what it holds. Batches given to ``send`` before are delivered if possible.

        May be called at any time, more than once; a pending ``send`` or ``receive`` raises LaneClosed. One that waits
        for a peer that takes nothing may do so later, when the connection ends.
        """
        ...


class Listener(Protocol):
    """A place where lanes arrive."""

    @property
    def url(self) -> str:
        """Where it listens, with the real port."""
        ...

    async def close(self) -> None:
        """Stop listening and end all lanes that arrived here."""
        ...

    def leave_to_parent(self) -> None:
        """Let go, in a forked child, of what keeps the address busy. In the thread that has forked."""
        ...


class Network(Protocol):
    """A carrier: what dials and listens. One object may serve any number of cells."""

    async def dial(self, url: str, timeout_s: float) -> Lane:
        """Return a lane to the cell that listens at ``url``, over a connection of its own.

        :raises LaneClosed: if it cannot be reached within ``timeout_s``, or refuses; the reason names the URL.
        """
        ...

    async def listen(self, url: str, on_lane: Callable[[Lane], None], *, insecure: bool) -> Listener:
        """Listen at ``url`` and call ``on_lane`` on the loop for each lane that arrives.

        :param insecure: allow a plaintext listener on an address that is not loopback.
        :raises LinkError: if the address is busy or cannot be used, with host, port and reason.
        :raises UsageError: if the URL is malformed, or plaintext is not allowed there.
        """
        ...
