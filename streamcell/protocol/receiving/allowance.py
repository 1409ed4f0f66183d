"""How far the sender of one received stream may go.

It is told by Credits: as a state, not a message, so at most one is due at a time, and one is due only when it is worth
a frame. Out of which memory is the business of ``memory.py``.
"""

from __future__ import annotations

from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.flow.credit import RememberedWindow, Window
from streamcell.protocol.receiving.progress import Progress
from streamcell.protocol.receiving.starting_point import StartingPoint
from streamcell.protocol.receiving.states import StartingPointState

# Asked for each chunk: found once, since a member of an enumeration is found slowly before Python 3.12.
_PLACED = StartingPointState.PLACED


class Allowance:
    """The credit of one stream, and the window that it comes from.

    ``allowed_to_previous`` is how far the previous hop may send in this attempt, ``allowed_ever`` how far it was let go
    in all attempts. The first catches up with the second in the first Credit of an attempt (``told``), and whenever
    the difference is worth a frame.

    :ivar assembled: the window is one of the memory of blobs: what comes is kept there until it is whole.
    :ivar told: a Credit was told in this attempt, or is about to be.
    :ivar due: a Credit of ``allowed_to_previous`` is to be sent; only once ``told`` is set.
    """

    __slots__ = (
        "_initial",
        "_point",
        "_progress",
        "allowed_ever",
        "allowed_to_previous",
        "assembled",
        "due",
        "told",
        "window",
    )

    def __init__(self, window: Window, progress: Progress, point: StartingPoint, offset: int) -> None:
        self.window = window
        self.assembled = False
        self.allowed_to_previous = offset + INITIAL_CREDIT_BYTES
        self.allowed_ever = 0
        self.due = False
        self._initial = self.allowed_to_previous
        self.told = False
        self._progress = progress
        self._point = point

    def start_at(self, offset: int) -> None:
        """The stream begins with the byte at ``offset``."""
        self.window.start_at(offset)
        if not self.assembled:
            self.allowed_ever = max(self.allowed_ever, offset + self.window.size)

    def on_attempt(self, offset: int, *, admitted: bool) -> None:
        """An attempt begins at ``offset``; the sender is told how far it may go, once the stream is ``admitted``.

        Its initial credit goes no further than what was given before, or else each break would let the sender fill
        more memory for a reader that stands still.
        """
        self.allowed_to_previous = min(offset + INITIAL_CREDIT_BYTES, max(self.allowed_ever, self._initial))
        self.told = self.due = False
        if admitted:
            self.allow(self.allowed_ever)

    def allow(self, offset: int) -> None:
        """Let the sender go up to ``offset``: it is told once in each attempt, and when it is worth a frame.

        Never once the last byte is here: there is nothing left to let go. Nor before both ends mean the same by an
        offset.
        """
        self.allowed_ever = max(self.allowed_ever, offset)
        if self._progress.whole or self._point.state is not _PLACED:
            return
        if not self.told or self.allowed_ever - self.allowed_to_previous >= self.window.step_bytes:
            self.allowed_to_previous = max(self.allowed_to_previous, self.allowed_ever)
            self.told = self.due = True

    def open_window(self, remembered: RememberedWindow | None) -> None:
        """Give the first credit: what others from the same neighbour could use lately, if more is to come."""
        progress = self._progress
        if remembered is not None and not progress.whole:
            self.window.begin_as(remembered, None if progress.size is None else progress.size - progress.consumed)
        self.allow(progress.consumed + self.window.size)

    def move_on(self) -> None:
        """The reader has taken more, so the sender may go on: of what is assembled that is decided by its memory."""
        self.window.grow(self._progress.consumed, self._progress.received)
        self.allow(self._progress.consumed + self.window.size)

    def assemble(self, window: Window) -> None:
        """From now on what comes is kept in the memory of blobs."""
        self.window.close()
        self.window = window
        self.assembled = True

    def grow_assembled(self) -> int:
        """Return how many bytes more a blob of unknown size could do with, the window being as large as it may."""
        self.window.grow(self._progress.consumed, self._progress.received)
        return self._progress.consumed + self.window.size - self.allowed_ever

    def repeat(self) -> None:
        """What was told in this attempt may have been missed."""
        self.due = self.told

    def on_told(self) -> None:
        """A Credit is under way."""
        self.due = False
