"""Which link leads to a cell. Imports ``link`` only."""

from __future__ import annotations

from collections.abc import Mapping

from streamcell.protocol.link import Link


class Router:
    """Finds the next hop: the link to the cell itself, where there is one."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self._links = links

    def next_hop(self, target: str) -> Link | None:
        """Return the link that leads to ``target``, or None while there is none."""
        return self._links.get(target)
