"""The way that one attempt of a relayed stream goes on by.

Offsets: ``forwarded`` (every byte below was put on a lane), ``allowed_by_next`` (how far the next hop lets the stream
go: its highest Credit, or the initial credit before the first). ``forwarded`` only rises; a chunk that was put on a
faster lane than those before it is counted when they have caught up.
"""

from __future__ import annotations

from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Chunk


class Branch:
    """The link to the next hop, how far that lets the stream go, and what was put on which of its lanes.

    :ivar credit: the highest Credit of the next hop, or None before the first. Until then the stream keeps to one lane,
        so that its beginning is not overtaken.
    :ivar lane_id: that lane, from the first chunk on.
    :ivar lanes_used: the lanes that carried something which may not have arrived.
    """

    __slots__ = (
        "_beyond_gap",
        "allowed_by_next",
        "begin_offset",
        "credit",
        "forwarded",
        "lane_id",
        "lanes_used",
        "last_forwarded",
        "link",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.begin_offset = 0
        self.forwarded = 0
        self.allowed_by_next = 0
        self.credit: int | None = None
        self.lane_id: int | None = None
        self.lanes_used: set[int] = set()
        self.last_forwarded = False
        self._beyond_gap: dict[int, int] = {}

    def begin_at(self, offset: int) -> None:
        """The attempt begins here. Its first Credit may have come before, with the answer to the origin's question."""
        self.begin_offset = self.forwarded = offset
        self.allowed_by_next = max(self.allowed_by_next, offset + self.link.initial_credit)

    def on_credit(self, offset: int) -> None:
        """The next hop lets the stream go further, and from now on by any lane."""
        self.lane_id = None
        self.credit = offset if self.credit is None else max(self.credit, offset)
        self.allowed_by_next = max(self.allowed_by_next, offset)

    def on_forwarded(self, chunk: Chunk, lane_id: int) -> None:
        """A chunk was put on a lane."""
        self.lanes_used.add(lane_id)
        self.lane_id = lane_id if self.credit is None else None
        self.last_forwarded = self.last_forwarded or chunk.last
        end = chunk.offset + len(chunk.payload)
        if chunk.offset != self.forwarded:
            self._beyond_gap[chunk.offset] = end
            return
        self.forwarded = end
        while self._beyond_gap and (following := self._beyond_gap.pop(self.forwarded, None)) is not None:
            self.forwarded = following

    def on_lane_lost(self, lane_id: int) -> bool:
        """A lane broke; return whether it had carried anything of this attempt. Nothing is bound to a lane any more."""
        if lane_id not in self.lanes_used:
            return False
        self.lanes_used.discard(lane_id)
        self.lane_id = None
        return True

    def on_lane_emptied(self, lane_id: int) -> bool:
        """All that a lane carried has arrived; return whether the stream was bound to it."""
        self.lanes_used.discard(lane_id)
        if self.lane_id != lane_id:
            return False
        self.lane_id = None
        return True

    def is_confirmed_at(self, received: int) -> bool:
        """Return whether the target has all that went this way, when it has received everything below an offset.

        The beginning and the end of an attempt are confirmed by more than bytes: by the first Credit, and by the
        stream's last word.
        """
        return self.credit is not None and self.forwarded <= received and not self.last_forwarded

    def after_loss(self) -> Branch:
        """Return the same way with nothing of the attempt on it but how far it had come."""
        left = Branch(self.link)
        left.begin_offset, left.forwarded, left.last_forwarded = self.begin_offset, self.forwarded, self.last_forwarded
        return left
