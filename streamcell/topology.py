"""What a cell can tell of the network around it, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class KnownCell:
    """One cell of the network, as ``cells()`` returns it.

    Attributes:
        fqcn: its name.
        incarnation: the number of its present life.
        via: the neighbour of the cell that tells of it, over which it is reached; empty for that cell itself.
        address: its address as its neighbour sees it, empty if that is not known.
        software: name and version of what it runs, empty if it does not say.
        known_for_s: for how many seconds the cell that tells of it has known it.
        identity: what the neighbour ``via`` has proved to be called; empty: nothing.
    """

    fqcn: str
    incarnation: int
    via: str
    address: str
    software: str
    known_for_s: float
    identity: str = ""


class KnownCells(list[KnownCell]):
    """Cells by name, as ``cells()`` returns them.

    Attributes:
        total: how many there are whose names begin with the prefix that was asked for.
        told_by: the name of the cell that has told, which is the root of the tree unless the way to it is broken.
    """

    def __init__(self, cells: Iterable[KnownCell] = (), *, total: int = 0, told_by: str = "") -> None:
        super().__init__(cells)
        self.total = total
        self.told_by = told_by


@dataclasses.dataclass(frozen=True, slots=True)
class CellSelection:
    """Which cells are asked for.

    Attributes:
        prefix: what their names begin with.
        limit: the most of them, the first by name; 0: all.
        after: the name behind which they begin.
    """

    prefix: str = ""
    limit: int = 0
    after: str = ""

    def takes(self, fqcn: str) -> bool:
        """Return whether a cell counts."""
        return fqcn.startswith(self.prefix)

    def cut(self, fqcns: Iterable[str]) -> list[str]:
        """Return the names of cells that count which are asked for, in their order."""
        behind = sorted(fqcn for fqcn in fqcns if fqcn > self.after)
        return behind[: self.limit] if self.limit else behind


ALL_CELLS = CellSelection()


@dataclasses.dataclass(frozen=True, slots=True)
class Hop:
    """One cell on the way to another, as ``trace()`` returns it.

    Attributes:
        fqcn: its name.
        incarnation: the number of its present life.
        software: name and version of what it runs.
        via: the next cell on the way, empty at the end.
        round_trip_s: seconds from asking to its answer.
    """

    fqcn: str
    incarnation: int
    software: str
    via: str
    round_trip_s: float
