"""Names that a second life claims elsewhere in the tree, while the first is asked.

The holder is asked by a Query over its route. If it answers in time it keeps the name, whichever life is the later;
if it does not, or its route goes, the newcomer takes the name over. (A newcomer that is a neighbour's double says so
in its Hello already, and waits for the answer there: see ``doubles.py``.)
"""

from __future__ import annotations

from collections.abc import Callable

from streamcell.protocol.base.context import Context
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.doubles import CLAIM_S
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.tree.routes import Route
from streamcell.protocol.wire.frames import Announce, Query, QueryReply


class Claim(Timed):
    """One newcomer, over one link. ``holder``: the life that has the name."""

    def __init__(
        self,
        link: Link,
        frame: Announce,
        query_id: int,
        holder: Route,
        on_timer: Callable[[Claim, float], None],
    ) -> None:
        super().__init__()
        self.link = link
        self.frame = frame
        self.query_id = query_id
        self.holder = holder.incarnation
        self.holder_address = holder.address or "an unknown address"
        self._on_timer = on_timer

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to the table."""
        self._on_timer(self, now)


class ClaimTable:
    """All names that are claimed now, by name and link.

    :param decide: called with the claim, the address of the holder if it has answered, and now.
    """

    def __init__(self, context: Context, links: LinkTable, decide: Callable[[Claim, str, float], None]) -> None:
        self._context = context
        self._links = links
        self._decide = decide
        self._claims: dict[tuple[str, Link], Claim] = {}

    def ask(self, link: Link, frame: Announce, holder: Route, now: float) -> None:
        """Ask the holder whether it lives."""
        pending = self._claims.get((frame.fqcn, link))
        if pending is not None and pending.holder == holder.incarnation:
            # The same newcomer again, or its next life.
            pending.frame = frame
            return
        claim = Claim(link, frame, self._context.random_bits(64), holder, self._expire)
        self._claims[frame.fqcn, link] = claim
        self._context.deadlines.schedule(claim, now + CLAIM_S)
        self._links.post(holder.link, Query.by(claim.query_id, self._context.fqcn, holder.fqcn))

    def handle_reply(self, frame: QueryReply, now: float) -> None:
        """Take in an answer that a claim may have waited for. That of the newcomer itself does not count."""
        lives = {info.incarnation for info in frame.cells}
        for claim in list(self._claims.values()):
            asked = claim.query_id == frame.query_id and claim.frame.fqcn == frame.responder
            if asked and claim.frame.incarnation not in lives:
                self._end(claim, claim.holder_address, now)

    def hurry(self, fqcn: str, now: float) -> None:
        """The holder's route is gone: nobody is left to answer."""
        for claim in list(self._claims.values()):
            if claim.frame.fqcn == fqcn:
                self._end(claim, "", now)

    def withdraw(self, link: Link, fqcn: str, incarnation: int) -> None:
        """The newcomer is gone."""
        claim = self._claims.get((fqcn, link))
        if claim is not None and claim.frame.incarnation == incarnation:
            self._drop(claim)

    def forget(self, link: Link) -> None:
        """Everything that came over a link is gone."""
        for claim in [claim for claim in self._claims.values() if claim.link is link]:
            self._drop(claim)

    def _drop(self, claim: Claim) -> None:
        del self._claims[claim.frame.fqcn, claim.link]
        self._context.deadlines.cancel(claim)

    def _expire(self, claim: Claim, now: float) -> None:
        self._end(claim, "", now)

    def _end(self, claim: Claim, holder: str, now: float) -> None:
        if self._claims.get((claim.frame.fqcn, claim.link)) is claim:
            self._drop(claim)
            self._decide(claim, holder, now)
