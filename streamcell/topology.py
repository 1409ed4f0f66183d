"""What a cell can tell of the network around it, as values."""

from __future__ import annotations

import dataclasses


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
    """

    fqcn: str
    incarnation: int
    via: str
    address: str
    software: str
    known_for_s: float


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
