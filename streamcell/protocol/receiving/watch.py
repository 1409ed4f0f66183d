"""Memory that is reserved and not used, while others wait for some.

A stream that has memory reserved, a lane and credit, and brings nothing, has that taken away: it begins again at the
end of the line. So has one whose origin nothing leads to any more for as long as a target may be out of reach. This is
looked at now and then, and only while anybody waits, so that what comes in need not be timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from streamcell.limits import IDLE_RESERVATION_S
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.receiving.lives import OriginLife
from streamcell.protocol.receiving.memory import ReceiveMemory

_Standing: TypeAlias = tuple[int, int, int] | None
_Seen: TypeAlias = dict[StreamReceiver, tuple[_Standing, float]]
# How a stream stands whose origin nothing leads to.
_NOWHERE: _Standing = (0, 0, 0)
# How often it is looked: what stands still is seen to within that after its time.
_LOOKS_PER_PATIENCE = 2


class ReservationWatch(Timed):
    """Looks whether what has memory goes on, while others wait for some.

    Args:
        context: what the parts of the core share.
        memory: where the reservations are.
        lives: gives the lives of origins that have streams open.
        leads_to: tells whether there is a way to a cell.
    """

    def __init__(
        self,
        context: Context,
        memory: ReceiveMemory,
        lives: Callable[[], Iterable[OriginLife]],
        leads_to: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._context = context
        self._memory = memory
        self._lives = lives
        self._leads_to = leads_to
        # How each stood when it was last seen to have moved, and when that was.
        self._seen: _Seen = {}

    def on_accepted(self, now: float) -> None:
        """A stream asked for memory: if it has to wait for it, see to those that have some."""
        if self.timer_at is None and self._memory.in_line():
            self._seen.clear()
            self._look(now)

    def handle_timer(self, now: float) -> None:
        """Look again, as long as anybody waits."""
        if self._memory.in_line():
            self._look(now)

    def _look(self, now: float) -> None:
        before, self._seen = self._seen, {}
        for life in list(self._lives()):
            stalled = [
                receiver
                for receiver in life.receivers.values()
                if self._memory.is_wanted_by_others(receiver) and self._stands_still(receiver, life, before, now)
            ]
            if stalled:
                life.be_patient()
            for receiver in stalled:
                receiver.on_stalled(now)
        self._context.deadlines.schedule(self, now + IDLE_RESERVATION_S / _LOOKS_PER_PATIENCE)

    def _stands_still(self, receiver: StreamReceiver, life: OriginLife, seen: _Seen, now: float) -> bool:
        """Return whether it has stood still for too long, and note how it stands."""
        standing = receiver.standing()
        patience_s = life.patience_s
        if not self._leads_to(receiver.key.origin):
            standing, patience_s = _NOWHERE, self._context.config.unreachable_timeout_s
        before, since = seen.get(receiver, (standing, now))
        if standing is None or standing != before:
            since = now
        self._seen[receiver] = standing, since
        return 0 < patience_s <= now - since
