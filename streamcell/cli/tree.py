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
from streamcell.topology import ALL_CELLS, CellSelection, KnownCell

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
class Tree:
    """The cells that are shown, and how many there are."""

    cells: list[TreeCell]
    total: int


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


def find_tree(cell: CoreCell, wait_s: float, selection: CellSelection = ALL_CELLS) -> Tree:
    """Return the chosen cells, but not ``cell``, with their parents, by name.

    Raises:
        CellError: the root did not answer in time.
    """
    # One more, since this cell may be among them.
    limit = selection.limit + 1 if selection.limit else 0
    listed = cell.cells(wait_s, prefix=selection.prefix, limit=limit, after=selection.after)
    others = [known for known in listed if known.fqcn != cell.fqcn]
    if selection.limit:
        del others[selection.limit :]
    total = listed.total - selection.takes(cell.fqcn)
    # Whoever has told is the root; if nobody has, or this cell itself, that is its parent.
    root = listed.told_by if listed.told_by != cell.fqcn else _parent_of(cell)
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
    return Tree([TreeCell(known, parents[known.fqcn]) for known in others], total)


def counted(tree: Tree) -> str:
    """Return how many of the cells are shown, and how to see others."""
    sentence = f"{tree.total:,} cells, {len(tree.cells):,} shown"
    return f"{sentence}; --after {tree.cells[-1].known.fqcn} shows those behind" if tree.cells else sentence


def tree_lines(cells: Iterable[TreeCell], branches: Branches) -> Iterator[tuple[str, TreeCell]]:
    """Return the cells in the order of the tree, each with its name behind the branches that lead to it.

    What is below a cell that is not shown begins at the left.
    """
    below: dict[str, list[TreeCell]] = {}
    cells = list(cells)
    shown = {each.known.fqcn for each in cells}
    for each in cells:
        below.setdefault(each.parent if each.parent in shown else "", []).append(each)

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
