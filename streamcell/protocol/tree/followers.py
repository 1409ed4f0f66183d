"""Announcements that wait behind a contested name: where a cell moves, those below it move with it."""

from __future__ import annotations

from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Announce


class Followers:
    """The latest announcement of each cell whose way leads over one of which the name is contested, by link."""

    def __init__(self) -> None:
        self._followed: dict[Link, dict[str, str]] = {}
        self._waiting: dict[tuple[Link, str], dict[str, Announce]] = {}

    def add(self, link: Link, leader: str, frame: Announce) -> None:
        """Have an announcement wait until it is decided whether ``leader`` is behind the link."""
        self.discard(link, frame.fqcn)
        self._followed.setdefault(link, {})[frame.fqcn] = leader
        self._waiting.setdefault((link, leader), {})[frame.fqcn] = frame

    def take(self, link: Link, leader: str) -> list[Announce]:
        """Return, and forget, what has waited for that."""
        frames = list(self._waiting.get((link, leader), {}).values())
        for frame in frames:
            self.discard(link, frame.fqcn)
        return frames

    def discard(self, link: Link, fqcn: str) -> None:
        """A cell is announced anew, or is not behind the link any more."""
        followed = self._followed.get(link, {})
        leader = followed.pop(fqcn, None)
        if leader is None:
            return
        waiting = self._waiting[link, leader]
        del waiting[fqcn]
        if not waiting:
            del self._waiting[link, leader]
        if not followed:
            del self._followed[link]

    def forget(self, link: Link) -> None:
        """Nothing is behind the link any more."""
        for fqcn in list(self._followed.get(link, ())):
            self.discard(link, fqcn)
