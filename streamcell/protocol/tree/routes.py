"""Which link leads to a cell, and which cells are behind a link.

A way is looked for in this order: a shortcut to the cell itself while it works, the link over which the cell was
announced, the uplink. What came over the uplink never goes back there, and each frame counts its hops, so no frame
goes round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from streamcell.protocol.base.context import Context
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link

# Asked for each frame: found once, since a member of an enumeration is found slowly before Python 3.12.
_PARENT, _SHORTCUT = LinkKind.PARENT, LinkKind.SHORTCUT


class Route(Timed):
    """A cell below this one, and the link that it was announced over.

    :ivar path: the cells that the announcement came through, the announced cell first, the neighbour last.
    :ivar since: when it became known here.
    :ivar confirmed: whether the cells above agree that the name is this cell's. Nothing goes by a route before.
    """

    __slots__ = (
        "address",
        "confirmed",
        "epoch",
        "fqcn",
        "incarnation",
        "link",
        "on_timer",
        "path",
        "since",
        "software",
    )

    def __init__(
        self,
        *,
        fqcn: str,
        incarnation: int,
        epoch: int,
        path: tuple[str, ...],
        link: Link,
        software: str,
        address: str,
        since: float,
        on_timer: Callable[[Route, float], None],
    ) -> None:
        super().__init__()
        self.fqcn = fqcn
        self.incarnation = incarnation
        self.epoch = epoch
        self.path = path
        self.link = link
        self.software = software
        self.address = address
        self.since = since
        self.on_timer = on_timer
        self.confirmed = False

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to whoever keeps the routes."""
        self.on_timer(self, now)


class RouteTable:
    """The cells below this one, its parent and its shortcuts. Decides nothing about who may have which name."""

    def __init__(self, context: Context, links: Mapping[str, Link], loop: Link) -> None:
        #: The link of the cell to itself.
        self.loop = loop
        #: The link to the parent, from when it has taken this cell's name until it is down.
        self.parent: Link | None = None
        self._fqcn = context.fqcn
        self._links = links
        self._routes: dict[str, Route] = {}
        self._over: dict[Link, dict[str, Route]] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def count_known(self) -> int:
        """Return the most cells to which there is a link or a route."""
        return len(self._routes) + len(self._links) + 1

    # Ways.

    def next_hop(self, target: str) -> Link | None:
        """Return the link that this cell's own frames for ``target`` go by, or None while there is none."""
        if target == self._fqcn:
            return self.loop
        neighbour = self._links.get(target)
        if neighbour is not None and self._is_working_shortcut(neighbour):
            return neighbour
        return self.relay_hop(target)

    def leads_to(self, fqcn: str) -> bool:
        """Return whether a cell is a neighbour, or known to be behind one that is no parent."""
        return fqcn == self._fqcn or fqcn in self._links or fqcn in self._routes

    def relay_hop(self, target: str) -> Link | None:
        """Return the link that the frames of others for ``target``, another cell, go by: never a shortcut."""
        route = self._routes.get(target)
        if route is not None and route.confirmed:
            return route.link
        return self.parent

    def way_to_holder(self, fqcn: str, asking: Link | None = None) -> Link | None:
        """Return the link by which it is asked who has a name. The parent asks for what this cell has announced.

        For all others a name that the cells above have not agreed to may be one that somebody claims only: they are
        asked, so that whoever claims a name is not asked for its holder.

        :param asking: the link by which the question comes; None for this cell's own.
        """
        route = self._routes.get(fqcn)
        if route is None or not (route.confirmed or self.parent is None or asking is self.parent):
            return self.parent
        return route.link

    def leads_back(self, link: Link, fqcn: str) -> bool:
        """Return whether a cell was announced over ``link``, whether the cells above agree by now or not."""
        return fqcn in self._over.get(link, {})

    def admits(self, link: Link, source: str, destination: str) -> bool:
        """Return whether a frame that ``source`` has made may come over ``link`` on its way to ``destination``."""
        if link is self.loop:
            return source == self._fqcn
        if link.kind is _SHORTCUT:
            return source == link.fqcn and destination in ("", self._fqcn) and self._is_working_shortcut(link)
        route = self._routes.get(source)
        if link.kind is _PARENT:
            return source != self._fqcn and (route is None or not route.confirmed)
        return route is not None and route.link is link and route.confirmed

    def _is_working_shortcut(self, link: Link) -> bool:
        """Return whether ``link`` is a shortcut that works, and leads to the life of the cell that the tree knows."""
        if link.kind is not _SHORTCUT or link.control_lane() is None:
            return False
        route = self._routes.get(link.fqcn)
        return route is None or not route.confirmed or route.incarnation == link.incarnation

    # The parent.

    def on_parent_up(self, link: Link) -> None:
        """The parent has taken this cell's name: what is not below goes there."""
        self.parent = link

    def on_parent_down(self, link: Link) -> None:
        """A link is gone, which may have been that to the parent."""
        if link is self.parent:
            self.parent = None

    # Cells below.

    def get(self, fqcn: str) -> Route | None:
        """Return what is known of a cell below, or None."""
        return self._routes.get(fqcn)

    def all(self) -> list[Route]:
        """Return every cell below, parents before their children."""
        return sorted(self._routes.values(), key=lambda route: len(route.path))

    def over(self, link: Link) -> list[Route]:
        """Return the cells that were announced over ``link``."""
        return list(self._over.get(link, {}).values())

    def count_over(self, link: Link) -> int:
        """Return how many cells were announced over ``link``."""
        return len(self._over.get(link, ()))

    def add(self, route: Route) -> None:
        """Add a cell, or replace what was known of it."""
        self.remove(route.fqcn)
        self._routes[route.fqcn] = route
        self._over.setdefault(route.link, {})[route.fqcn] = route

    def on_confirmed(self, route: Route) -> None:
        """The cells above agree that the name is that cell's, or say nothing: frames may go by the route."""
        route.confirmed = True

    def remove(self, fqcn: str) -> Route | None:
        """Forget a cell; returns what was known of it."""
        route = self._routes.pop(fqcn, None)
        if route is not None:
            over = self._over[route.link]
            del over[fqcn]
            if not over:
                del self._over[route.link]
        return route

    def is_live_path(self, link: Link, path: Iterable[str]) -> bool:
        """Return whether all these cells are known to be behind ``link``."""
        over = self._over.get(link, {})
        return all(name in over for name in path)

    def life_of(self, fqcn: str) -> int | None:
        """Return the life of a neighbour, or of a cell below, that has its name; None for any other."""
        link, route = self._links.get(fqcn), self._routes.get(fqcn)
        if fqcn == self._fqcn:
            link = self.loop
        if link is not None and self.admits(link, fqcn, self._fqcn):
            return link.incarnation
        return route.incarnation if route is not None and route.confirmed else None
