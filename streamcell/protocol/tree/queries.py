"""Questions about the network: who is there, and by which hops a cell is reached.

Who is there is known to the root, since every cell is announced up to it: the question goes up, and the root answers
in pieces; while the way up is broken, the cell below the break does. By which hops a cell is reached every hop tells
for itself; the asker measures the time and puts the answers into order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streamcell.errors import CellError, ErrorCode, StreamError, StreamTargetUnreachable
from streamcell.limits import CELLS_TOLD, LISTINGS_AT_ONCE, LISTINGS_PER_S
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import CellsListed, QueryFailed, RouteTraced
from streamcell.protocol.base.rules import QueryRight
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.buckets import TokenBucket
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.rights import query_right
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.tree.askers import Askers
from streamcell.protocol.tree.listing import Listing
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.tree.trail import Trail
from streamcell.protocol.wire.frames import CellInfo, HolderAnswer, Query, QueryReply
from streamcell.topology import ALL_CELLS, CellSelection, Hop, KnownCell, KnownCells


class Question(Timed):
    """One query of this cell that waits for its answers. ``subject`` empty: all cells are asked for."""

    def __init__(
        self,
        query_id: int,
        subject: str,
        selection: CellSelection,
        asked_at: float,
        timeout_s: float,
        on_timer: Callable[[Question, float], None],
    ) -> None:
        super().__init__()
        self.query_id = query_id
        self.subject = subject
        self.selection = selection
        self.asked_at = asked_at
        self.timeout_s = timeout_s
        self.cells: dict[str, CellInfo] = {}
        self.total = 0
        self.told_by = ""
        self.hops: dict[str, Hop] = {}
        self._on_timer = on_timer

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to the table."""
        self._on_timer(self, now)

    def take(self, cells: Iterable[CellInfo], total: int, told_by: str) -> None:
        """Take in cells that one tells of; who has told of a cell first is believed.

        ``total``: how many there are, if it has told of some of them only. An older cell tells of all.
        """
        for info in cells:
            if self.selection.takes(info.fqcn):
                self.cells.setdefault(info.fqcn, info)
        self.total = max(self.total, total)
        self.told_by = told_by

    def listing(self) -> KnownCells:
        """Return the answer."""
        chosen = (self.cells[fqcn] for fqcn in self.selection.cut(self.cells))
        known = (
            KnownCell(
                info.fqcn,
                info.incarnation,
                info.via,
                info.address,
                info.software,
                info.known_for_s,
                info.identity,
            )
            for info in chosen
        )
        return KnownCells(known, total=max(self.total, len(self.cells)), told_by=self.told_by)

    def hops_from(self, first: str) -> list[Hop]:
        """Return the hops that have answered without a gap, the first one first."""
        hops: list[Hop] = []
        name = first
        while (hop := self.hops.get(name)) is not None and hop not in hops:
            hops.append(hop)
            name = hop.via
        return hops


class QueryTable:
    """The questions that this cell has asked, and the answers that it gives to others."""

    def __init__(self, context: Context, links: LinkTable, routes: RouteTable) -> None:
        self._context = context
        self._links = links
        self._routes = routes
        self._questions: dict[int, Question] = {}
        self._trail = Trail(context, Link.press)
        self._askers = Askers(context)
        self._listing: Listing | None = None
        self._listings = TokenBucket(LISTINGS_PER_S, LISTINGS_AT_ONCE)

    # Asking.

    def ask_cells(self, selection: CellSelection, timeout_s: float, now: float) -> int:
        """Ask for cells; the answer is CellsListed. Returns the number of the question."""
        question = self._ask("", selection, timeout_s, now)
        question.take(self._known(now), 0, self._context.fqcn)
        above = self._above()
        if above is None:
            self._end_listing(question)
        else:
            above.post(Query.who(question.query_id, self._context.fqcn, selection))
        return question.query_id

    def ask_trace(self, target: str, timeout_s: float, now: float) -> int:
        """Ask each hop on the way to a cell; the answer is RouteTraced. Returns the number of the question."""
        question = self._ask(target, ALL_CELLS, timeout_s, now)
        way = self._routes.next_hop(target)
        if target == self._context.fqcn:
            self._end(question)
            self._context.events.append(RouteTraced(question.query_id, ()))
        elif way is None:
            self._fail(question, self._unreachable(question, [self._context.fqcn]))
        else:
            way.post(Query.by(question.query_id, self._context.fqcn, target, trace=True))
        return question.query_id

    def fail_all(self, error: CellError) -> None:
        """End every question."""
        for question in list(self._questions.values()):
            self._fail(question, error)

    def _ask(self, subject: str, selection: CellSelection, timeout_s: float, now: float) -> Question:
        question = Question(self._context.random_bits(64), subject, selection, now, timeout_s, self._expire)
        self._questions[question.query_id] = question
        self._context.deadlines.schedule(question, now + timeout_s)
        return question

    # Answering.

    def handle_query(self, link: Link, frame: Query, now: float) -> None:
        """Answer, or pass the question on, or both; unless there are too many.

        What the parent asks of a contested name is never too much: a flood must not make its holder mute.
        """
        pressing = frame.contested and link.kind is LinkKind.PARENT
        if not pressing and not self._askers.may_ask(link, frame.asker, now):
            return
        if not frame.subject:
            self._answer_who_is_there(link, frame, now)
            return
        here = frame.subject == self._context.fqcn
        if frame.contested:
            self._answer_claim(link, frame, now, here=here)
            return
        if not self._may_know(link, frame, here=here):
            if frame.trace:
                self._reply(link, frame, (self._me(""),))
            return
        way = None if here else self._routes.relay_hop(frame.subject)
        passed_on = way is not None and way is not link and frame.hops_left > 0
        if here or frame.trace:
            via = way.fqcn if passed_on and way is not None else ""
            self._reply(link, frame, (self._me(via),))
        if passed_on and way is not None:
            way.answer(frame.one_hop_on())

    def _may_know(self, link: Link, frame: Query, *, here: bool) -> bool:
        """Return whether those behind a link may ask about a cell: also which life there is, of whom they deal with."""
        right = query_right(self._context, link)
        if right is QueryRight.ALL:
            return True
        if right is QueryRight.OWN and (here or self._routes.leads_back(link, frame.subject)):
            return True
        rules = self._context.rules
        return rules is not None and not frame.trace and rules.may_meet(frame.asker, frame.subject)

    def _answer_claim(self, link: Link, frame: Query, now: float, *, here: bool) -> None:
        """Say, before anything else, whether the cell whose name is claimed is behind this way; or pass that on."""
        way = self._routes.way_to_holder(frame.subject, link)
        if here and self._links.dialler.has_said(frame.claim_id, frame.asker):
            link.press(QueryReply.about_claim(frame, self._context.fqcn, HolderAnswer.MOVED))
        elif here:
            link.press(QueryReply.about_claim(frame, self._context.fqcn, HolderAnswer.HERE, (self._me(""),)))
        elif way is None or way is link or (way is not self._routes.parent and way.control_lane() is None):
            link.press(QueryReply.about_claim(frame, self._context.fqcn, HolderAnswer.GONE))
        elif frame.hops_left > 0:
            self._trail.note(frame, link, way, now)
            way.press(frame.one_hop_on())

    def _answer_who_is_there(self, link: Link, frame: Query, now: float) -> None:
        right = query_right(self._context, link)
        if right is not QueryRight.ALL:
            self._tell(link, frame, Listing(self._own_of(link, now) if right is QueryRight.OWN else ()), now)
            return
        above = self._above()
        if above is not None and above is not link and frame.hops_left > 0 and link.kind is not LinkKind.SHORTCUT:
            above.answer(frame.one_hop_on())
            return
        self._tell(link, frame, self._list(now), now)

    def _tell(self, link: Link, frame: Query, listing: Listing, now: float) -> None:
        told, total = listing.select(frame.selection)
        starts = range(0, max(len(told), 1), CELLS_TOLD)
        if len(starts) > link.outbox.room or not self._askers.may_hear(link, frame.asker, len(told), now):
            return
        for start in starts:
            end = start + CELLS_TOLD
            self._reply(link, frame, tuple(told[start:end]), more=end < len(told), total=total)

    def _own_of(self, link: Link, now: float) -> list[CellInfo]:
        """Return this cell and those behind a link."""
        behind = [info for info in self._known(now) if info.via == link.fqcn]
        return [self._me(""), *behind]

    def _list(self, now: float) -> Listing:
        """Return what is known of all cells: now, or a moment ago if many have asked."""
        if self._listings.take(now) or self._listing is None:
            self._listing = Listing((self._me(""), *self._known(now)))
        return self._listing

    def _above(self) -> Link | None:
        """Return the link to the parent, while a question can go up by it."""
        parent = self._routes.parent
        return parent if parent is not None and parent.control_lane() is not None else None

    def _reply(
        self, link: Link, frame: Query, cells: tuple[CellInfo, ...], *, more: bool = False, total: int = 0
    ) -> None:
        link.answer(QueryReply.to(frame, self._context.fqcn, cells, more=more, total=total))

    def _me(self, via: str) -> CellInfo:
        return CellInfo(self._context.fqcn, self._context.incarnation, via, software=self._context.software)

    def _known(self, now: float) -> list[CellInfo]:
        """Return what this cell knows of others: those below, its parent, and the ends of its shortcuts."""
        cells = {
            route.fqcn: CellInfo(
                route.fqcn,
                route.incarnation,
                route.link.fqcn,
                route.address,
                route.software,
                now - route.since,
                route.link.carrier.identity,
            )
            for route in self._routes.all()
            if route.confirmed
        }
        for link in self._links.links.values():
            if link.announced and link.fqcn not in cells:
                cells[link.fqcn] = CellInfo(
                    link.fqcn,
                    link.incarnation,
                    link.fqcn,
                    link.address,
                    link.terms.software,
                    now - link.up_since,
                    link.carrier.identity,
                )
        return list(cells.values())

    # Answers.

    def handle_reply(self, link: Link, frame: QueryReply, now: float) -> None:
        """Take in an answer to this cell, or pass on one to another."""
        if frame.asker != self._context.fqcn:
            if self._trail.answer(link, frame):
                return
            way = self._routes.relay_hop(frame.asker)
            if way is not None and way is not link and frame.hops_left > 0:
                way.answer(frame.one_hop_on())
            return
        question = self._questions.get(frame.query_id)
        if question is None:
            return
        if question.subject:
            self._take_hop(question, frame, now)
            return
        question.take(frame.cells, frame.total, frame.responder)
        if not frame.more:
            self._end_listing(question)

    def _take_hop(self, question: Question, frame: QueryReply, now: float) -> None:
        for info in frame.cells[:1]:
            question.hops[info.fqcn] = Hop(
                info.fqcn, info.incarnation, info.software, info.via, now - question.asked_at
            )
        way = self._routes.next_hop(question.subject)
        hops = question.hops_from(way.fqcn) if way is not None else []
        if not hops or hops[-1].via:
            return
        if hops[-1].fqcn == question.subject:
            self._end(question)
            self._context.events.append(RouteTraced(question.query_id, tuple(hops)))
        else:
            self._fail(question, self._unreachable(question, [hop.fqcn for hop in hops]))

    def _end_listing(self, question: Question) -> None:
        self._end(question)
        # Who is asked knows more of this cell than it does itself.
        question.take((self._me(""),), 0, question.told_by)
        self._context.events.append(CellsListed(question.query_id, question.listing()))

    # Ends.

    def on_lane_lost(self, link: Link) -> None:
        """If it was the last one, nobody behind the link answers any more."""
        if link.control_lane() is None:
            self._trail.on_way_lost(link)

    def on_link_down(self, link: Link) -> None:
        """Nobody behind the link asks any more."""
        self._trail.on_link_down(link)
        self._askers.forget(link)

    def _end(self, question: Question) -> None:
        del self._questions[question.query_id]
        self._context.deadlines.cancel(question)

    def _fail(self, question: Question, error: CellError) -> None:
        self._end(question)
        self._context.events.append(QueryFailed(question.query_id, error))

    def _expire(self, question: Question, _now: float) -> None:
        waited = f"{question.timeout_s:g} s"
        if question.subject:
            way = self._routes.next_hop(question.subject)
            hops = question.hops_from(way.fqcn) if way is not None else []
            heard = " and ".join(hop.fqcn for hop in hops) or "nobody"
            sentence = f"the way to {question.subject} could not be traced within {waited}: {heard} answered"
            self._fail(question, StreamError(sentence, ErrorCode.TIMEOUT))
        else:
            sentence = (
                f"nobody told {self._context.fqcn} within {waited} which cells there are: the question went up, and a "
                "cell above has perhaps lost its own link for now; try again later, or ask a cell further up"
            )
            self._fail(question, StreamError(sentence, ErrorCode.TIMEOUT))

    def _unreachable(self, question: Question, hops: list[str]) -> StreamTargetUnreachable:
        return StreamTargetUnreachable(
            f"{question.subject} cannot be reached from {self._context.fqcn}: {hops[-1]} knows no way to it; check its "
            "name, and that it runs and is connected"
        )
