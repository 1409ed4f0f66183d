"""How far a receiver lets its senders go, and out of which memory.

Three rules that cannot fight: a window bounds one stream, the budget bounds all windows together (a window grows only
by what the budget still has for its origin, and gives back what is above its fair share when others want it), and what
is assembled whole is admitted before it gets a window at all (``admission.py``). The initial credits of each origin's
first streams are outside the budget: they are what it costs to be reachable. Those of more streams are taken from it,
and so are large headers (``charges.py``).

A stream may begin with the window that others from the same neighbour could use lately (:class:`RememberedWindow`).
What it gets so is given ahead of any proof that its reader keeps up, and credit cannot be taken back: so it is at most
half of the budget for all of them, and a window whose reader turns out slow gives it back as far as it is read.
"""

from __future__ import annotations

from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.flow.shares import Shares
from streamcell.protocol.wire.addressing import Party

# A Credit is worth a frame when it moves by this part of the window, of which the sender has no use until then, but by
# so many bytes at the least.
_STEP_PART = 8
_STEP_BYTES = 64 * KIB
# A window that limits its stream grows by this factor.
_GROWTH = 4
# That of a blob whose size is not known grows by less: it reserves memory that others wait for.
BLOB_GROWTH = 2
# What may be given ahead of proof is at most this part of the budget, and what one stream gets this part of the rest.
_AHEAD_PART = 2
# So much more than the budget there is for those who come when others hold all of it.
_SPARE_PART = 2
# After such a silence of a neighbour the path may be another one.
_REMEMBERED_S = 60.0


class WindowBudget:
    """Bytes that the windows of all streams, received or relayed, may take beyond their initial credit.

    :ivar short: who wanted more than there was when it asked last, if it still has a window.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._shares = Shares(capacity_bytes, capacity_bytes // _SPARE_PART)
        self._ahead = 0
        # How many windows each party has, and how many parties there are behind each neighbour.
        self._windows: dict[Party, int] = {}
        self._behind: dict[str, int] = {}
        self.short: Party | None = None

    @property
    def capacity_bytes(self) -> int:
        """How much there is for all, beside what is spare."""
        return self._shares.capacity

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return max(0, self._shares.capacity - self._shares.used)

    def take(self, party: Party, size: int) -> int:
        """Take up to ``size`` bytes for a window of a party, and return how many."""
        contested = self.short is not None and self.short != party
        taken = max(0, min(size, self._shares.room(party, contested=contested)))
        self._shares.take(party, taken)
        if taken < size and not contested:
            self.short = party
        elif self.short == party:
            self.short = None
        return taken

    def take_whole(self, party: Party, size: int) -> bool:
        """Take ``size`` bytes for a party, or none; return whether there were as many."""
        if size > self._shares.room(party):
            return False
        self._shares.take(party, size)
        return True

    def take_ahead(self, party: Party, size: int) -> int:
        """Take up to ``size`` bytes for a stream that has not shown yet that it can use them; return how many.

        So many streams that begin at once, or readers that stand still, leave half of the budget to those that go on.
        """
        room = min(self._shares.capacity // _AHEAD_PART - self._ahead, self.free_bytes)
        taken = min(size, max(0, room // _AHEAD_PART))
        self._shares.take(party, taken)
        self._ahead += taken
        return taken

    def count_as_proven(self, size: int) -> None:
        """Bytes that were taken ahead are of use, or about to be given back."""
        self._ahead -= size

    def give_back(self, party: Party, size: int) -> None:
        """Return bytes that were taken."""
        self._shares.give_back(party, size)

    def enter(self, party: Party) -> None:
        """One window more shares the budget."""
        windows = self._windows.get(party, 0)
        self._windows[party] = windows + 1
        if not windows:
            self._behind[party[0]] = self._behind.get(party[0], 0) + 1

    def leave(self, party: Party) -> None:
        """One window less does."""
        windows = self._windows[party] - 1
        if windows:
            self._windows[party] = windows
            return
        del self._windows[party]
        self._behind[party[0]] -= 1
        if not self._behind[party[0]]:
            del self._behind[party[0]]
        if self.short == party:
            self.short = None

    def excess(self, party: Party, size: int) -> int:
        """Return how much of ``size`` bytes taken is above the fair share, while somebody wants more than there is.

        Neighbours share alike, then the origins behind each, then the windows of each origin.
        """
        if self.short is None:
            return 0
        share = self._shares.capacity // len(self._behind) // self._behind[party[0]] // self._windows[party]
        return max(0, size - share)


class RememberedWindow:
    """How large a window the streams that come from one neighbour have lately been able to use."""

    def __init__(self) -> None:
        self.size = 0
        self._heard_at = 0.0

    def heard(self, now: float) -> None:
        """A chunk has come: what was learnt before a long silence does not count any more."""
        if now > self._heard_at + _REMEMBERED_S:
            self.size = 0
        self._heard_at = now

    def raise_to(self, size: int) -> None:
        """A stream has used a window of this size."""
        self.size = max(self.size, size)

    def lower_to(self, size: int) -> None:
        """A window had to shrink to this size."""
        self.size = min(self.size, size)


class Window:
    """The credit of one stream: what was consumed plus a size that quadruples while it is what limits the stream.

    The sender is limited by the window when it was seen to use nearly all of it. So a window starts small, reaches
    the path's bandwidth times its delay in a few round trips, and stays small where the reader is the slow one: a slow
    reader keeps its window full, but consumes less than a window between two growths.
    """

    def __init__(self, budget: WindowBudget, party: Party, max_bytes: int, growth: int = _GROWTH) -> None:
        self.size = INITIAL_CREDIT_BYTES
        self._growth = growth
        self._budget = budget
        self._party = party
        self._max_bytes = max_bytes
        self._remembered: RememberedWindow | None = None
        # Of the size: what the stream has not shown yet that it can use.
        self._ahead = 0
        self._grown_at = 0
        self._grow_at = self.size
        self._consumed = 0
        self._closed = False
        budget.enter(party)

    @property
    def step_bytes(self) -> int:
        """By how much credit has to move to be worth a frame."""
        return max(_STEP_BYTES, self.size // _STEP_PART)

    def begin_as(self, remembered: RememberedWindow, remaining: int | None) -> None:
        """Begin with what others could use lately, and never take more than the ``remaining`` bytes, if known."""
        self._remembered = remembered
        if remaining is not None:
            self._max_bytes = max(self.size, min(self._max_bytes, remaining))
        wanted = min(remembered.size, self._max_bytes)
        if wanted > self.size:
            self._ahead = self._budget.take_ahead(self._party, wanted - self.size)
            self.size += self._ahead
            self._grow_at += self._ahead

    def grow(self, consumed: int, received: int) -> None:
        """Quadruple the size if a whole window was consumed since the last time, and the reader keeps up.

        Where others want memory a window above its fair share shrinks instead, and so does one that was given ahead to
        a reader that turns out slow; by no more than was consumed, so that the credit that it has given never falls.
        """
        excess = self._budget.excess(self._party, self.size - INITIAL_CREDIT_BYTES) if self._budget.short else 0
        unread = received - consumed
        if unread > self.size - self.size // 4:
            excess = max(excess, self._ahead)
        yielded = min(consumed - self._consumed, excess)
        self._consumed = consumed
        if yielded > 0:
            self._shrink(yielded)
            return
        if consumed < self._grow_at or unread > self.size // 2:
            # What is unread may be a burst that has just come: a reader that keeps up is seen to in a moment.
            return
        self._prove(consumed)
        if self.size >= self._max_bytes:
            return
        taken = self._budget.take(self._party, min((self._growth - 1) * self.size, self._max_bytes - self.size))
        if taken > 0:
            self._grown_at = consumed
            self._grow_at = consumed + self.size
            self.size += taken

    def start_at(self, offset: int) -> None:
        """Count consumption from ``offset``, where the stream begins here."""
        self._consumed = self._grown_at = offset
        self._grow_at = offset + self.size

    def close(self) -> None:
        """Give the memory back; the window gives no more credit."""
        if self._closed:
            return
        self._closed = True
        self._budget.count_as_proven(self._ahead)
        self._ahead = 0
        self._budget.give_back(self._party, self.size - INITIAL_CREDIT_BYTES)
        self._budget.leave(self._party)
        self.size = INITIAL_CREDIT_BYTES

    def _shrink(self, size: int) -> None:
        self.size -= size
        unproven = min(size, self._ahead)
        self._ahead -= unproven
        self._budget.count_as_proven(unproven)
        self._budget.give_back(self._party, size)
        self._grow_at = min(self._grow_at, self._consumed + self.size)
        if self._remembered is not None:
            self._remembered.lower_to(self.size)

    def _prove(self, consumed: int) -> None:
        """Note what was used since the window has had its size."""
        self._budget.count_as_proven(self._ahead)
        self._ahead = 0
        if self._remembered is not None:
            self._remembered.raise_to(min(self.size, consumed - self._grown_at))
