"""A name that a newcomer claims while another cell has it.

One rule for every such claim, by a Hello or by an announcement, of another life or of the same: the holder is asked by
a Query over the way to it, and only what comes back over that way counts, so that whoever claims a name cannot answer
for its holder. *Here*: the holder keeps the name, whichever life is the later. *Moved*, from the holder, which knows
the claim as its own: the claimant gets it at once. *Gone*, from a hop that has no lane to the holder any more, or the
end of the way: who has waited longest gets it at once. No answer in time: the same then. So a holder that stands still
as long as that can lose its name; to keep it even so takes a proof of who a cell is.

The silence of a holder is remembered for a while when nobody waits any more: the claimant of a Hello waits no longer
than its own dial allows, and comes again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from streamcell.protocol.base.context import Context
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Frame, HolderAnswer, Query, QueryReply

# How long the holder of a name has to answer when another cell claims it.
CLAIM_S = 3.0
# How long its silence is remembered when nobody waits for the answer.
_KEPT_S = 15.0


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Who has a name: which life (0: not known here), by which link it is asked, and where it is, in words."""

    fqcn: str
    incarnation: int
    link: Link
    address: str


class Claimant(Protocol):
    """One who claims a name, and waits."""

    @property
    def incarnation(self) -> int:
        """The life that claims the name."""
        ...

    @property
    def claim_id(self) -> int:
        """By what the holder knows the claim, if it is its own; 0: by nothing."""
        ...

    @property
    def may_be_both(self) -> bool:
        """Whether an honest cell may be where the holder is asked and here at a time.

        Else it has left the old way before, and a cell of before, which says no more than who it is, is another one.
        """
        ...

    def on_name_free(self, holder: Holder, now: float) -> None:
        """The holder has moved, is gone or did not answer. Another newcomer may have been quicker."""
        ...

    def on_name_held(self, holder: Holder, now: float) -> None:
        """The holder lives."""
        ...

    def on_passed_over(self, now: float) -> None:
        """The question is of no use any more: another one has got the name."""
        ...


ClaimantT = TypeVar("ClaimantT", bound=Claimant)


class Contest(Timed, Generic[ClaimantT]):
    """What one holder was asked, and who waits for its answer, by the place where each waits.

    :ivar asked: by what the claims are known of which it was asked, and which it has not answered.
    :ivar undefended: whether nobody is left to answer.
    """

    __slots__ = ("_contests", "_silent_since", "asked", "claimants", "holder", "query_id", "undefended")

    def __init__(self, contests: ContestTable[ClaimantT], holder: Holder, query_id: int, now: float) -> None:
        super().__init__()
        self.holder = holder
        self.query_id = query_id
        self.claimants: dict[Hashable, ClaimantT] = {}
        self.asked: set[int] = set()
        self._contests = contests
        self._silent_since = now
        self.undefended = False

    @property
    def due_at(self) -> float:
        """When it is decided, or forgotten if nobody waits."""
        return self._silent_since + (CLAIM_S if self.claimants else _KEPT_S)

    def is_over(self, now: float) -> bool:
        """Return whether a claimant need not wait any longer."""
        return self.undefended or now >= self._silent_since + CLAIM_S

    def on_alive(self, claim_id: int | None, now: float) -> None:
        """The holder has said something: of one claim, or of all."""
        self._silent_since = now
        if claim_id is None:
            self.asked.clear()
        else:
            self.asked.discard(claim_id)

    def on_way_lost(self) -> None:
        """Nobody is left to answer."""
        self.undefended = True

    def handle_timer(self, now: float) -> None:
        """Nobody has answered, or nobody is left to: who waits has the name."""
        self._contests.on_due(self, now)


class ContestTable(Generic[ClaimantT]):
    """The names that are contested. A place is where claimants wait: one for each name there.

    :param post: has a frame sent once over a link, before others.
    """

    def __init__(self, context: Context, post: Callable[[Link, Frame], None]) -> None:
        self._context = context
        self._post = post
        self._contests: dict[str, Contest[ClaimantT]] = {}
        self._by_query: dict[int, Contest[ClaimantT]] = {}
        self._by_way: dict[Link, dict[str, Contest[ClaimantT]]] = {}
        self._by_place: dict[Hashable, set[str]] = {}

    def find(self, fqcn: str, place: Hashable) -> ClaimantT | None:
        """Return who waits for a name there, or None."""
        contest = self._contests.get(fqcn)
        return None if contest is None else contest.claimants.get(place)

    def claim(self, holder: Holder, place: Hashable, claimant: ClaimantT, now: float) -> None:
        """Ask the holder and let the claimant wait; if it was asked before, and did not answer, the name is free."""
        contest = self._contests.get(holder.fqcn)
        if contest is not None and contest.holder != holder:
            for other in self._end(contest):
                other.on_passed_over(now)
            contest = self._contests.get(holder.fqcn)
        if contest is None:
            contest = self._begin(holder, now)
        contest.claimants[place] = claimant
        self._by_place.setdefault(place, set()).add(holder.fqcn)
        if contest.is_over(now):
            self._conclude(contest, place, now)
            return
        if claimant.claim_id not in contest.asked:
            contest.asked.add(claimant.claim_id)
            query = Query.about_claim(contest.query_id, self._context.fqcn, holder.fqcn, claimant.claim_id)
            self._post(holder.link, query)
        self._context.deadlines.schedule(contest, contest.due_at)

    # Answers.

    def on_reply(self, link: Link, frame: QueryReply, now: float) -> None:
        """Take in an answer that a contest may have waited for, if it came over the way to the holder."""
        contest = self._by_query.get(frame.query_id)
        if contest is None or contest.holder.link is not link:
            return
        if frame.holder is HolderAnswer.GONE:
            contest.on_way_lost()
            self.on_due(contest, now)
        elif frame.responder == contest.holder.fqcn:
            self._hear_holder(contest, frame, now)

    def on_holder_gone(self, fqcn: str, now: float) -> None:
        """There is no way to the holder any more, and nobody is left to answer: decide in a moment."""
        contest = self._contests.get(fqcn)
        if contest is not None:
            contest.on_way_lost()
            self._context.deadlines.schedule(contest, now)

    def on_way_lost(self, link: Link, now: float) -> None:
        """There is no lane on a link: whoever is asked over it does not answer."""
        for fqcn in list(self._by_way.get(link, ())):
            self.on_holder_gone(fqcn, now)

    # Those who wait.

    def leave(self, place: Hashable) -> None:
        """Who waits there is gone. The questions hold, since the same newcomer may come again."""
        for fqcn in self._by_place.pop(place, ()):
            del self._contests[fqcn].claimants[place]

    def withdraw(self, fqcn: str, place: Hashable) -> None:
        """Who waits there does not want the name any more."""
        self._take_out(self._contests[fqcn], place)

    def on_due(self, contest: Contest[ClaimantT], now: float) -> None:
        """Decide, if it is time; forget a question that nobody has come back for."""
        if contest.claimants and contest.is_over(now):
            self._conclude(contest, next(iter(contest.claimants)), now)
        elif not contest.claimants and (contest.undefended or now >= contest.due_at):
            self._remove(contest)
        else:
            self._context.deadlines.schedule(contest, contest.due_at)

    def _hear_holder(self, contest: Contest[ClaimantT], frame: QueryReply, now: float) -> None:
        """The holder itself has answered, of one claim or, as cells of before do, of all."""
        if frame.holder is HolderAnswer.UNSPECIFIED:
            self._hear_life(contest, {info.incarnation for info in frame.cells}, now)
        else:
            contest.on_alive(frame.claim_id, now)
            for place, claimant in list(contest.claimants.items()):
                if claimant.claim_id != frame.claim_id:
                    continue
                if frame.holder is HolderAnswer.MOVED:
                    self._conclude(contest, place, now)
                    break
                self._refuse(contest, place, now)
        if not contest.claimants:
            self._remove(contest)

    def _hear_life(self, contest: Contest[ClaimantT], lives: set[int], now: float) -> None:
        """The holder says which life there is, and not whose the claims are."""
        for place, claimant in list(contest.claimants.items()):
            if claimant.incarnation in lives and claimant.may_be_both:
                self._conclude(contest, place, now)
                break
            # What another life than the holder's says of itself does not count.
            if claimant.incarnation == contest.holder.incarnation or claimant.incarnation not in lives:
                contest.on_alive(None, now)
                self._refuse(contest, place, now)

    # Beginnings and ends.

    def _begin(self, holder: Holder, now: float) -> Contest[ClaimantT]:
        contest = Contest(self, holder, self._context.random_bits(64), now)
        self._contests[holder.fqcn] = self._by_query[contest.query_id] = contest
        self._by_way.setdefault(holder.link, {})[holder.fqcn] = contest
        return contest

    def _refuse(self, contest: Contest[ClaimantT], place: Hashable, now: float) -> None:
        self._take_out(contest, place).on_name_held(contest.holder, now)

    def _conclude(self, contest: Contest[ClaimantT], place: Hashable, now: float) -> None:
        """Give the name to who waits there; all others make room."""
        winner = self._take_out(contest, place)
        others = self._end(contest)
        winner.on_name_free(contest.holder, now)
        for other in others:
            other.on_passed_over(now)

    def _end(self, contest: Contest[ClaimantT]) -> list[ClaimantT]:
        """End a contest, and return who has waited."""
        waiting = [self._take_out(contest, place) for place in list(contest.claimants)]
        self._remove(contest)
        return waiting

    def _take_out(self, contest: Contest[ClaimantT], place: Hashable) -> ClaimantT:
        names = self._by_place[place]
        names.discard(contest.holder.fqcn)
        if not names:
            del self._by_place[place]
        return contest.claimants.pop(place)

    def _remove(self, contest: Contest[ClaimantT]) -> None:
        holder = contest.holder
        if self._contests.get(holder.fqcn) is not contest:
            return
        del self._contests[holder.fqcn], self._by_query[contest.query_id]
        contests = self._by_way[holder.link]
        del contests[holder.fqcn]
        if not contests:
            del self._by_way[holder.link]
        self._context.deadlines.cancel(contest)
