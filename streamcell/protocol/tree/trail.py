"""The way back of questions about names that are contested.

An answer to one takes the way that the question came, whatever is known of the asker by then, and passes before other
frames. If the next cell is gone before it has answered, this cell says so in its place. Each question has one answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from streamcell.limits import CONTESTED_QUESTIONS
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.contest import CLAIM_S
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import HolderAnswer, Query, QueryReply

# Who asks, the number of the question, and the claim that it is about.
_Key = tuple[str, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class _Passed:
    """A question that was passed on: from where, to where, and until when the asker waits."""

    query: Query
    came_by: Link
    went_by: Link
    until: float


class Trail:
    """Questions that were passed on and not answered yet.

    :param post: has a frame sent once over a link, before others.
    """

    def __init__(self, context: Context, post: Callable[[Link, QueryReply], None]) -> None:
        self._context = context
        self._post = post
        # By the link that they came by, the oldest first, and by the one that they went by.
        self._from: dict[Link, dict[_Key, _Passed]] = {}
        self._to: dict[Link, dict[_Key, _Passed]] = {}

    def note(self, query: Query, came_by: Link, went_by: Link, now: float) -> None:
        """Remember a question that is passed on, in place of the oldest one of that link if there are too many."""
        if _key(query) in self._to.get(went_by, {}):
            # Said twice: the answer goes back to who has said it first.
            return
        while (oldest := next(iter(self._from.get(came_by, {}).values()), None)) is not None and (
            len(self._from[came_by]) >= CONTESTED_QUESTIONS or oldest.until <= now
        ):
            self._forget(oldest)
        passed = _Passed(query, came_by, went_by, now + CLAIM_S)
        self._from.setdefault(came_by, {})[_key(query)] = passed
        self._to.setdefault(went_by, {})[_key(query)] = passed

    def answer(self, link: Link, reply: QueryReply) -> bool:
        """Send back an answer that came over ``link``, if it is to a question that went there. Returns whether."""
        passed = self._to.get(link, {}).get(_key(reply))
        if passed is None:
            return False
        self._forget(passed)
        if reply.hops_left > 0:
            self._post(passed.came_by, reply.one_hop_on())
        return True

    def on_way_lost(self, link: Link) -> None:
        """Nobody behind the link answers any more."""
        for passed in list(self._to.get(link, {}).values()):
            self._forget(passed)
            self._post(passed.came_by, QueryReply.about_claim(passed.query, self._context.fqcn, HolderAnswer.GONE))

    def on_link_down(self, link: Link) -> None:
        """Nobody behind the link asks any more."""
        for passed in list(self._from.get(link, {}).values()):
            self._forget(passed)

    def _forget(self, passed: _Passed) -> None:
        for table, link in ((self._from, passed.came_by), (self._to, passed.went_by)):
            del table[link][_key(passed.query)]
            if not table[link]:
                del table[link]


def _key(frame: Query | QueryReply) -> _Key:
    return frame.asker, frame.query_id, frame.claim_id
