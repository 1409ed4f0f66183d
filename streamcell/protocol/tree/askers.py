"""How much those behind each link may ask: so much each, and so much all together."""

from __future__ import annotations

from streamcell.limits import (
    ASKERS,
    CELLS_TOLD_AT_ONCE,
    CELLS_TOLD_PER_S,
    LINK_QUESTIONS_AT_ONCE,
    LINK_QUESTIONS_PER_S,
    QUESTIONS_AT_ONCE,
    QUESTIONS_PER_S,
)
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import QuestionsDropped
from streamcell.protocol.flow.buckets import Buckets, TokenBucket
from streamcell.protocol.links.link import Link


class _Behind:
    """What those behind one link have left."""

    def __init__(self) -> None:
        self.askers = Buckets(QUESTIONS_PER_S, QUESTIONS_AT_ONCE, ASKERS)
        self.all = TokenBucket(LINK_QUESTIONS_PER_S, LINK_QUESTIONS_AT_ONCE)
        self.cells_told = TokenBucket(CELLS_TOLD_PER_S, CELLS_TOLD_AT_ONCE)
        self.told_of_drop = False


class Askers:
    """Who may ask, by link."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._links: dict[Link, _Behind] = {}

    def may_ask(self, link: Link, asker: str, now: float) -> bool:
        """Return whether a question of a cell behind the link is answered or passed on. It counts as asked then."""
        behind = self._links.setdefault(link, _Behind())
        if behind.all.has(now) and behind.askers.take(asker, now) and behind.all.take(now):
            return True
        self._tell_of_drop(behind, link, asker)
        return False

    def may_hear(self, link: Link, asker: str, cells: int, now: float) -> bool:
        """Return whether an answer that names so many cells goes over the link. It counts as said then."""
        behind = self._links.setdefault(link, _Behind())
        if behind.cells_told.take(now, cells):
            return True
        self._tell_of_drop(behind, link, asker)
        return False

    def forget(self, link: Link) -> None:
        """The link is down."""
        self._links.pop(link, None)

    def _tell_of_drop(self, behind: _Behind, link: Link, asker: str) -> None:
        if not behind.told_of_drop:
            behind.told_of_drop = True
            self._context.events.append(QuestionsDropped(link.fqcn, asker))
