"""The work of ``cells``: who is whose parent.

``cells()`` tells all cells and over which child of the root each is reached; of those further below ``trace()`` tells
the parent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from streamcell.coats import questions
from streamcell.core_cell import CoreCell
from streamcell.errors import CellError
from streamcell.runtime.transfers import AnyFuture
from streamcell.topology import KnownCell

# Ways that are asked for at the same time.
_AT_A_TIME = 16


@dataclasses.dataclass(frozen=True, slots=True)
class TreeCell:
    """A cell and its place. ``parent`` is empty for the root."""

    known: KnownCell
    parent: str

    def to_values(self) -> dict[str, Any]:
        """Return it for JSON. What has 64 bits is text there: many programs read numbers with 53."""
        known = dataclasses.asdict(self.known) | {"incarnation": str(self.known.incarnation)}
        return {"parent": self.parent, **known}


@dataclasses.dataclass(frozen=True, slots=True)
class Branches:
    """What a tree is drawn with."""

    fork: str
    last: str
    trunk: str


_LINES = Branches("├── ", "└── ", "│   ")
_ASCII = Branches("|-- ", "`-- ", "|   ")


def branches_for(encoding: str) -> Branches:
    """Return what can be shown in an encoding."""
    try:
        "".join(dataclasses.astuple(_LINES)).encode(encoding)
    except UnicodeEncodeError:
        return _ASCII
    return _LINES


def find_tree(cell: CoreCell, wait_s: float) -> list[TreeCell]:
    """Return all cells but ``cell`` with their parents, by name.

    Raises:
        CellError: the root did not answer in time.
    """
    listed = cell.cells(wait_s)
    others = [known for known in listed if known.fqcn != cell.fqcn]
    # The root tells the list and is reached over none; if it is this cell's parent, this cell tells of it itself.
    root = next((known.fqcn for known in others if not known.via), _parent_of(cell))
    parents = {root: ""}
    # From this cell upwards each hop is the parent of the one before.
    above = [cell.fqcn, *_way(cell, root, wait_s)]
    parents.update(itertools.pairwise(above))
    unknown = []
    for known in others:
        if known.fqcn in parents:
            continue
        if known.via == known.fqcn:
            parents[known.fqcn] = root
        else:
            unknown.append(known)
    parents.update(_trace_parents(cell, unknown, wait_s))
    return [TreeCell(known, parents[known.fqcn]) for known in others]


def tree_lines(cells: Iterable[TreeCell], branches: Branches) -> Iterator[tuple[str, TreeCell]]:
    """Return the cells in the order of the tree, each with its name behind the branches that lead to it."""
    below: dict[str, list[TreeCell]] = {}
    for each in cells:
        below.setdefault(each.parent, []).append(each)

    def walk(parent: str, indent: str) -> Iterator[tuple[str, TreeCell]]:
        children = below.get(parent, [])
        for each in children:
            last = each is children[-1]
            branch, further = (branches.last, "    ") if last else (branches.fork, branches.trunk)
            if not parent:
                branch = further = ""
            yield f"{indent}{branch}{each.known.fqcn}", each
            yield from walk(each.known.fqcn, indent + further)

    return walk("", "")


def _parent_of(cell: CoreCell) -> str:
    links = cell.stats().protocol.links
    return next((link.fqcn for link in links if link.is_uplink), cell.fqcn)


def _trace_parents(cell: CoreCell, targets: list[KnownCell], wait_s: float) -> dict[str, str]:
    """Return the parent of each cell: the hop before it; the child of the root that it is below, if it has gone."""
    parents = {}
    for start in range(0, len(targets), _AT_A_TIME):
        asked = [(target, _ask_way(cell, target.fqcn, wait_s)) for target in targets[start : start + _AT_A_TIME]]
        for target, answer in asked:
            way = [cell.fqcn, *_names_on(answer)]
            parents[target.fqcn] = way[-2] if len(way) > 1 else target.via
    return parents


def _way(cell: CoreCell, target: str, wait_s: float) -> list[str]:
    """Return the names on the way to a cell; none if it cannot be told now."""
    return _names_on(_ask_way(cell, target, wait_s))


def _ask_way(cell: CoreCell, target: str, wait_s: float) -> AnyFuture:
    """Ask for the way as ``cell.trace`` does, but return a future of it: no thread waits for each."""
    return questions.trace(cell, target, wait_s)


def _names_on(answer: AnyFuture) -> list[str]:
    try:
        return [hop.fqcn for hop in answer.result()]
    except CellError:
        return []
