"""Peer links of one cell, by where the peers listen. Runs on the engine."""

from __future__ import annotations

from streamcell.protocol.cell import CellCore
from streamcell.runtime.network.lanes import Lanes


class Peers:
    """The peer links that the application has asked for."""

    def __init__(self, core: CellCore, lanes: Lanes) -> None:
        self._core = core
        self._lanes = lanes
        self._numbers: dict[tuple[str, ...], int] = {}

    def connect(self, urls: tuple[str, ...], now: float) -> None:
        """Keep a peer link to the cell that listens there from now on. Asked again: dial soon if it was refused."""
        known = self._numbers.get(urls)
        if known is not None:
            self._core.hurry_uplink(known, now)
            return
        number = self._numbers[urls] = self._core.add_shortcut(now, len(urls))
        self._lanes.add_uplink(number, urls)

    def disconnect(self, urls: tuple[str, ...], now: float) -> bool:
        """End a peer link; returns whether there was one to these addresses."""
        number = self._numbers.pop(urls, None)
        if number is None:
            return False
        self._core.remove_shortcut(number, now)
        return True
