"""Whose turn it is on a lane: deficit round robin.

Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round Robin" (SIGCOMM 1995), with one change: a turn may
overdraw by less than one chunk, and the next turns pay it back, since a chunk is cut only when its turn has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Turn(Protocol):
    """Something that takes turns."""

    def can_send(self) -> bool:
        """Return whether it has something to send now."""
        ...


T = TypeVar("T", bound=Turn)


class RoundRobin(Generic[T]):
    """Members take turns of about ``quantum`` bytes. A member that has nothing to send here loses its place.

    :param belongs: tells whether a member still goes this way.
    """

    def __init__(self, quantum: int, belongs: Callable[[T], bool] | None = None) -> None:
        self._quantum = quantum
        self._belongs = belongs
        self._queue: deque[T] = deque()
        # What each member has left of its turn, by identity: below 0 where it has overdrawn.
        self._deficits: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, member: T) -> None:
        """Give ``member`` a place at the end, unless it has one."""
        if id(member) not in self._deficits:
            self._deficits[id(member)] = 0
            self._queue.append(member)

    def waits(self) -> bool:
        """Return whether a member has something to send here."""
        belongs = self._belongs
        return any(member.can_send() and (belongs is None or belongs(member)) for member in self._queue)

    def next(self, eligible: Callable[[T], bool]) -> T | None:
        """Return the member whose turn it is among those that are ``eligible`` now."""
        passed_over = 0
        while passed_over < len(self._queue):
            member = self._queue[0]
            if not member.can_send() or (self._belongs is not None and not self._belongs(member)):
                self._queue.popleft()
                del self._deficits[id(member)]
            elif not eligible(member):
                self._queue.rotate(-1)
                passed_over += 1
            else:
                left = self._deficits[id(member)]
                if left <= 0:
                    left = self._deficits[id(member)] = left + self._quantum
                if left > 0:
                    return member
                self._queue.rotate(-1)
        return None

    def charge(self, member: T, size: int) -> None:
        """Count ``size`` bytes against the turn of ``member``, which ``next`` has just returned."""
        left = self._deficits[id(member)] = self._deficits[id(member)] - size
        if left <= 0:
            self._queue.rotate(-1)
