"""Whether the cell is of use: its parent has accepted its name, and it is not about to end.

It is told to those who ask for the cell's health, and to a cell that is to end without its parent.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from streamcell.core_cell import CoreCell
from streamcell.errors import CellError

if TYPE_CHECKING:
    from streamcell.transport.grpc.services import HealthService


class Readiness:
    """Watches the uplink of a cell, where it is to have one.

    Args:
        cell: the cell, which is not started yet.
        health: who is told; None: nobody.
        has_uplink: whether there is a parent to be accepted by.
    """

    def __init__(self, cell: CoreCell, health: HealthService | None, *, has_uplink: bool) -> None:
        self._cell = cell
        self._health = health
        self._has_uplink = has_uplink
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._why_away = ""
        cell.set_cell_connected_cb(self._on_neighbour)
        cell.set_cell_disconnected_cb(self._on_neighbour)

    def look(self) -> None:
        """Look how things are, and tell it. Any thread but the engine's; the cell has been started."""
        with self._lock:
            self._look_at_uplink()
            self._tell()

    def begin_drain(self) -> None:
        """Say from now on that the cell is not to be used any more."""
        with self._lock:
            if self._health is not None:
                self._health.end_serving()

    def away_s(self) -> float:
        """Return for how many seconds the parent has not accepted this cell; 0 if it has, or there is to be none."""
        with self._lock:
            return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def why_away(self) -> str:
        """Return what keeps the parent from accepting this cell, as a sentence."""
        self.look()
        with self._lock:
            return self._why_away

    def _on_neighbour(self, _fqcn: str) -> None:
        self.look()

    def _look_at_uplink(self) -> None:
        if not self._has_uplink:
            return
        try:
            self._cell.wait_connected(0)
        except CellError as error:
            self._why_away = error.sentence
            if self._away_since is None:
                self._away_since = time.monotonic()
        else:
            self._away_since = None

    def _tell(self) -> None:
        if self._health is not None:
            self._health.set_serving(self._away_since is None)
