"""How far a relay lets the previous hop go in one attempt, and when that is worth a frame."""

from __future__ import annotations

from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.flow.credit import Window


class Grant:
    """What the window of a relayed stream allows, as far as the next hop allows it, too.

    It is open from the attempt's first chunk on, and then has a window; before that no credit is given.

    :ivar allowed_to_previous: how far the previous hop may go: the highest Credit given to it, or the initial credit.
    :ivar told: the highest Credit that was given to it in this attempt, or None before the first.
    :ivar due: ``told`` is to be said, or said again.
    """

    __slots__ = (
        "_begin_offset",
        "_first_end",
        "_grows",
        "_step_bytes",
        "_window",
        "allowed_to_previous",
        "due",
        "told",
    )

    def __init__(self) -> None:
        self.allowed_to_previous = 0
        self.told: int | None = None
        self.due = False
        self._window: Window | None = None
        self._begin_offset = self._first_end = 0
        self._grows = False
        # By how much credit has to move, and for which size of the window that is.
        self._step_bytes = (0, 0)

    @property
    def window_bytes(self) -> int:
        """The size of the window, 0 while there is none."""
        return 0 if self._window is None else self._window.size

    def open(self, window: Window, offset: int, first_bytes: int, *, grows: bool) -> None:
        """The attempt begins at ``offset``. ``grows``: the window does, where the stream can use it.

        :param first_bytes: how many of the initial credit are counted, or free.
        """
        self.allowed_to_previous = offset + INITIAL_CREDIT_BYTES
        self._first_end = offset + first_bytes
        self._window, self._begin_offset, self._grows = window, offset, grows

    def extend(self, forwarded: int, arrived: int, credit: int | None) -> None:
        """Let the previous hop go as far as the window and the next hop's credit allow, when it is worth a frame.

        :param forwarded: every byte below was put on a lane. ``arrived``: none above has come.
        :param credit: how far the next hop lets the stream go, or None while it has not said that.
        """
        window = self._window
        if window is None:
            return
        if self._grows:
            window.grow(forwarded - self._begin_offset, arrived - self._begin_offset)
        if credit is None:
            return
        size, before = window.size, self.told
        if self._step_bytes[0] != size:
            self._step_bytes = size, window.step_bytes
        limit = min(forwarded + size, credit)
        if before is None or limit - before >= self._step_bytes[1] or before < limit == credit:
            self.told, self.due = limit, True
            self.allowed_to_previous = max(self.allowed_to_previous, limit)

    def takes(self, end: int) -> bool:
        """Return whether a chunk may end there: before the first Credit none goes beyond what was counted."""
        return end <= self._first_end or self.told is not None

    def repeat(self) -> None:
        """What was told may be lost."""
        self.due = self.told is not None

    def take(self) -> int | None:
        """Return the Credit that is due, if one is, and take it as said."""
        due, self.due = self.due, False
        return self.told if due else None

    def close(self) -> None:
        """Give the window's memory back."""
        if self._window is not None:
            self._window.close()
