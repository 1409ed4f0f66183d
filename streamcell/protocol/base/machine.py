"""State tables: how they are written, read and stepped.

Each table maps every (state, input) pair to what to do and the state that follows. A pair that is not written down is
ignored, and that is a decision, not an omission: frames cross on the way, so a half that has ended, or has moved on,
keeps getting inputs that no longer concern it. The owner of a state calls :func:`step`, stores the new state, and
then acts; nothing else changes a state.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar


class Symbol(enum.Enum):
    """An enumeration whose members are found in a table by identity: the states are looked up for every frame."""

    __hash__ = object.__hash__


_StateT = TypeVar("_StateT", bound=enum.Enum)
_InputT = TypeVar("_InputT", bound=enum.Enum)
_ActionT = TypeVar("_ActionT", bound=enum.Enum)


def step(
    table: Mapping[tuple[_StateT, _InputT], tuple[_ActionT, _StateT]],
    state: _StateT,
    event: _InputT,
) -> tuple[_ActionT, _StateT]:
    """Return what to do and the state that follows."""
    return table[state, event]
