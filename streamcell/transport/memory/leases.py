"""Memory that is lent to who receives, counted, and overwritten when it comes back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TypeAlias

from streamcell.limits import KIB, MIB
from streamcell.protocol.wire.frames import Parts, Payload

# Parts from this size on are lent, and so are views of any size: they are what a ring of slots would hold. The others
# are bytes, which nobody can change.
LENT_FROM_BYTES = 64 * KIB
# When so much is out, what comes next is copied for the receiver.
MOST_LENT_BYTES = 64 * MIB
# What the memory of a lease is overwritten with, so that whoever reads it after the end of the lease reads nonsense.
_POISON = b"\xdd" * (64 * KIB)


class Leases:
    """What one network has lent. Any thread may read it, and end a lease.

    :param most_bytes: when more is lent, receivers get copies.
    """

    def __init__(self, most_bytes: int = MOST_LENT_BYTES) -> None:
        self._most_bytes = most_bytes
        # Reentrant, because a lease may end anywhere, in here as well.
        self._lock = threading.RLock()
        self._given = self._open = self._open_bytes = 0

    @property
    def given(self) -> int:
        """How many there were."""
        return self._given

    @property
    def open(self) -> int:
        """How many have not ended: views of their memory are held."""
        return self._open

    @property
    def open_bytes(self) -> int:
        """The memory that these keep."""
        return self._open_bytes

    def store(self, batch: Parts) -> Stored:
        """Return a batch as it may travel on: in memory of its own, unless it is small and nobody can change it."""
        return [
            part if isinstance(part, bytes) and len(part) < LENT_FROM_BYTES else Lease(part, self) for part in batch
        ]

    def hand_out(self, stored: Stored) -> Parts:
        """Return what the receiver gets of what was stored: parts that are lent, or copies."""
        return [part.hand_out() if isinstance(part, Lease) else part for part in stored]

    def begin(self, size: int) -> bool:
        """Count a lease, if there is room for one of ``size`` bytes; return whether there is."""
        with self._lock:
            if self._open_bytes + size > self._most_bytes:
                return False
            self._given += 1
            self._open += 1
            self._open_bytes += size
            return True

    def end(self, size: int) -> None:
        """Count the end of a lease of ``size`` bytes."""
        with self._lock:
            self._open -= 1
            self._open_bytes -= size


class Lease(bytearray):
    """A copy of a part. Every view of it keeps it alive, and its end is the end of the lease."""

    def __init__(self, part: Payload, leases: Leases) -> None:
        super().__init__(part)
        self._leases = leases
        self._handed_out = False

    def hand_out(self) -> Payload:
        """Return a view with a lease, or a copy. To be called once, by who forgets this then."""
        if not self._leases.begin(len(self)):
            return bytes(self)
        self._handed_out = True
        return memoryview(self).toreadonly()

    def __del__(self) -> None:
        # In whichever thread dropped the last view; without a large allocation, since there may be no memory.
        for start in range(0, len(self), len(_POISON)):
            self[start : start + len(_POISON)] = _POISON[: len(self) - start]
        if self._handed_out:
            self._leases.end(len(self))


# A batch on its way.
Stored: TypeAlias = Sequence[bytes | Lease]
