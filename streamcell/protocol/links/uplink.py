"""Whom a cell dials: the addresses where that one may be reached, and the lanes on their way.

An address is a *place* here, known by its position in the list that the application gave: what stands there is the
shell's business. When each is dialled is decided in ``dialling.py``.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable

from streamcell.errors import CellError
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.links.states import (
    LaneState,
)
from streamcell.protocol.wire.frames import LaneRole

# Times that the two ends could not read each other before that is no chance any more, and within which time.
BREAKS = 3
BREAKS_WITHIN_S = 60.0


@dataclasses.dataclass(slots=True)
class Place:
    """One of the addresses of an uplink.

    :ivar failures: dials in a row that came to nothing.
    :ivar retry_at: when it may be dialled again.
    :ivar hurried_at: when it may be dialled again if somebody waits for it.
    :ivar least_s: how long to wait at least before the next dial, by what was said last.
    :ivar refusal: what was answered last, if whoever is there would answer so again.
    :ivar broken_at: when the two ends last could not read each other.
    """

    failures: int = 0
    retry_at: float = -math.inf
    hurried_at: float = -math.inf
    least_s: float = 0.0
    refusal: CellError | None = None
    broken_at: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=BREAKS))

    def note_break(self, now: float) -> bool:
        """Take note that one end could not read the other; returns whether that is no chance any more."""
        self.broken_at.append(now)
        return len(self.broken_at) == BREAKS and now < self.broken_at[0] + BREAKS_WITHIN_S

    def is_doubtful(self, now: float) -> bool:
        """Return whether the last break is so recent that a link there may be broken off at once."""
        return bool(self.broken_at) and now < self.broken_at[-1] + BREAKS_WITHIN_S


class Uplink(Timed):
    """What a dialler knows of whom it dials.

    :ivar kind: what its link is to this cell: PARENT or SHORTCUT.
    :ivar place: where its link is, or was last.
    :ivar turn: the place that is dialled next, if it may be.
    :ivar soonest: no control lane is dialled before, wherever.
    :ivar was_linked: a cell has answered, so that what other things answer there is for a while.
    """

    def __init__(self, number: int, places: int = 1, kind: LinkKind = LinkKind.PARENT) -> None:
        super().__init__()
        self.number = number
        self.kind = kind
        self.places = tuple(Place() for _ in range(places))
        self.place = 0
        self.turn = 0
        self.soonest = -math.inf
        self.was_linked = False
        self.ended = False
        self.link: Link | None = None
        # Another link to the cell that was dialled, which makes this one needless while it lasts.
        self.rests_on: Link | None = None
        self.next_lane_number = 1
        self.dialling: dict[int, Lane] = {}
        self.bulk_failures = 0
        self.bulk_retry_at = -math.inf
        self.bulk_wanted = 0
        self.on_timer: Callable[[Uplink, float], None] | None = None

    def __repr__(self) -> str:
        return f"<Uplink {self.number} link {self.link!r} dialling {sorted(self.dialling)} next place {self.turn}>"

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to whoever tends the uplink."""
        if self.on_timer is not None:
            self.on_timer(self, now)

    # Places.

    def next_place(self, now: float) -> int | None:
        """Return where to dial next: in turn, or where the wait is the shortest. None: it is being dialled there.

        While the link has lanes that is where the link is, since elsewhere may be another cell; until all of them are
        silent, and a dial there has come to nothing.
        """
        busy = {lane.place for lane in self.dialling.values() if lane.role is LaneRole.CONTROL}
        count = len(self.places)
        in_turn = [self.place] if self._stays() else [(self.turn + step) % count for step in range(count)]
        free = (each for each in in_turn if each not in busy)
        return min(free, key=lambda each: max(now, self.places[each].retry_at), default=None)

    def _stays(self) -> bool:
        """Return whether the link may be had again where it is."""
        lanes = self.link.lanes.values() if self.link is not None else ()
        silent = all(lane.state is LaneState.SUSPECT for lane in lanes)
        return bool(lanes) and not (silent and self.places[self.place].failures)

    def pass_by(self, place: int) -> None:
        """The place after this one is next."""
        self.turn = (place + 1) % len(self.places)

    def all_refuse(self) -> bool:
        """Return whether whoever answers has refused, wherever it is dialled."""
        return all(place.refusal is not None for place in self.places)

    # Lanes.

    def dials(self, role: LaneRole) -> bool:
        """Return whether a lane of this role is being dialled or greeted."""
        return any(lane.role is role for lane in self.dialling.values())

    def missing_bulk_lanes(self) -> int:
        """Return how many more bulk lanes are wanted than are up and trusted, or under way."""
        under_way = sum(lane.role is LaneRole.BULK for lane in self.dialling.values())
        return self.bulk_wanted - self._count_ready_lanes(LaneRole.BULK) - under_way

    def has_ready_lane(self, role: LaneRole) -> bool:
        """Return whether a lane of this role is up and trusted."""
        return self._count_ready_lanes(role) > 0

    def _count_ready_lanes(self, role: LaneRole) -> int:
        lanes = self.link.lanes.values() if self.link is not None else ()
        return sum(lane.role is role and lane.usable and lane.state is LaneState.READY for lane in lanes)

    def lanes_held(self) -> tuple[int, ...]:
        """Return the numbers of the lanes that are up or under way."""
        held = set(self.dialling)
        if self.link is not None:
            held.update(self.link.lanes)
        return tuple(sorted(held))

    def lanes_leaving(self, role: LaneRole) -> tuple[int, ...]:
        """Return the numbers of the lanes of a role whose connections are about to end."""
        lanes = self.link.lanes.values() if self.link is not None else ()
        return tuple(lane.number for lane in lanes if lane.role is role and lane.state is LaneState.LEAVING)
