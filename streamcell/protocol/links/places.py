"""Where a cell that is dialled may be reached, and how that went lately.

An address is a *place* here, known by a number, at first its position in a list that the shell has. What stands there
is the shell's business.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Iterator

from streamcell.errors import CellError
from streamcell.limits import RETRY_AFTER_S
from streamcell.protocol.base.context import Context

# Times that the two ends could not read each other before that is no chance any more, and within which time.
BREAKS = 3
BREAKS_WITHIN_S = 60.0


class Place:
    """One of the addresses of an uplink.

    :ivar failures: dials in a row that came to nothing.
    :ivar retry_at: when it may be dialled again.
    :ivar refusal: what was answered last, if whoever is there would answer so again.
    """

    __slots__ = ("_broken_at", "_context", "_hurried_at", "_least_s", "failures", "refusal", "retry_at")

    def __init__(self, context: Context) -> None:
        self._context = context
        self.failures = 0
        self.retry_at = -math.inf
        self.refusal: CellError | None = None
        # When it may be dialled again if somebody waits for it.
        self._hurried_at = -math.inf
        # How long to wait at least before the next dial, by what was said last.
        self._least_s = 0.0
        self._broken_at: deque[float] = deque(maxlen=BREAKS)

    @property
    def refused_last(self) -> bool:
        """Whether it was said how long to wait, and no dial has failed since."""
        return self._least_s > 0

    def is_doubtful(self, now: float) -> bool:
        """Return whether the last break is so recent that a link there may be broken off at once."""
        return bool(self._broken_at) and now < self._broken_at[-1] + BREAKS_WITHIN_S

    def on_break(self, now: float) -> bool:
        """One end could not read the other; returns whether that is no chance any more."""
        self._broken_at.append(now)
        return len(self._broken_at) == BREAKS and now < self._broken_at[0] + BREAKS_WITHIN_S

    def on_refusal(self, error: CellError, least_s: float | None = None, *, firm: bool) -> None:
        """Whoever is there refuses, and would do so again (``firm``) or perhaps not; ``least_s``: wait so long."""
        self.refusal = error if firm else None
        if least_s is not None:
            self._least_s = least_s

    def on_deferral(self, wait_s: float) -> None:
        """Whoever is there has too much to do, and says how long to stay away: that counts, and not past failures."""
        self.failures = 0
        self.refusal = None
        # Some longer than is said, or all would come at once.
        self._least_s = min(wait_s, RETRY_AFTER_S) * (0.5 + self._context.jitter())

    def on_failure(self, now: float) -> None:
        """A dial has come to nothing: wait as long as after so many failures, or longer if that was said."""
        self.failures += 1
        # Whoever answers is not gone.
        backoff_s = self._context.backoff_s if self.refused_last else self._context.dial_backoff_s
        self._hurried_at = now + backoff_s(self.failures)
        self.retry_at = max(self._hurried_at, now + self._least_s)
        if self._least_s == 0.0:
            # It was no refusal this time.
            self.refusal = None
        self._least_s = 0.0

    def on_welcome(self, *, here: bool) -> None:
        """A cell has said Hello, here or at another place: what was answered before was something in the way."""
        self.refusal = None
        if here:
            self.failures = 0

    def hurry(self) -> None:
        """Somebody waits for the answer: a refusal is no reason to wait longer than after a failure."""
        if self.refusal is not None:
            self.retry_at = self._hurried_at


class Places:
    """The places of an uplink, by number, and whose turn it is.

    The application has given some; the shell may find that one of them is several, or fewer again: the records of a
    host. These are a *family*. The number of a place that is no more goes to the next one that is found.
    """

    __slots__ = ("_context", "_families", "_places", "_turn", "order")

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._places = [Place(context) for _ in range(count)]
        # By place: the first of its family.
        self._families = list(range(count))
        #: The places that there are, in the order in which they have their turns.
        self.order = list(range(count))
        # The place that is next, if it may be dialled.
        self._turn = 0

    def __getitem__(self, number: int) -> Place:
        return self._places[number]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self.order)

    def __repr__(self) -> str:
        return f"<Places {self.order} next {self._turn}>"

    def add(self, beside: int) -> int:
        """There is one more of the family of the place ``beside``, after which it has its turn; return its number."""
        spare = [number for number in range(len(self._places)) if number not in self.order]
        if spare:
            number = spare[0]
            self._places[number] = Place(self._context)
            self._families[number] = self._families[beside]
        else:
            number = len(self._places)
            self._places.append(Place(self._context))
            self._families.append(self._families[beside])
        self.order.insert(self.order.index(beside) + 1, number)
        return number

    def remove(self, number: int) -> None:
        """A place is no more. One of the others is left."""
        if self._turn == number:
            self.pass_by(number)
        self.order.remove(number)

    def pass_by(self, number: int) -> None:
        """The place after this one is next."""
        if number in self.order:
            self._turn = self.order[(self.order.index(number) + 1) % len(self.order)]

    def next_free(self, busy: Container[int], now: float, only: int | None = None) -> int | None:
        """Return where to dial next: in turn, or where the wait is the shortest. None: it is being dialled there.

        What could not be had when it was dialled last comes behind the others that may be dialled.

        :param only: nowhere else.
        """
        first = self.order.index(self._turn)
        in_turn = [*self.order[first:], *self.order[:first]] if only is None else [only]
        free = (number for number in in_turn if number not in busy)
        return min(free, key=lambda number: self._precedence(number, now), default=None)

    def _precedence(self, number: int, now: float) -> tuple[float, bool]:
        place = self._places[number]
        return max(now, place.retry_at), place.failures > 0

    def find_refusal(self) -> CellError | None:
        """Return what is answered, if whoever answers would do so again, wherever it is dialled; else None.

        Of a family it is enough that one answers so, and that all others could not be had.
        """
        found = None
        for family in {self._families[number] for number in self.order}:
            members = [self._places[number] for number in self.order if self._families[number] == family]
            refusals = [each.refusal for each in members if each.refusal is not None]
            if not refusals or any(each.refusal is None and each.failures == 0 for each in members):
                return None
            found = refusals[0]
        return found
