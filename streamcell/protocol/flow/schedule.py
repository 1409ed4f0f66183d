"""Whose turn it is on a lane: deficit round robin.

Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round Robin" (SIGCOMM 1995), with one change: a turn may
overdraw by less than one chunk, and the next turns pay it back, since a chunk is cut only when its turn has come.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, Generic, Protocol, TypeVar


class Standing(enum.Enum):
    """How a member stands where the next turn is given."""

    #: It has nothing to send here, and loses its place.
    GONE = enum.auto()
    #: It has, but not at this place.
    PASSES = enum.auto()
    #: It may have the turn.
    READY = enum.auto()


# Found once: a member of an enumeration is found slowly before Python 3.12, and this is asked for each chunk.
_READY, _GONE = Standing.READY, Standing.GONE

PlaceT = TypeVar("PlaceT")
PlaceT_contra = TypeVar("PlaceT_contra", contravariant=True)


class Turn(Protocol[PlaceT_contra]):
    """Something that takes turns at places of one kind, lanes say."""

    def standing_at(self, place: PlaceT_contra) -> Standing:
        """Return whether it can have the turn at ``place`` now."""
        ...


T = TypeVar("T", bound=Turn[Any])


class RoundRobin(Generic[T, PlaceT]):
    """Members take turns of about ``quantum`` bytes. A member that has nothing to send here loses its place.

    :ivar members: those that have a place, the one whose turn is next in front. For reading only.
    """

    __slots__ = ("_deficits", "_quantum", "members")

    def __init__(self, quantum: int) -> None:
        self.members: deque[T] = deque()
        self._quantum = quantum
        # What each member has left of its turn, by identity: below 0 where it has overdrawn.
        self._deficits: dict[int, int] = {}

    def add(self, member: T) -> None:
        """Give ``member`` a place at the end, unless it has one."""
        if id(member) not in self._deficits:
            self._deficits[id(member)] = 0
            self.members.append(member)

    def next(self, place: PlaceT, taken: int = 0) -> T | None:
        """Return the member whose turn it is among those that can have it at ``place``.

        :param taken: how many bytes the member that was returned last has taken since: they count against its turn.
        """
        members = self.members
        if taken:
            front = id(members[0])
            self._deficits[front] -= taken
            if self._deficits[front] <= 0:
                members.rotate(-1)
        passed_over = 0
        while passed_over < len(members):
            member = members[0]
            standing = member.standing_at(place)
            if standing is _READY:
                left = self._deficits[id(member)]
                if left <= 0:
                    left = self._deficits[id(member)] = left + self._quantum
                if left > 0:
                    return member
                members.rotate(-1)
            elif standing is _GONE:
                members.popleft()
                del self._deficits[id(member)]
            else:
                members.rotate(-1)
                passed_over += 1
        return None
