"""Everybody whom a cell dials, by number."""

from __future__ import annotations

from streamcell.protocol.base.context import Context
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.uplink import Uplink, UplinkKeeper


class Dialler:
    """The uplinks: to the parent, and for shortcuts."""

    def __init__(self, context: Context, keeper: UplinkKeeper) -> None:
        self._uplinks: dict[int, Uplink] = {}
        self._context = context
        self._keeper = keeper
        self._next_number = 0

    def add_uplink(self, now: float, places: int = 1, kind: LinkKind = LinkKind.PARENT) -> Uplink:
        """Begin to dial another cell, which may be reached at so many places."""
        uplink = Uplink(self._context, self._keeper, self._next_number, places, kind)
        self._uplinks[uplink.number] = uplink
        self._next_number += 1
        uplink.tend(now)
        return uplink

    def add_place(self, number: int, beside: int, now: float) -> int:
        """One of the places of an uplink turns out to be one more."""
        return self._uplinks[number].add_place(beside, now)

    def remove_place(self, number: int, place: int) -> None:
        """A place of an uplink is no more."""
        self._uplinks[number].remove_place(place)

    def hurry(self, number: int, now: float) -> None:
        """Somebody waits for this uplink to come up, or to be refused again."""
        self._uplinks[number].hurry(now)

    def remove_shortcut(self, number: int, now: float) -> None:
        """End a shortcut that this side has dialled, and dial it no more."""
        self._uplinks.pop(number).close(now)

    def has_said(self, claim_id: int, listener: str) -> bool:
        """Return whether a Hello of this cell, not answered yet, has that number, and may well be for that cell."""
        return claim_id != 0 and any(uplink.has_said(claim_id, listener) for uplink in self._uplinks.values())

    def on_link_ended(self, link: Link, now: float) -> None:
        """A link may not last any more: dial what rests on it."""
        for uplink in list(self._uplinks.values()):
            uplink.on_other_link_ended(link, now)

    def stop(self) -> None:
        """Dial no more."""
        for uplink in self._uplinks.values():
            uplink.stop()
