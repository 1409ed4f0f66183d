"""Cores that refuse a time that lies before one that they were told before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import pytest

from streamcell.protocol.cell import CellCore
from streamcell.runtime.cell import life


class StrictTime:
    """A core behind a check of every ``now`` that it is given.

    It stands around the core, and changes nothing of its class: so the core may be a compiled one.
    """

    def __init__(self, core: CellCore) -> None:
        self._core = core
        self._latest = float("-inf")
        for name, place in _PLACES.items():
            setattr(self, name, self._checked(getattr(core, name), place))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def _checked(self, verb: Callable[..., Any], place: int) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            now = named["now"] if "now" in named else args[place]
            if now < self._latest:
                raise AssertionError(f"{verb.__name__} was told the time {now}, after {self._latest}")
            self._latest = now
            return verb(*args, **named)

        return call


def strict(core: CellCore) -> CellCore:
    """Return ``core`` with a check of the time: it never falls."""
    return cast("CellCore", StrictTime(core))


class StrictCells:
    """The plugin: the cells of all tests have strict cores. One that is told an earlier time ends with that error."""

    def __init__(self) -> None:
        self._patch = pytest.MonkeyPatch()

    def pytest_configure(self) -> None:
        """Have every cell that starts from now on made so."""
        self._patch.setattr(life, "CellCore", _make_strict)

    def pytest_unconfigure(self) -> None:
        """Have cells made as ever."""
        self._patch.undo()


def _make_strict(**settings: Any) -> CellCore:
    return strict(CellCore(**settings))


def _places_of_now() -> dict[str, int]:
    """Return where the verbs of a core take the time, counted without ``self``."""
    places = {}
    for name, verb in inspect.getmembers(CellCore, callable):
        if not name.startswith("_"):
            parameters = list(inspect.signature(verb).parameters)
            if "now" in parameters:
                places[name] = parameters.index("now") - 1
    return places


_PLACES = _places_of_now()
