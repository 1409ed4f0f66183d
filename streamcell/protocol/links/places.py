"""Where a cell that is dialled may be reached, and how that went lately.

An address is a *place* here, known by its position in the list that the application gave: what stands there is the
shell's business.
"""

from __future__ import annotations

import math
from collections import deque

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
