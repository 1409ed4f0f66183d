"""Who gets how much of what many want: threads, memory for what is assembled, windows.

Who is alone may have everything. When others begin to wait it keeps what it has, and gets nothing new as long as it
holds half or more while somebody waits who holds less. Turns go round among the neighbours first, and then among the
origins behind each, so that a child that speaks for a thousand names has the turns of one child. What comes by the
parent is the rest of the tree: each origin there counts as a neighbour (``Link.party_of``).

Whoever holds everything may hold it for ever. For those who come then there is a spare beyond the capacity. A party
that holds less than half may take from it until it holds as much as is left there: the first that comes late gets half
of the spare, the next one half of the rest, and nobody all. Half of the spare is only for neighbours that hold little,
so that the names behind one child cannot use it up. Capacity and spare are the bound.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from streamcell.protocol.wire.addressing import Party

_ItemT = TypeVar("_ItemT")
_NameT = TypeVar("_NameT", str, Party)

# What an origin may use of the spare if its neighbour holds much already.
_SPARE_PART = 2


class Shares:
    """How much there is of one thing, and who holds how much of it.

    :ivar capacity: how much there is for all.
    :ivar used: how much all hold together: at most capacity and spare.
    """

    def __init__(self, capacity: int, spare: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._spare = spare
        self._of_neighbours: dict[str, int] = {}
        self._of_parties: dict[Party, int] = {}

    def has_its_share(self, party: Party) -> bool:
        """Return whether a party holds half or more."""
        return 2 * self._of_parties.get(party, 0) >= self.capacity

    def neighbour_has_its_share(self, neighbour: str) -> bool:
        """Return whether all that come by a neighbour hold half or more."""
        return 2 * self._of_neighbours.get(neighbour, 0) >= self.capacity

    def room(self, party: Party, *, contested: bool = False) -> int:
        """Return how much more a party may hold: less than nothing if it holds too much.

        ``contested``: others wait, so that it is half of all at most.
        """
        held = self._of_parties.get(party, 0)
        late = self._room_beyond(self._of_neighbours.get(party[0], 0), self._spare)
        late_behind = self._room_beyond(held, self._spare // _SPARE_PART)
        room = max(self.capacity - self.used, late, late_behind)
        return min(room, self.capacity // 2 - held) if contested else room

    def has_room(self, party: Party, size: int) -> bool:
        """Return whether a party whose turn it is may hold so much more."""
        return self.used + size <= self.capacity or size <= self.room(party)

    def takes_first(self, party: Party, size: int) -> bool:
        """Return whether a party that holds nothing may take one thing of this size, however large."""
        if party in self._of_parties:
            return False
        spare = self._spare // _SPARE_PART if party[0] in self._of_neighbours else self._spare
        return self.used + size <= self.capacity + spare

    def take(self, party: Party, size: int) -> None:
        """Count what a party holds from now on."""
        if not size:
            return
        neighbour = party[0]
        self.used += size
        self._of_neighbours[neighbour] = self._of_neighbours.get(neighbour, 0) + size
        self._of_parties[party] = self._of_parties.get(party, 0) + size

    def give_back(self, party: Party, size: int) -> None:
        """Count what a party holds no longer."""
        if not size:
            return
        neighbour = party[0]
        self.used -= size
        _subtract(self._of_neighbours, neighbour, size)
        _subtract(self._of_parties, party, size)

    def _room_beyond(self, held: int, spare: int) -> int:
        """Return the room for one that holds so much: half of what others leave of all and so much of the spare."""
        return min((self.capacity + spare - self.used - held + 1) // 2, self.capacity // 2 - held)


class Line(Generic[_ItemT]):
    """Those who wait for a share of something, in the order in which their turns come.

    What one party waits for is served in the order in which it came.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._turns: OrderedDict[str, OrderedDict[Party, deque[_ItemT]]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, party: Party, item: _ItemT) -> None:
        """Wait, behind all else of the same party."""
        self._length += 1
        parties = self._turns.get(party[0])
        if parties is None:
            parties = self._turns[party[0]] = OrderedDict()
        items = parties.get(party)
        if items is None:
            parties[party] = deque((item,))
        else:
            items.append(item)

    def leave(self, party: Party, item: _ItemT) -> None:
        """Wait no longer."""
        self._turns[party[0]][party].remove(item)
        self._length -= 1
        self._tidy(party)

    def next_party(self, unit: int | None = None) -> Party | None:
        """Return whose turn it is: the first that holds less than half, or the first if nobody does.

        ``unit``: all that wait want so much, so that those who have no room for it hold up nobody.
        """
        first: Party | None = None
        for neighbour in self._turns:
            party = self._next_behind(neighbour)
            if not self._shares.neighbour_has_its_share(neighbour) and (
                unit is None or self._shares.has_room(party, unit)
            ):
                return party
            if first is None:
                first = party
        return first

    def first_of(self, party: Party) -> _ItemT:
        """Return what a party that waits is to have next."""
        return self._turns[party[0]][party][0]

    def take(self, party: Party) -> _ItemT:
        """Take out what a party is to have next. Its next turn, and that of its neighbour, come behind all others."""
        item = self._turns[party[0]][party].popleft()
        self._length -= 1
        if self._tidy(party):
            self._turns[party[0]].move_to_end(party)
        if party[0] in self._turns:
            self._turns.move_to_end(party[0])
        return item

    def has_others(self, party: Party) -> bool:
        """Return whether anybody else waits."""
        if len(self._turns) != 1:
            return bool(self._turns)
        return any(other != party for parties in self._turns.values() for other in parties)

    def _next_behind(self, neighbour: str) -> Party:
        parties = self._turns[neighbour]
        for party in parties:
            if not self._shares.has_its_share(party):
                return party
        return next(iter(parties))

    def _tidy(self, party: Party) -> bool:
        """Take out a party that waits for nothing, and its neighbour if nobody waits there; return whether it waits."""
        parties = self._turns[party[0]]
        if parties[party]:
            return True
        del parties[party]
        if not parties:
            del self._turns[party[0]]
        return False


def _subtract(held: dict[_NameT, int], name: _NameT, size: int) -> None:
    left = held[name] - size
    if left:
        held[name] = left
    else:
        del held[name]
