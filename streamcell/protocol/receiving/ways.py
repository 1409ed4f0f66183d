"""Which received streams are told of by which link, so that what becomes of a lane or link concerns those only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamcell.protocol.links.link import Link
    from streamcell.protocol.receiving.news import News


class Ways:
    """The news of every stream that has not ended and has a way to its origin. They enter and leave by themselves."""

    def __init__(self) -> None:
        self._by_link: dict[Link, dict[News, None]] = {}

    def by(self, link: Link) -> list[News]:
        """Return those that go by a link, in the order in which they took it."""
        return list(self._by_link.get(link, ()))

    def on_way_taken(self, link: Link, news: News) -> None:
        """From now on it goes by this link."""
        others = self._by_link.get(link)
        if others is None:
            others = self._by_link[link] = {}
        others[news] = None

    def on_way_left(self, link: Link, news: News) -> None:
        """It does not go by this link any more."""
        others = self._by_link[link]
        del others[news]
        if not others:
            del self._by_link[link]
