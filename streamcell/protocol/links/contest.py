"""A name that a newcomer claims while another cell has it.

One rule for every such claim, by a Hello or by an announcement: the holder is asked by a Query over the way to it. If
it answers in time it keeps the name, whichever life is the later; if it does not, or the way to it goes, the newcomer
gets it. A question that nobody waits for any more is remembered for a while: the claimant of a Hello waits no longer
than its own dial allows, and comes again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from streamcell.protocol.base.context import Context
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Frame, Query, QueryReply

# How long the holder of a name has to answer when another cell claims it.
CLAIM_S = 3.0
# How long the question is remembered when nobody waits for the answer.
_KEPT_S = 15.0


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Who has the name: which life, by which link it is asked, and where it is, in words."""

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

    def on_name_free(self, holder: Holder, now: float) -> None:
        """The holder did not answer, or is gone. Another newcomer may have been quicker."""
        ...

    def on_name_held(self, holder: Holder, now: float) -> None:
        """The holder lives."""
        ...

    def on_passed_over(self, now: float) -> None:
        """The question is of no use any more: another one waits in its place, or the name has another holder."""
        ...


ClaimantT = TypeVar("ClaimantT", bound=Claimant)


class Contest(Timed, Generic[ClaimantT]):
    """One question to one holder, and who waits for its answer, by the place where each waits."""

    __slots__ = ("_contests", "asked_at", "claimants", "contender", "holder", "query_id")

    def __init__(
        self, contests: ContestTable[ClaimantT], contender: Hashable, holder: Holder, query_id: int, now: float
    ) -> None:
        super().__init__()
        self.contender = contender
        self.holder = holder
        self.query_id = query_id
        self.asked_at = now
        self.claimants: dict[Hashable, ClaimantT] = {}
        self._contests = contests

    def handle_timer(self, now: float) -> None:
        """Nobody has answered, or nobody is left to: who waits has the name."""
        if self.claimants:
            self._contests.conclude(self, now)

    def is_claimed_by(self, incarnation: int) -> bool:
        """Return whether this life waits for the name."""
        return any(claimant.incarnation == incarnation for claimant in self.claimants.values())

    def is_answered_by(self, frame: QueryReply) -> bool:
        """Return whether the holder says that it lives. What the newcomer says of itself does not count."""
        if self.query_id != frame.query_id or self.holder.fqcn != frame.responder:
            return False
        lives = {info.incarnation for info in frame.cells}
        return not any(claimant.incarnation in lives for claimant in self.claimants.values())


class ContestTable(Generic[ClaimantT]):
    """The names that are contested, by name and contender.

    :param post: has a frame sent once over a link.
    """

    def __init__(self, context: Context, post: Callable[[Link, Frame], None]) -> None:
        self._context = context
        self._post = post
        self._contests: dict[tuple[str, Hashable], Contest[ClaimantT]] = {}

    def find(self, fqcn: str, contender: Hashable) -> Contest[ClaimantT] | None:
        """Return the contest that a contender has begun for a name, or None."""
        return self._contests.get((fqcn, contender))

    def claim(self, contender: Hashable, holder: Holder, place: Hashable, claimant: ClaimantT, now: float) -> None:
        """Ask the holder and let the claimant wait; if it was asked before, and did not answer, the name is free.

        ``contender``: whose claims have one question in common. ``place``: where this one waits.
        """
        self._end_outdated(holder, now)
        contest = self._contests.get((holder.fqcn, contender))
        if contest is None:
            contest = Contest(self, contender, holder, self._context.random_bits(64), now)
            self._contests[holder.fqcn, contender] = contest
            self._context.deadlines.schedule(contest, now + CLAIM_S)
            self._post(holder.link, Query.by(contest.query_id, self._context.fqcn, holder.fqcn))
        contest.claimants[place] = claimant
        if now >= contest.asked_at + CLAIM_S:
            self.conclude(contest, now, first=place)

    def on_reply(self, frame: QueryReply, now: float) -> None:
        """Take in an answer that a contest may have waited for."""
        for contest in list(self._contests.values()):
            if contest.is_answered_by(frame):
                self.cancel(contest)
                for claimant in contest.claimants.values():
                    claimant.on_name_held(contest.holder, now)

    def on_holder_gone(self, fqcn: str, now: float) -> None:
        """There is no way to the holder any more, and nobody is left to answer: decide in a moment."""
        for contest in self._contests.values():
            if contest.holder.fqcn == fqcn and contest.claimants:
                self._context.deadlines.schedule(contest, now)

    def leave(self, place: Hashable) -> None:
        """Who waits there is gone. The question holds, since the same newcomer may come again."""
        for contest in self._contests.values():
            contest.claimants.pop(place, None)

    def forget(self, contender: Hashable) -> None:
        """A contender will not come again."""
        for contest in [contest for contest in self._contests.values() if contest.contender == contender]:
            self.cancel(contest)

    def cancel(self, contest: Contest[ClaimantT]) -> None:
        """The newcomer is gone, or the question is answered."""
        if self._contests.get((contest.holder.fqcn, contest.contender)) is contest:
            del self._contests[contest.holder.fqcn, contest.contender]
        self._context.deadlines.cancel(contest)

    def conclude(self, contest: Contest[ClaimantT], now: float, *, first: Hashable = None) -> None:
        """Give the name to who waits at ``first``, or has waited longest; all others of the contest make room."""
        self.cancel(contest)
        claimants = dict(contest.claimants)
        winner = claimants.pop(first if first is not None else next(iter(claimants)))
        for other in claimants.values():
            other.on_passed_over(now)
        winner.on_name_free(contest.holder, now)

    def _end_outdated(self, holder: Holder, now: float) -> None:
        """End what was asked too long ago, or of another life than the one that has the name now."""
        for contest in list(self._contests.values()):
            other_life = contest.holder.fqcn == holder.fqcn and contest.holder.incarnation != holder.incarnation
            if other_life or now >= contest.asked_at + _KEPT_S:
                self.cancel(contest)
                for claimant in contest.claimants.values():
                    claimant.on_passed_over(now)
