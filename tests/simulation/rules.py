"""The policy of a simulated cell: it changes, and says of whom it is."""

from __future__ import annotations

import random
from collections.abc import Iterable

from streamcell.protocol.base.rules import QueryRight
from streamcell.protocol.wire.description import StreamKind

# How often a change allows everything again, and how much another one denies.
_ALLOWS_ALL = 0.3
_DENIES_PAIR = 0.3
_DENIES_KIND = 0.3
_DENIES_NAME = 0.1
# How often the application lets an attempt not pass, while something is denied.
_STOPS = 0.1


class ChangingRules:
    """What one cell allows: everything, but for some pairs of cells, some kinds of streams, and some names.

    It outlives the cell. It is its own rights: every neighbour has the same.
    """

    name = "rules"

    def __init__(self, cells: Iterable[str]) -> None:
        self._cells = list(cells)
        self._pairs: set[tuple[str, str]] = set()
        self._kinds: set[StreamKind] = set()
        self._names: set[str] = set()
        self.query = QueryRight.ALL
        self._stops = 0.0

    def __str__(self) -> str:
        return f"denies {sorted(self._pairs)}, {sorted(self._kinds)}, {sorted(self._names)}, asks: {self.query.value}"

    def change(self, chance: random.Random) -> None:
        """Draw other rules."""
        self.allow_all()
        if chance.random() < _ALLOWS_ALL:
            return
        for origin in self._cells:
            self._pairs.update((origin, target) for target in self._cells if chance.random() < _DENIES_PAIR)
        self._names.update(name for name in self._cells if chance.random() < _DENIES_NAME)
        kinds = (StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST)
        self._kinds.update(kind for kind in kinds if chance.random() < _DENIES_KIND)
        self.query = chance.choice(list(QueryRight))
        self._stops = _STOPS

    def allow_all(self) -> None:
        """Deny nothing any more."""
        self._pairs.clear()
        self._kinds.clear()
        self._names.clear()
        self.query = QueryRight.ALL
        self._stops = 0.0

    def judge(self, chance: random.Random) -> str:
        """Draw what the application says of an attempt that is to pass."""
        return "not now" if chance.random() < self._stops else ""

    def rights_of(self, _identity: str, _address: str) -> ChangingRules:
        """Return what any neighbour may do."""
        return self

    def may_announce(self, fqcn: str) -> bool:
        """Return whether a name may come into the tree, or be that of a neighbour."""
        return fqcn not in self._names

    def fault_in_certificate(self, _fingerprint: str) -> str:
        """Return that no certificate is denied."""
        return ""

    def fault_in_sending(
        self, origin: str, target: str, _channel: str, _topic: str, kind: StreamKind, _sealed: bool
    ) -> str:
        """Return why something may not be sent."""
        return "it is denied" if (origin, target) in self._pairs or kind in self._kinds else ""

    def may_meet(self, one: str, other: str) -> bool:
        """Return whether anything may be sent from one of the two to the other."""
        return not {(one, other), (other, one)} <= self._pairs
