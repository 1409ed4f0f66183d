"""Which life of each other cell is there.

The number of a life only tells it apart from others: it is made from a clock, and clocks are set back. Which of two
lives is the later one, their cells show by what they do:

* A neighbour shows it by its greeting, since whoever had its name before was asked first (``links/contest.py``).
* Any other cell is asked: its name is queried, with a number that nobody can know before. Who answers that lived after
  the question; every life that was heard of before the question began before it. So the one that answers is the latest
  of them, and the others are over. Nothing else lets one life take the place of another.
* One that has proved its name, by keys that this cell and it have agreed on, gives way only to one that does so, too:
  what others say of lives, and they may make it up, is then a reason to ask for a proof.

Until a life is known to be there nothing of it is taken in, and its cell is told to ask again (``gate.py``). So what
comes late from a life that is over only leads to a question, whose answer confirms what is known.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from streamcell.errors import CellError
from streamcell.limits import LIVES
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LifeDoubted
from streamcell.protocol.links.link import Link
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.frames import Query, QueryReply

# How soon a question is asked again that something on the way may have swallowed, when there is reason to.
ASK_AGAIN_S = 1.0
# Lives of one cell that are remembered as over, and that may be doubted at a time. Nothing of a life is on its way when
# its cell has been restarted so often since; more are made up.
_LIVES = 16


class Proofs(Protocol):
    """Who knows which lives have proved their names."""

    def proved_life(self, fqcn: str) -> int | None:
        """Return the life of a cell that has proved its name last, if one has."""
        ...

    def doubt(self, fqcn: str, now: float) -> None:
        """There may be another life of such a cell: have the one that is there prove itself."""
        ...


class PresenceObserver(Protocol):
    """Who is told which lives are over."""

    def on_life_ended(self, fqcn: str, incarnation: int, now: float) -> None:
        """This life of a cell is over: another one was shown to be later."""
        ...


class _Known:
    """What is known of the lives of one cell.

    :ivar asked_about: the lives that were heard of before the question that is under way was asked first.
    :ivar heard_since: those that were heard of since.
    """

    __slots__ = ("asked_about", "asked_at", "heard_since", "over", "present", "query_id")

    def __init__(self, present: int) -> None:
        self.present = present
        self.query_id: int | None = None
        self.asked_at = 0.0
        self.asked_about: set[int] = set()
        self.heard_since: set[int] = set()
        self.over: deque[int] = deque(maxlen=_LIVES)

    def is_news(self, incarnation: int) -> bool:
        """Return whether nothing of a life was heard before."""
        return not (incarnation in self.over or incarnation in self.asked_about or incarnation in self.heard_since)


class Presence:
    """What is known of the lives of all other cells."""

    def __init__(self, context: Context, routes: RouteTable, proofs: Proofs, observer: PresenceObserver) -> None:
        self._context = context
        self._routes = routes
        self._proofs = proofs
        self._observer = observer
        self._cells: dict[str, _Known] = {}

    def life_of(self, fqcn: str) -> int | None:
        """Return the life of a cell that is there as far as is known, or None."""
        known = self._cells.get(fqcn)
        return None if known is None else known.present

    def is_over(self, fqcn: str, incarnation: int) -> bool:
        """Return whether a life of a cell is known to be over."""
        known = self._cells.get(fqcn)
        return known is not None and incarnation in known.over

    def hears(self, link: Link, fqcn: str, incarnation: int, now: float) -> bool:
        """Take note that something of a life came over ``link``; return whether that life is the one that is there.

        The first that is heard of is, as far as anybody can know. Another one leads to a question.
        """
        known = self._cells.get(fqcn)
        if known is None:
            known = self._begin(fqcn, incarnation)
        if known.present == incarnation:
            return True
        if known.is_news(incarnation):
            self._context.events.append(LifeDoubted(link.fqcn, fqcn, incarnation))
        if known.query_id is None:
            self._ask(known, link, fqcn, {incarnation}, now)
            return False
        if incarnation not in known.asked_about and len(known.heard_since) < _LIVES:
            known.heard_since.add(incarnation)
        if now >= known.asked_at + ASK_AGAIN_S:
            known.asked_at = now
            self._post(link, fqcn, known.query_id)
        return False

    def confirm(self, fqcn: str, incarnation: int, now: float) -> None:
        """A neighbour has the name with this life. One that is over proves nothing by a greeting: it may be late."""
        known = self._cells.get(fqcn)
        if known is None:
            known = self._begin(fqcn, incarnation)
        if known.present != incarnation and incarnation not in known.over:
            # What was asked before may be answered by the life that was there then.
            known.query_id = None
            self._replace(known, fqcn, incarnation, {known.present}, now)

    def on_session_begun(self, fqcn: str, now: float) -> None:
        """A life of a cell has proved its name; see :class:`Proofs`."""
        proved = self._proofs.proved_life(fqcn)
        known = self._cells.get(fqcn)
        if known is not None and proved is not None and known.present != proved:
            known.query_id = None
            self._replace(known, fqcn, proved, known.asked_about | {known.present}, now)

    def on_session_failed(self, fqcn: str, error: CellError, now: float) -> None:
        """Nothing follows: the next that is heard of a life is judged as what was heard before."""

    def on_sessions_over(self, fqcn: str, now: float) -> None:
        """Nothing follows, likewise."""

    def handle_reply(self, link: Link, frame: QueryReply, now: float) -> None:
        """A cell says which life of it there is."""
        known = self._cells.get(frame.responder)
        if known is None or known.query_id != frame.query_id or not frame.cells:
            return
        present = frame.cells[0].incarnation
        rest = known.heard_since - {present}
        known.query_id, known.heard_since = None, set()
        self._replace(known, frame.responder, present, known.asked_about | {known.present}, now)
        if rest:
            # They may have begun after the answer was given.
            self._ask(known, link, frame.responder, rest, now)

    def _begin(self, fqcn: str, incarnation: int) -> _Known:
        """Take the life that has proved its name for the one that is there, or else the one that was heard of."""
        if len(self._cells) >= LIVES + self._routes.count_known():
            self._forget_oldest()
        proved = self._proofs.proved_life(fqcn)
        known = self._cells[fqcn] = _Known(incarnation if proved is None else proved)
        return known

    def _forget_oldest(self) -> None:
        """Forget the cell that has been known longest of those to which there is neither a link nor a route."""
        while self._routes.life_of(oldest := next(iter(self._cells))) is not None:
            self._cells[oldest] = self._cells.pop(oldest)
        del self._cells[oldest]

    def _replace(self, known: _Known, fqcn: str, present: int, before: set[int], now: float) -> None:
        """Take a life for the one that is there, and others for over, unless one of them has proved its name."""
        known.asked_about = set()
        proved = self._proofs.proved_life(fqcn)
        if proved not in (None, present):
            self._proofs.doubt(fqcn, now)
            return
        known.present = present
        if present in known.over:
            # Two cells have had the name in turn.
            known.over.remove(present)
        for incarnation in sorted(before - {present}):
            if incarnation not in known.over:
                known.over.append(incarnation)
            self._observer.on_life_ended(fqcn, incarnation, now)

    def _ask(self, known: _Known, link: Link, fqcn: str, lives: set[int], now: float) -> None:
        query_id = self._context.random_bits(64)
        known.query_id, known.asked_about, known.asked_at = query_id, lives, now
        self._post(link, fqcn, query_id)

    def _post(self, link: Link, fqcn: str, query_id: int) -> None:
        link.post(Query.by(query_id, self._context.fqcn, fqcn))
