"""What children tell of themselves and of the cells below them.

A name passes through three hands before anything goes by it: this cell compares it with the routes that it has, the
cells above do the same, and only when all of them agree is the route confirmed and the child told so. So two cells of
one name are told apart where their branches meet, before a byte reaches the wrong one. Where nobody is above, or does
not answer in time, this cell decides alone, and a refusal that comes later takes the name away again.

Of two announcements of one life the higher epoch wins: the cell has moved. With equal epochs it is a cell between that
has moved, and the announcement counts whose path leads over cells that are known to be behind its link. But anybody can
announce a name, a life and an epoch, which are no secrets. So a cell that is known by another link, in this life or in
another one, is asked over the way that it has first (``links/contest.py``), unless that way is down already; and what
was announced behind it waits until that is decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from streamcell.errors import ErrorCode
from streamcell.limits import HOPS, ROUTES, ROUTES_OF_NEIGHBOUR
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.contest import ContestTable, Holder
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.rights import fault_in_announcing
from streamcell.protocol.tree.announcer import Announcer
from streamcell.protocol.tree.arrivals import Arrivals
from streamcell.protocol.tree.followers import Followers
from streamcell.protocol.tree.routes import Route, RouteTable
from streamcell.protocol.wire.frames import Announce, AnnounceReply, QueryReply, Withdraw

# How long the cells above may take to say whether a name is free: a claim there, and the way.
ACCEPT_S = 5.0


class WayObserver(Protocol):
    """Who is told that frames for some cells go another way from now on."""

    def on_ways_changed(self, fqcns: Iterable[str] | None, now: float) -> None:
        """The ways to these cells, or to any, may have changed."""
        ...

    def on_life_confirmed(self, link: Link, fqcn: str, incarnation: int, now: float) -> None:
        """This life of a cell has the name, as is known over ``link``."""
        ...


class AnnouncedClaim:
    """An announcement that waits until it is known whether its name is free."""

    def __init__(self, table: AnnouncementTable, link: Link, frame: Announce) -> None:
        self.link = link
        self.frame = frame
        self._table = table

    @property
    def incarnation(self) -> int:
        """The life that was announced."""
        return self.frame.incarnation

    @property
    def claim_id(self) -> int:
        """Nothing: a cell that has moved is not there any more where it is asked."""
        return 0

    @property
    def may_be_both(self) -> bool:
        """Whether an honest cell may be there all the same: it has one way at a time."""
        return False

    def on_name_free(self, holder: Holder, now: float) -> None:
        """Take the name."""
        self._table.on_name_free(self, holder, now)

    def on_name_held(self, holder: Holder, now: float) -> None:
        """Be refused."""
        self._table.on_name_held(self, holder, now)

    def on_passed_over(self, now: float) -> None:
        """Ask whoever has the name now."""
        self._table.consider_again(self, now)


class AnnouncementTable:
    """Decides which names are below this cell, and tells the parent."""

    def __init__(
        self,
        context: Context,
        routes: RouteTable,
        observer: WayObserver,
    ) -> None:
        self._context = context
        self._routes = routes
        self._observer = observer
        self._announcer = Announcer(context, self)
        # Names that were announced over another link than the one that leads to their cells.
        self._contests: ContestTable[AnnouncedClaim] = ContestTable(context, Link.press)
        self._followers = Followers()
        self._arrivals = Arrivals(context, self._on_arrival)

    # Links.

    def on_link_begun(self, link: Link, now: float) -> None:
        """A link is there of which the other end knows nothing yet."""
        self._arrivals.begin_anew(link)
        self._forget(self._routes.over(link), now)
        if link.kind is LinkKind.SHORTCUT:
            link.on_names_agreed(now)
            self._observer.on_life_confirmed(link, link.fqcn, link.incarnation, now)
            self._observer.on_ways_changed((link.fqcn,), now)
        elif link.kind is LinkKind.PARENT:
            self._begin_uplink(link, now)
        elif not link.terms.announces:
            # A cell that does not know of announcements is announced by its neighbour.
            self._consider(link, Announce(link.fqcn, link.incarnation, 0, (link.fqcn,), link.terms.software), now)

    def on_lane_lost(self, link: Link, now: float) -> None:
        """Say again what the lane may have carried in vain; over a link without a lane nobody answers."""
        if link is self._announcer.link:
            self._announcer.on_lane_lost()
        if link.control_lane() is None:
            self._contests.on_way_lost(link, now)

    def on_link_down(self, link: Link, now: float) -> None:
        """Nothing is behind the link any more."""
        self._contests.leave(link)
        self._followers.forget(link)
        self._arrivals.forget(link)
        self._forget(self._routes.over(link), now)
        self._routes.on_parent_down(link)
        if link is not self._announcer.link:
            return
        self._announcer.on_parent_gone()
        for route in self._routes.all():
            if not route.confirmed:
                self._confirm(route, now)

    def on_rules_changed(self, now: float) -> None:
        """Take names away that may not be announced any more."""
        for route in self._routes.all():
            sentence = fault_in_announcing(self._context, route.link, route.fqcn)
            # With a neighbour all that is behind it has gone already.
            if sentence and self._routes.get(route.fqcn) is route:
                self._context.on_access_refused(route.link.fqcn, route.link.address, sentence)
                self._forget([route], now)
                self._refuse(route.link, _as_announced(route), ErrorCode.AUTHENTICATION, sentence, now)

    def _begin_uplink(self, link: Link, now: float) -> None:
        if link.terms.announces:
            self._announcer.on_parent_begun(link, self._routes.all())
            link.wake_control()
        else:
            self._uplink_accepted(link, now)

    def _uplink_accepted(self, link: Link, now: float) -> None:
        self._routes.on_parent_up(link)
        link.on_names_agreed(now)
        self._observer.on_life_confirmed(link, link.fqcn, link.incarnation, now)
        self._observer.on_ways_changed(None, now)

    # Frames of children.

    def handle_announce(self, link: Link, frame: Announce, now: float) -> None:
        """A child announces itself or a cell below it."""
        if link.terms.announces and link.kind is LinkKind.CHILD and not self._arrivals.on_arrival(link, frame, now):
            self._hold_back(link, frame, now)

    def _on_arrival(self, link: Link, frame: Announce | Withdraw, now: float) -> None:
        """What a child says is looked at: it is its turn."""
        if isinstance(frame, Announce):
            self._consider(link, frame, now)
        else:
            self._on_withdrawn(link, frame, now)

    def _consider(self, link: Link, frame: Announce, now: float) -> None:
        refusal = self._fault_in(link, frame)
        if refusal is not None:
            self._refuse(link, frame, *refusal, now)
            return
        if not self._has_room(link, frame):
            self._hold_back(link, frame, now)
            return
        known = self._routes.get(frame.fqcn)
        same_life = known is not None and known.incarnation == frame.incarnation
        self._followers.discard(link, frame.fqcn)
        if known is None or (known.link is link and not (same_life and frame.epoch < known.epoch)):
            self._take(link, frame, now)
        elif known.link is link:
            self._refuse_stale(link, frame)
        elif same_life:
            self._consider_move(known, link, frame, now)
        else:
            self._contest(AnnouncedClaim(self, link, frame), known, now)

    def _consider_move(self, known: Route, link: Link, frame: Announce, now: float) -> None:
        """A life is announced over another link than the one that leads to it."""
        over = frame.path[1:]
        if frame.epoch == known.epoch and not self._routes.is_live_path(link, over):
            leader = next((name for name in over if self._contests.find(name, link) is not None), None)
            if leader is None:
                self._refuse_stale(link, frame)
            else:
                self._followers.add(link, leader, frame)
        elif frame.epoch < known.epoch:
            self._refuse_stale(link, frame)
        elif known.link.control_lane() is None or not self._routes.is_live_path(known.link, known.path[1:]):
            self._take(link, frame, now)
        else:
            self._contest(AnnouncedClaim(self, link, frame), known, now)

    def handle_withdraw(self, link: Link, frame: Withdraw, now: float) -> None:
        """A cell is not behind a child any more. A child that is far too loud says so again when its lane breaks."""
        self._arrivals.on_arrival(link, frame, now)

    def _on_withdrawn(self, link: Link, frame: Withdraw, now: float) -> None:
        self._followers.discard(link, frame.fqcn)
        claim = self._contests.find(frame.fqcn, link)
        if claim is not None and claim.incarnation == frame.incarnation:
            self._contests.withdraw(frame.fqcn, link)
            self._on_decided(link, frame.fqcn, now)
        route = self._routes.get(frame.fqcn)
        if route is not None and route.link is link and route.incarnation == frame.incarnation:
            if frame.epoch < route.epoch:
                return
            self._forget([route], now)
        self._reply(link, AnnounceReply(frame.fqcn, frame.incarnation, frame.epoch, withdrawn=True))

    def _fault_in(self, link: Link, frame: Announce) -> tuple[ErrorCode, str] | None:
        me = self._context.fqcn
        if not frame.path or frame.path[0] != frame.fqcn or frame.path[-1] != link.fqcn:
            return ErrorCode.PROTOCOL, f"the path of {frame.fqcn} does not lead from it to {link.fqcn}"
        fault = fault_in_announcing(self._context, link, frame.fqcn)
        if fault:
            self._context.on_access_refused(link.fqcn, link.address, fault)
            return ErrorCode.AUTHENTICATION, fault
        if frame.fqcn == me and frame.incarnation != self._context.incarnation:
            return ErrorCode.NAME_IN_USE, f"the name {me} is held by a cell above: use another name"
        if me in frame.path:
            return ErrorCode.NAME_IN_USE, f"{me} is below itself, by way of {link.fqcn}: do not dial a cell below"
        if len(frame.path) >= HOPS:
            return ErrorCode.LIMIT, f"{frame.fqcn} is {len(frame.path)} hops below {me}, more than {HOPS - 1}"
        return None

    def _has_room(self, link: Link, frame: Announce) -> bool:
        known = self._routes.get(frame.fqcn)
        if known is not None and known.link is link:
            return True
        if self._routes.count_over(link) >= ROUTES_OF_NEIGHBOUR:
            return False
        return known is not None or len(self._routes) < ROUTES

    def _hold_back(self, link: Link, frame: Announce, now: float) -> None:
        """There is no room for a name: it stays with the child, which may announce it again. A child itself goes."""
        me = self._context.fqcn
        sentence = f"{me} has no room for more cells below it: {ROUTES_OF_NEIGHBOUR} by one link, {ROUTES} in all"
        if frame.fqcn == link.fqcn:
            link.dismiss(ErrorCode.LIMIT, sentence, now)
        else:
            code = ErrorCode.LIMIT
            self._reply(link, AnnounceReply(frame.fqcn, frame.incarnation, frame.epoch, code, sentence, wait=True))

    # Taking a name.

    def _take(self, link: Link, frame: Announce, now: float) -> None:
        known = self._routes.get(frame.fqcn)
        same_life = known is not None and known.incarnation == frame.incarnation
        if known is not None and known.link is not link:
            # What is behind the cell has moved with it, and is announced anew behind it.
            self._forget([route for route in self._routes.over(known.link) if frame.fqcn in route.path[1:]], now)
            self._refuse_stale(known.link, _as_announced(known))
        route = Route(
            fqcn=frame.fqcn,
            incarnation=frame.incarnation,
            epoch=frame.epoch,
            path=frame.path,
            link=link,
            software=frame.software,
            address=link.address if frame.fqcn == link.fqcn else frame.address,
            since=known.since if known is not None and same_life else now,
            on_timer=self._confirm,
        )
        if known is not None:
            self._context.deadlines.cancel(known)
        self._routes.add(route)
        self._announcer.announce(route)
        self._wake_uplink()
        if (known is not None and same_life and known.confirmed) or not self._announcer.is_awaited(route.fqcn):
            self._confirm(route, now)
            return
        self._context.deadlines.schedule(route, now + ACCEPT_S)
        if known is not None:
            self._observer.on_ways_changed((route.fqcn,), now)

    def _confirm(self, route: Route, now: float) -> None:
        """Give the cell its name: the cells above agree, or do not say anything."""
        self._routes.on_confirmed(route)
        self._context.deadlines.cancel(route)
        self._reply(route.link, AnnounceReply(route.fqcn, route.incarnation, route.epoch))
        if route.link.fqcn == route.fqcn:
            route.link.on_names_agreed(now)
        self._observer.on_life_confirmed(route.link, route.fqcn, route.incarnation, now)
        self._observer.on_ways_changed((route.fqcn,), now)

    # Names that are another link's.

    def _contest(self, claim: AnnouncedClaim, known: Route, now: float) -> None:
        holder = Holder(known.fqcn, known.incarnation, known.link, known.address or "an unknown address")
        self._contests.claim(holder, claim.link, claim, now)

    def on_holder_reply(self, link: Link, frame: QueryReply, now: float) -> None:
        """Take in an answer that a contested name may have waited for."""
        self._contests.on_reply(link, frame, now)

    def on_name_free(self, claim: AnnouncedClaim, holder: Holder, now: float) -> None:
        """Who had the name has moved, is gone or did not answer."""
        known = self._routes.get(holder.fqcn)
        is_as_asked = known is None or (known.link is holder.link and known.incarnation == holder.incarnation)
        if is_as_asked and not fault_in_announcing(self._context, claim.link, holder.fqcn):
            self._take(claim.link, claim.frame, now)
        else:
            # Another one has the name by now, or the rules have changed.
            self._consider(claim.link, claim.frame, now)
        self._on_decided(claim.link, claim.frame.fqcn, now)

    def on_name_held(self, claim: AnnouncedClaim, holder: Holder, now: float) -> None:
        """Who has the name has answered."""
        sentence = (
            f"the name {holder.fqcn} is held by a living cell at {holder.address}: stop that one or use another name"
        )
        self._refuse(claim.link, claim.frame, ErrorCode.NAME_IN_USE, sentence, now)
        self._on_decided(claim.link, claim.frame.fqcn, now)

    def consider_again(self, claim: AnnouncedClaim, now: float) -> None:
        """The name has another holder than the one that was asked."""
        self._consider(claim.link, claim.frame, now)
        self._on_decided(claim.link, claim.frame.fqcn, now)

    def _on_decided(self, link: Link, fqcn: str, now: float) -> None:
        """If it is known by now whether a cell is behind the link, so it is for those that have waited behind it."""
        if self._contests.find(fqcn, link) is None:
            for frame in self._followers.take(link, fqcn):
                self._consider(link, frame, now)

    # Losing a name.

    def _forget(self, routes: list[Route], now: float) -> None:
        for route in routes:
            self._context.deadlines.cancel(route)
            self._routes.remove(route.fqcn)
            self._announcer.withdraw(route.fqcn)
        self._wake_uplink()
        self._observer.on_ways_changed([route.fqcn for route in routes], now)
        for route in routes:
            self._contests.on_holder_gone(route.fqcn, now)

    def _refuse(self, link: Link, frame: Announce, code: ErrorCode, sentence: str, now: float) -> None:
        if frame.fqcn == link.fqcn:
            # The neighbour has no name here: it goes, and comes again.
            link.dismiss(code, sentence, now)
        else:
            self._reply(link, AnnounceReply(frame.fqcn, frame.incarnation, frame.epoch, code, sentence))

    def _refuse_stale(self, link: Link, frame: Announce) -> None:
        sentence = f"{frame.fqcn} has moved"
        self._reply(link, AnnounceReply(frame.fqcn, frame.incarnation, frame.epoch, ErrorCode.STALE, sentence))

    def _reply(self, link: Link, frame: AnnounceReply) -> None:
        if link.terms.announces:
            link.post(frame)

    # Frames of the parent.

    def handle_reply(self, link: Link, frame: AnnounceReply, now: float) -> None:
        """The parent accepts or refuses a name, at once or later."""
        if link is self._announcer.link:
            self._announcer.on_reply(frame, now)
            link.wake_control()

    def on_name_accepted(self, reply: AnnounceReply, now: float) -> None:
        """The cells above agree that the name is that cell's: this one's, or that of one below."""
        parent = self._announcer.link
        if reply.fqcn == self._context.fqcn and parent is not None:
            self._uplink_accepted(parent, now)
            return
        route = self._route_of(reply)
        if route is not None and not route.confirmed:
            self._confirm(route, now)

    def on_name_undecided(self, reply: AnnounceReply, now: float) -> None:
        """The cells above have no room for the name: this cell decides alone."""
        route = self._route_of(reply)
        if route is not None and not route.confirmed:
            self._confirm(route, now)

    def on_name_lost(self, reply: AnnounceReply, now: float) -> None:
        """The cells above have refused the name, or know that the cell is gone."""
        parent = self._announcer.link
        if reply.fqcn == self._context.fqcn and parent is not None:
            parent.on_name_refused(reply.code, reply.sentence, now)
            return
        route = self._route_of(reply)
        if route is None:
            return
        self._forget([route], now)
        if reply.code is ErrorCode.STALE:
            self._refuse_stale(route.link, _as_announced(route))
        else:
            self._refuse(route.link, _as_announced(route), reply.code, reply.sentence, now)

    def _route_of(self, reply: AnnounceReply) -> Route | None:
        """Return the route that an answer is about, unless the cell has a newer one."""
        route = self._routes.get(reply.fqcn)
        if route is None or (route.incarnation, route.epoch) != (reply.incarnation, reply.epoch):
            return None
        return route

    def _wake_uplink(self) -> None:
        if self._announcer.link is not None:
            self._announcer.link.wake_control()


def _as_announced(route: Route) -> Announce:
    return Announce(route.fqcn, route.incarnation, route.epoch, route.path)
