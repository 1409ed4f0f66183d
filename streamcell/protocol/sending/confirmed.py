"""What the target has confirmed of a stream."""

from __future__ import annotations


class Confirmed:
    """What the present life of the target has said that it has; of another life there is another object.

    ``consumed <= received``, and neither falls. An Ack is ``acknowledged``; one that came while both sides meant the
    same by an offset (``placed``) is ``taken_up`` as well: that life has begun to read the stream.

    :ivar received: the target has every byte below. ``consumed``: its reader has taken them.
    :ivar placed: false while the target is to choose the offset where the stream goes on.
    :ivar seen_before: an earlier life of the target has taken the stream up.
    :ivar refused_at: what was ``received`` when a cell on the way refused the stream last; None: none has.
    """

    __slots__ = ("acknowledged", "consumed", "placed", "received", "refused_at", "seen_before", "taken_up")

    def __init__(self, *, placed: bool, seen_before: bool = False) -> None:
        self.received = 0
        self.consumed = 0
        self.acknowledged = False
        self.taken_up = False
        self.placed = placed
        self.seen_before = seen_before
        self.refused_at: int | None = None

    def acknowledge(self) -> None:
        """Take note of an Ack."""
        self.acknowledged = True
        self.taken_up = self.placed

    def takes_refusal(self) -> bool:
        """Take in that a cell on the way refuses the stream; return whether that is final.

        Of what the target has acknowledged it is not: the stream asks for its way again. It is if nothing more arrives.
        """
        is_final = not self.acknowledged or self.refused_at == self.received
        self.refused_at = self.received
        return is_final

    def extend(self, received: int, consumed: int) -> None:
        """Take in how far the target says that it is; what is late says less, and takes nothing back."""
        self.received = max(self.received, received)
        self.consumed = max(self.consumed, consumed)

    def place(self, offset: int) -> None:
        """Take ``offset`` as where the target stands; at the first place of a life, whatever was confirmed before."""
        if not self.placed:
            self.placed = True
            self.received = self.consumed = offset
        self.received = max(self.received, offset)
