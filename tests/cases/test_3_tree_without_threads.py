"""The tree of cells is drawn where the system refuses threads. Case 3.1."""

from __future__ import annotations

import threading

import pytest

from streamcell.cli.tree import find_tree
from tests.kit.cells import memory_carrier, running
from tests.kit.waiting import PATIENCE_S


def refuse(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_case_3_1_the_tree_needs_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = memory_carrier()
    with (
        running(carrier.cell("hub", listen=carrier.url)) as hub,
        running(carrier.cell("relay", connect=hub.listen_urls, listen=carrier.url)) as relay,
        running(carrier.cell("leaf", connect=relay.listen_urls)) as leaf,
        running(carrier.cell("asker", connect=hub.listen_urls)) as asker,
    ):
        leaf.wait_connected(PATIENCE_S)
        asker.wait_connected(PATIENCE_S)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        found = {each.known.fqcn: each.parent for each in find_tree(asker, PATIENCE_S).cells}
        monkeypatch.undo()
    assert found == {"hub": "", "relay": "hub", "leaf": "relay"}
