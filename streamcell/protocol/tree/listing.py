"""A list of cells, by name, of which a part is told to whoever asks for it."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from streamcell.protocol.wire.frames import CellInfo
from streamcell.topology import CellSelection


class Listing:
    """What is known of all cells at one moment. To choose from it costs no more than what is chosen."""

    def __init__(self, cells: Iterable[CellInfo]) -> None:
        self._cells = sorted(cells, key=lambda info: info.fqcn)
        self._names = [info.fqcn for info in self._cells]

    def select(self, selection: CellSelection) -> tuple[list[CellInfo], int]:
        """Return the cells that are asked for, and how many there are with the prefix."""
        first = bisect.bisect_left(self._names, selection.prefix)
        end = bisect.bisect_left(self._names, True, first, key=lambda name: not name.startswith(selection.prefix))
        start = max(first, bisect.bisect_right(self._names, selection.after))
        chosen = self._cells[start:end]
        return chosen[: selection.limit] if selection.limit else chosen, end - first
