"""Where a parent or a shortcut may be reached, and how dialling there went."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Callable, Sequence

from streamcell.runtime.network.lane_tasks import LaneTasks


@dataclasses.dataclass(slots=True)
class Spot:
    """What stands at one of the core's places.

    :ivar url: the address that the application has given.
    :ivar record: which of the addresses of its host; empty: it is dialled as it is.
    :ivar uses: how many lanes lead there, or are on their way.
    """

    url: str
    record: str = ""
    uses: int = 0

    def __str__(self) -> str:
        return f"{self.url} ({self.record})" if self.record else self.url


class DialPlan:
    """The addresses at which one parent or peer may be reached, and what came of dialling them.

    Which one is dialled when, the core decides. Each cell has an order of its own, so that many cells share what there
    is, unless the application wants its order kept: then that of a host's records is the resolver's, too.

    :ivar number: the core's number for the uplink.
    """

    def __init__(self, number: int, urls: Sequence[str], *, in_order: bool) -> None:
        self.number = number
        self._in_order = in_order
        # By place; None: it is no more.
        self._spots: list[Spot | None] = [Spot(url) for url in self._ordered(urls)]
        self._told: dict[str, str] = {}
        #: Why the last dial failed, for those who wait.
        self.last_failure = ""
        #: Lanes that are up.
        self.open_lanes: list[LaneTasks] = []

    def spot(self, place: int) -> Spot:
        """Return what stands at a place of the core."""
        spot = self._spots[place]
        if spot is None:
            raise KeyError(place)
        return spot

    def learn(
        self, place: int, records: Sequence[str], add: Callable[[int], int], remove: Callable[[int], None]
    ) -> bool:
        """Take note of what the host at a place stands for now: its records, or none if it is dialled as it is.

        Return whether the place is still one: what stood there may be gone, and the others be places already.

        :param add: makes a place that is dialled after another one, and returns its number.
        :param remove: takes a place away: others than the one that is dialled, where no lane leads.
        """
        dialled = self.spot(place)
        family = {
            number: spot for number, spot in enumerate(self._spots) if spot is not None and spot.url == dialled.url
        }
        known = {spot.record for spot in family.values()}
        fresh = deque(self._ordered_records([record for record in records if record not in known]))
        stays = dialled.record in records or dialled.uses > 1
        if not stays and (fresh or not records):
            dialled.record = fresh.popleft() if fresh else ""
            stays = True
        for number, spot in family.items():
            if spot.record not in records and spot.uses == 0:
                self.forget(number)
                remove(number)
        beside = place
        for record in fresh:
            beside = add(beside)
            self._put(beside, Spot(dialled.url, record))
        return stays

    def forget(self, place: int) -> None:
        """A place is no more."""
        self._spots[place] = None

    def _put(self, place: int, spot: Spot) -> None:
        if place == len(self._spots):
            self._spots.append(spot)
        else:
            self._spots[place] = spot

    def _ordered(self, each: Sequence[str]) -> list[str]:
        return list(each) if self._in_order else random.SystemRandom().sample(each, len(each))

    def _ordered_records(self, records: Sequence[str]) -> list[str]:
        """Return records in the order in which they are dialled. Which kind comes first is the resolver's choice."""
        kinds = list(dict.fromkeys(":" in record for record in records))
        return [each for kind in kinds for each in self._ordered([one for one in records if (":" in one) is kind])]

    def note_failure(self, reason: str) -> None:
        """Take note of why a dial failed, for those who wait."""
        if not self.answering:
            self.last_failure = reason

    def is_news(self, url: str, reason: str) -> bool:
        """Return whether an address has not failed for that reason just before."""
        before, self._told[url] = self._told.get(url), reason
        return reason != before

    def note_lane(self, lane: LaneTasks) -> None:
        """Take note of a lane that has a connection."""
        self.open_lanes.append(lane)

    def note_end(self, lane: LaneTasks) -> None:
        """Take note of the end of such a lane."""
        self.open_lanes.remove(lane)
        if lane.heard:
            self._told.clear()

    @property
    def answering(self) -> str:
        """The address where who listens has taken a lane that is up, and says something; else empty. Any thread."""
        return next((lane.url for lane in tuple(self.open_lanes) if lane.heard), "")

    @property
    def greeting(self) -> str:
        """The address where whoever listens has taken a lane and has not said anything yet; else empty. Any thread."""
        return next((lane.url for lane in tuple(self.open_lanes) if not lane.heard), "")
