"""The cells that run in this process, as one of them or the application sees the others."""

from __future__ import annotations

import threading
from typing import Protocol

from streamcell.transport.address import Address, parse_address


class Resident(Protocol):
    """A cell that runs."""

    @property
    def fqcn(self) -> str:
        """Its name."""

    @property
    def listen_urls(self) -> tuple[str, ...]:
        """Where it listens, with real ports."""


class Residents:
    """Who runs, in the order of their starts. Safe for use by several threads."""

    def __init__(self) -> None:
        # Reentrant, as a destructor may run anywhere.
        self._lock = threading.RLock()
        self._residents: list[Resident] = []

    def add(self, resident: Resident) -> None:
        """Take note that a cell runs; it is kept alive until :meth:`remove`."""
        with self._lock:
            self._residents.append(resident)

    def remove(self, resident: Resident) -> None:
        """Take note that a cell has ended, if it ran."""
        with self._lock:
            self._residents = [each for each in self._residents if each is not resident]

    def running(self) -> list[Resident]:
        """Return all of them."""
        with self._lock:
            return list(self._residents)

    def listening_at(self, url: str) -> Resident | None:
        """Return which one listens at a place that ``url`` needs."""
        wanted = parse_address(url)
        for resident in self.running():
            if any(_overlap(wanted, parse_address(each)) for each in resident.listen_urls):
                return resident
        return None

    def namesake(self, resident: Resident) -> Resident | None:
        """Return another one that has the same name."""
        return next((each for each in self.running() if each.fqcn == resident.fqcn and each is not resident), None)


def _overlap(one: Address, other: Address) -> bool:
    """Return whether only one of two addresses can be listened at, as far as they can be compared without asking."""
    if one.name or other.name:
        return (one.scheme, one.name) == (other.scheme, other.name)
    if one.port != other.port:
        return False
    return one.is_wildcard or other.is_wildcard or one.host == other.host or (one.is_loopback and other.is_loopback)
