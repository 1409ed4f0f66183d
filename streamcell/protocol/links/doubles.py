"""A neighbour's name that a second life claims by its Hello, while the first is asked.

The holder is asked by a Query over its link, and the newcomer's lane waits. If the holder answers in time it keeps the
name; if it does not, or has no lane any more, the newcomer gets it. (A name that is claimed elsewhere in the tree is
decided on in ``claims.py``, by the same rule.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from streamcell.errors import ErrorCode
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Hello, Query, QueryReply

# How long the holder of a name has to answer when another cell claims it.
CLAIM_S = 3.0
# How long the question is remembered. A dialler waits no longer for a Hello than the holder may take to answer, so the
# newcomer may have to come again to get the name.
_CLAIM_KEPT_S = 15.0


@dataclasses.dataclass(slots=True)
class _Claim:
    """A newcomer that claims the name of a neighbour, while that one is asked. By lane: the Hellos that wait."""

    query_id: int
    holder: int
    asked_at: float
    waiting: dict[int, tuple[Lane, Hello]] = dataclasses.field(default_factory=dict)


class Doubles:
    """All claims of neighbours' names, by name and life of the newcomer.

    :param grant: called to give the name to a lane's cell, in place of whoever had it.
    """

    def __init__(
        self, context: Context, links: Mapping[str, Link], grant: Callable[[Lane, Hello, float], None]
    ) -> None:
        self._claims: dict[tuple[str, int], _Claim] = {}
        self._context = context
        self._links = links
        self._grant = grant

    def ask_holder(self, lane: Lane, holder: Link, hello: Hello, now: float) -> None:
        """Let a newcomer's lane wait while the holder is asked, or have the name if there was no answer before."""
        for name, old in list(self._claims.items()):
            if now >= old.asked_at + _CLAIM_KEPT_S or (name[0] == holder.fqcn and old.holder != holder.incarnation):
                self._end(name, now)
        name = (hello.fqcn, hello.incarnation)
        claim = self._claims.get(name)
        if claim is None:
            claim = self._claims[name] = _Claim(self._context.random_bits(64), holder.incarnation, now)
            holder.post(Query.by(claim.query_id, self._context.fqcn, holder.fqcn))
        if now >= claim.asked_at + CLAIM_S:
            self._end(name, now)
            self._grant(lane, hello, now)
            return
        claim.waiting[lane.lane_id] = (lane, hello)
        lane.on_claimed(claim.asked_at + CLAIM_S, now)

    def handle_reply(self, link: Link, frame: QueryReply, now: float) -> None:
        """The holder lives: refuse the newcomer."""
        for name, claim in list(self._claims.items()):
            if claim.query_id == frame.query_id and name[0] == link.fqcn:
                del self._claims[name]
                for waiting, _ in list(claim.waiting.values()):
                    self._refuse(waiting, link, now)

    def expire(self, lane: Lane, now: float) -> None:
        """The holder is silent: the newcomer takes over, unless another one was quicker."""
        for name, claim in list(self._claims.items()):
            if lane.lane_id not in claim.waiting:
                continue
            _, hello = claim.waiting.pop(lane.lane_id)
            self._end(name, now)
            holder = self._links.get(hello.fqcn)
            if holder is not None and holder.incarnation not in (claim.holder, hello.incarnation):
                self._refuse(lane, holder, now)
            else:
                self._grant(lane, hello, now)

    def hurry(self, holder: Link, now: float) -> None:
        """Let those who claim the name have it at once: there is nobody left to answer."""
        for name, claim in self._claims.items():
            for waiting, _ in claim.waiting.values():
                if name[0] == holder.fqcn:
                    waiting.on_holder_gone(now)

    def forget(self, lane: Lane) -> None:
        """A lane has ended, so it waits no more."""
        for claim in self._claims.values():
            claim.waiting.pop(lane.lane_id, None)

    def _end(self, name: tuple[str, int], now: float) -> None:
        for waiting, _ in list(self._claims.pop(name).waiting.values()):
            waiting.give_up(now)

    def _refuse(self, lane: Lane, holder: Link, now: float) -> None:
        sentence = (
            f"the name {holder.fqcn} is held by a living cell at {holder.address}: stop that one or use another name"
        )
        lane.refuse(ErrorCode.NAME_IN_USE, sentence, now)
