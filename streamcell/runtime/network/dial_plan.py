"""Where a parent or a shortcut may be reached, and how dialling there went."""

from __future__ import annotations

from collections.abc import Sequence

from streamcell.runtime.network.lane_tasks import LaneTasks


class DialPlan:
    """The addresses at which one parent or peer may be reached, and what came of dialling them.

    Which one is dialled when, the core decides.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self._told: dict[str, str] = {}
        #: Why the last dial failed, for those who wait.
        self.last_failure = ""
        #: Lanes that are up.
        self.open_lanes: list[LaneTasks] = []

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
