"""Whom a listener works on, who waits, and who is sent away for a while, when more cells dial it than it can answer.

A value machine: time and chance are arguments, and nobody is called. A *newcomer* is a lane that has arrived and whose
Hello was not answered yet. It comes in silence; when it has said Hello it is worked on, at one of a few places, or
waits for a place:

- Who has said nothing holds no place, however long it is silent. Who has, holds one for as long as there is something
  to do for it, which is short. So those that are silent hold nobody up.
- A place goes to the one that waits for the shortest time. Its dialler is the most likely to be there still; with more
  than can be answered in time, first come, first served would answer all of them too late.
- Whoever comes when the house is full is sent away at once, before anything is read, unless somebody has been silent
  for long: then that one has to go. One origin fills no more than its part of the house.
- Who is sent away is told when to come again, each another time: when those before it will have been answered, at the
  pace of late. So a crowd spreads over the time that it takes, and none of its dials is in vain twice.
"""

from __future__ import annotations

import collections
from typing import Generic, TypeVar

from streamcell.limits import NEWCOMERS, NEWCOMERS_OF_ONE_ADDRESS, NEWCOMERS_WAITING

# How long who arrives may say nothing while others find the house full. A dialler says Hello at once, but this cell may
# be late to hear it.
MUTE_S = 5.0
# What a newcomer is taken to cost before any was answered while others waited, and how fast that is learned.
_FIRST_COST_S = 0.0025
_LEARNED = 1 / 32
# The pace is not learned from pauses: this cell may have stood still.
_LONGEST_COST_S = 0.25
# When somebody is told to come again. Not so soon that it comes in vain; and if a crowd is so large that it takes
# longer, another time is told then.
SOONEST_S, LATEST_S = 0.5, 60.0
# How much longer than its time some are told to stay away, so that not all come in step.
_JITTER = 0.25

N = TypeVar("N")


class Admission(Generic[N]):
    """The newcomers of one listener. ``N``: what stands for one."""

    def __init__(self) -> None:
        # By how they came; who has said Hello first is first.
        self._silent: dict[N, float] = {}
        self._waiting: dict[N, None] = {}
        self._working: set[N] = set()
        self._origins: dict[N, str] = {}
        self._from_one: collections.Counter[str] = collections.Counter()
        # The time that is between two answers while others wait, and when the last of them was.
        self._cost_s = _FIRST_COST_S
        self._answered_at: float | None = None
        # Until when the time is given away to those who were sent away.
        self._told_until = 0.0

    def holds_place(self, newcomer: N) -> bool:
        """Return whether somebody is worked on."""
        return newcomer in self._working

    def refuse(self, origin: str, now: float, chance: float) -> float | None:
        """Return after how many seconds another one from there may come again; None: there is room for it.

        :param origin: where it comes from, of which only so many are taken; empty: that does not matter.
        :param chance: a number from 0 to 1.
        """
        crowded = origin and self._from_one[origin] >= NEWCOMERS_OF_ONE_ADDRESS
        if crowded or (self._is_full() and self._mute(now) is None):
            return self.tell_time(now, chance)
        return None

    def on_arrival(self, newcomer: N, origin: str, now: float) -> N | None:
        """Take in somebody for whom there is room, and return who has to go for that: one that says nothing."""
        mute = self._mute(now) if self._is_full() else None
        if mute is not None:
            self._forget(mute)
        self._silent[newcomer] = now
        self._origins[newcomer] = origin
        if origin:
            self._from_one[origin] += 1
        return mute

    def tell_time(self, now: float, chance: float) -> float:
        """Return when another one may come again, after all who are here and all who were told a time."""
        soonest = now + max(SOONEST_S, len(self._origins) * self._cost_s)
        self._told_until = min(max(self._told_until, soonest) + self._cost_s, now + LATEST_S)
        return (self._told_until - now) * (1 + _JITTER * chance)

    def on_hello(self, newcomer: N) -> bool:
        """Somebody has said Hello: return whether to go on with it. If not, it waits for a place."""
        if self._silent.pop(newcomer, None) is None:
            # It was no newcomer any more.
            return True
        if len(self._working) < NEWCOMERS:
            self._working.add(newcomer)
            return True
        self._waiting[newcomer] = None
        return False

    def on_end(self, newcomer: N, now: float) -> N | None:
        """Somebody was answered, or has gone: forget it, and return who is to be worked on in its place."""
        if newcomer not in self._origins:
            return None
        was_working = newcomer in self._working
        self._forget(newcomer)
        if not was_working:
            return None
        if not self._waiting:
            self._answered_at = None
            return None
        self._learn_pace(now)
        following, _ = self._waiting.popitem()
        self._working.add(following)
        return following

    def _forget(self, newcomer: N) -> None:
        self._silent.pop(newcomer, None)
        self._waiting.pop(newcomer, None)
        self._working.discard(newcomer)
        origin = self._origins.pop(newcomer)
        if origin:
            self._from_one[origin] -= 1
            if not self._from_one[origin]:
                del self._from_one[origin]

    def _is_full(self) -> bool:
        return len(self._origins) >= NEWCOMERS + NEWCOMERS_WAITING

    def _mute(self, now: float) -> N | None:
        """Return who has been silent for the longest time, and too long."""
        newcomer = next(iter(self._silent), None)
        return newcomer if newcomer is not None and now >= self._silent[newcomer] + MUTE_S else None

    def _learn_pace(self, now: float) -> None:
        if self._answered_at is not None:
            took_s = min(now - self._answered_at, _LONGEST_COST_S)
            self._cost_s += (took_s - self._cost_s) * _LEARNED
        self._answered_at = now
