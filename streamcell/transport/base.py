"""The seam between a cell and what carries its lanes: gRPC, and the network in memory.

A *lane* is the core's: frames in order both ways between two cells. A *carrier* is what carries one lane: batches of
bytes in order both ways. It is disposable: any failure ends it, and nothing is said about which of the batches in
flight arrived. A *network* makes carriers of one kind, by dialling and by listening. The *codec* makes batches of
frames and frames of batches. All methods are called on the engine's event loop.

**Parts.** A batch goes over the seam in parts: bytes, and views of bytes, that follow each other. Their bounds mean
nothing, and may be others where they arrive: a carrier joins them (gRPC, which copies them once by that), or passes
them on as they are. It needs a view no longer than its ``send`` takes: what its bytes are of may be changed after that,
so what is to travel later is copied. ``bytes`` never change, and may be kept.

**Leases.** What ``receive`` returns may lie in memory that is the carrier's, to be used again. Whoever holds a part, or
any view made of it, holds a lease of that memory:

- The bytes stay as they are until the last view is dropped. That ends the lease, by itself, in whichever thread it
  happens. Nobody calls anything for it, so nobody can forget it, or do it too early.
- The end of the lane changes nothing in that. What is lent outlives its carrier.
- A view may be held for as long as its holder likes: the core, a relay, a program that collects the pieces of a stream.
  A carrier never waits for memory that it has lent. When so much is out that it would run short, it hands out copies,
  which are the receiver's own.
- Who keeps a little of something large copies it, since a view keeps all of it from being used again. And who only
  waits for what comes next keeps nothing: a task drops what it has handed on before it waits.
- Nobody writes to what was lent: the views are read-only.

gRPC hands out ``bytes`` of the receiver's own, so that there is nothing to give back. The network in memory lends,
counts what it has lent, and overwrites what comes back, as a carrier does that uses its memory again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from streamcell.errors import CellError, ErrorCode, LinkError
from streamcell.limits import MESSAGE_BYTES
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Frame, Parts
from streamcell.transport.parts import size_of


class LaneClosed(Exception):
    """The lane has ended.

    :ivar refusal: set if whoever answers there refused the lane (authentication, permission, limits, not a cell), and
        would do so again. It need not be a cell, or not the one that listens there tomorrow.
    :ivar retry_after_s: for how long whoever answers there asks not to be dialled again; 0 if it does not say.
    """

    def __init__(self, reason: str, refusal: CellError | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.retry_after_s = retry_after_s


class AddressInUse(LinkError):
    """Something listens there.

    :ivar where: the place, in words.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"cannot listen at {where}: {reason}; choose another address, or end what uses it")
        self.where = where


def check_batch_size(batch: Parts) -> None:
    """Check that ``batch`` is not larger than what every cell takes.

    :raises LaneClosed: if it is, as a refusal: it would not fit through another lane either.
    """
    size = size_of(batch)
    if size > MESSAGE_BYTES:
        sentence = f"a batch of {size} bytes is larger than {MESSAGE_BYTES}: a bug in streamcell"
        raise LaneClosed(sentence, LinkError(sentence, ErrorCode.LIMIT))


class Codec(Protocol):
    """What makes batches of frames, and frames of batches. A module may be one: ``codec`` is.

    It holds nothing. Its functions may be called in any thread.
    """

    def encode_batch(self, frames: Sequence[Frame]) -> Parts:
        """Return the parts of a batch: payloads that are large as they are, not copied.

        The frames come from this cell's own core, so nothing is checked.
        """
        ...

    def decode_in_turns(self, parts: Parts) -> Iterator[list[Frame]]:
        """Yield the frames of a batch, whatever parts it has come in: no more at a time than a writer puts into one.

        Each turn is decoded when it is asked for, so that others can have theirs between. What is large in them may be
        views of the parts, and so hold leases of their memory. Frames of kinds that this version does not know are left
        out.

        :raises ProtocolError: if the batch is malformed, or anything in it breaks a limit or a rule of the wire.
        """
        ...


class Carrier(Protocol):
    """What carries one lane, seen from one side. Ordered; each batch arrives once or the lane ends.

    One task sends and one receives at a time. A task that waits in either is not to be cancelled, which may end the
    lane and lose what was given before: ``close`` is what wakes it.
    """

    @property
    def info(self) -> CarrierInfo:
        """What kind of carrier it is, and who is at the other side."""
        ...

    async def send(self, batch: Parts) -> None:
        """Give a batch to the carrier; returns when it has room for the next one (not when it was delivered).

        Of no bytes, if ``batch`` has none: it arrives, too.

        :raises LaneClosed: if the lane has ended; as a refusal if the batch is larger than every cell takes.
        """
        ...

    async def receive(self) -> Parts:
        """Return the next batch, with a lease of the memory that it lies in: see above.

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
    """What dials and listens: it makes carriers. One object may serve any number of cells."""

    async def dial(self, url: str, timeout_s: float) -> Carrier:
        """Return the carrier of a lane to the cell that listens at ``url``, over a connection of its own.

        :raises LaneClosed: if it cannot be reached within ``timeout_s``, or refuses; the reason names the URL.
        """
        ...

    async def listen(self, url: str, on_lane: Callable[[Carrier], None], *, insecure: bool) -> Listener:
        """Listen at ``url`` and call ``on_lane`` on the loop with the carrier of each lane that arrives.

        :param insecure: allow a plaintext listener on an address that is not loopback.
        :raises LinkError: if the address is busy or cannot be used, with host, port and reason.
        :raises UsageError: if the URL is malformed, or plaintext is not allowed there.
        """
        ...


@runtime_checkable
class Resolver(Protocol):
    """A network on which one URL may stand for several places: the addresses of its host, its *records*."""

    async def resolve(self, url: str, timeout_s: float) -> tuple[str, ...]:
        """Return the records of the host of ``url`` as they are now, in the order in which to prefer them.

        None if there is nothing to choose from: it is dialled as it is.

        :raises LaneClosed: if the host is not known, or not within ``timeout_s``; the reason names the URL.
        """
        ...

    async def dial_record(self, url: str, record: str, timeout_s: float) -> Carrier:
        """Do what ``dial`` of a network does, at that record of the host. Whoever is there is still asked for the host.

        :raises LaneClosed: as ``dial`` does.
        """
        ...
