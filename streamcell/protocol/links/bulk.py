"""A listener's wish for bulk lanes, which only the dialler can open."""

from __future__ import annotations


class BulkWish:
    """Whether it was said, and what has come of it.

    :ivar due_at: until when the lanes are awaited.
    :ivar overdue: none had come by then, so that bulk goes on the control lane until one comes.
    """

    __slots__ = ("_asked", "due_at", "overdue")

    def __init__(self) -> None:
        self._asked = False
        self.due_at: float | None = None
        self.overdue = False

    def ask(self, due_at: float) -> bool:
        """Wish for lanes by then; returns whether the dialler has yet to be asked."""
        if self._asked:
            return False
        self._asked, self.due_at = True, due_at
        return True

    def on_lane_up(self) -> None:
        """A bulk lane has come."""
        self.overdue = False

    def on_lane_lost(self) -> None:
        """A lane has ended, and the question perhaps with it: it may be asked again."""
        self._asked = False

    def expire(self, now: float, *, has_lane: bool) -> bool:
        """Return whether the time to wait is over just now."""
        if self.due_at is None or now < self.due_at:
            return False
        self.due_at = None
        self.overdue = not has_lane
        return True
