"""Who is whose parent, from wherever one asks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from streamcell import CoreCell
from streamcell.cli.tree import TreeCell, branches_for, counted, find_tree, tree_lines
from streamcell.topology import CellSelection, KnownCell
from tests.kit.cells import CARRIERS, Carrier, running
from tests.kit.waiting import PATIENCE_S, eventually

PARENTS = {"hub": "", "lab": "hub", "lab.bench": "lab", "lab.bench.job": "lab.bench", "office": "hub"}


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]()


@pytest.fixture
def cells(carrier: Carrier) -> Iterator[dict[str, CoreCell]]:
    """The tree above, running and known to its root."""
    made: dict[str, CoreCell] = {}
    with contextlib.ExitStack() as ends:
        for name, parent in PARENTS.items():
            connect = made[parent].listen_urls if parent else None
            made[name] = carrier.cell(name, listen=carrier.url, connect=connect)
            ends.enter_context(running(made[name]))
            if parent:
                made[name].wait_connected(PATIENCE_S)
        eventually(lambda: {known.fqcn for known in made["hub"].cells()} == PARENTS.keys())
        yield made


@pytest.mark.parametrize("at", PARENTS)
def test_tree_is_the_same_from_everywhere(cells: dict[str, CoreCell], carrier: Carrier, at: str) -> None:
    asker = carrier.cell("asker", connect=cells[at].listen_urls)
    with running(asker):
        asker.wait_connected(PATIENCE_S)
        found = find_tree(asker, PATIENCE_S)
    assert {each.known.fqcn: each.parent for each in found.cells} == PARENTS
    assert found.total == len(PARENTS)


@pytest.mark.parametrize("at", ["hub", "lab.bench"])
def test_a_part_of_the_tree_has_the_same_parents(cells: dict[str, CoreCell], carrier: Carrier, at: str) -> None:
    asker = carrier.cell("lab.asker", connect=cells[at].listen_urls)
    with running(asker):
        asker.wait_connected(PATIENCE_S)
        first = find_tree(asker, PATIENCE_S, CellSelection("lab", 2))
        rest = find_tree(asker, PATIENCE_S, CellSelection("lab", 2, "lab.bench"))
        none = find_tree(asker, PATIENCE_S, CellSelection("elsewhere"))
    assert [(each.known.fqcn, each.parent) for each in first.cells] == [("lab", "hub"), ("lab.bench", "lab")]
    assert [(each.known.fqcn, each.parent) for each in rest.cells] == [("lab.bench.job", "lab.bench")]
    assert (first.total, rest.total, none.total, none.cells) == (3, 3, 0, [])
    assert counted(first) == "3 cells, 2 shown; --after lab.bench shows those behind"
    lines = [line for line, _ in tree_lines(first.cells, branches_for("ascii"))]
    assert lines == ["lab", "`-- lab.bench"]


def known(fqcn: str, parent: str) -> TreeCell:
    return TreeCell(KnownCell(fqcn, 1, "", "", "", 0.0), parent)


def test_lines_of_a_tree() -> None:
    lines = [line for line, _ in tree_lines((known(*each) for each in PARENTS.items()), branches_for("utf-8"))]
    assert lines == [
        "hub",
        "├── lab",
        "│   └── lab.bench",
        "│       └── lab.bench.job",
        "└── office",
    ]


def test_no_tree_has_no_lines() -> None:
    assert list(tree_lines([], branches_for("utf-8"))) == []


def test_lines_where_the_encoding_has_none() -> None:
    lines = [line for line, _ in tree_lines((known(*each) for each in PARENTS.items()), branches_for("ascii"))]
    assert lines[1:3] == ["|-- lab", "|   `-- lab.bench"]
    assert lines[-1] == "`-- office"
