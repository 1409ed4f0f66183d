"""What has ended leaves no connection open, whenever the garbage collector comes. Case 3.4."""

from __future__ import annotations

import dataclasses
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import CoreCell
from tests.kit.cells import QUICK, running
from tests.kit.proxy import proxy_to
from tests.kit.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def hub() -> Iterator[CoreCell]:
    with running(CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK)) as cell:
        yield cell


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def come_and_go(hub: CoreCell, fqcn: str) -> None:
    with running(CoreCell(fqcn, connect=hub.listen_urls, config=QUICK)) as site:
        site.wait_connected(PATIENCE_S)


@pytest.mark.usefixtures("no_collector")
def test_case_3_4_a_link_that_has_ended_leaves_nothing_open(hub: CoreCell) -> None:
    come_and_go(hub, "first")
    before = open_descriptors()
    for number in range(4):
        come_and_go(hub, f"site-{number}")
    eventually(lambda: open_descriptors() <= before)


@pytest.mark.usefixtures("no_collector")
def test_case_3_4_a_dial_that_is_refused_leaves_nothing_open() -> None:
    """A cell that waits for a place at a full hub dials again and again."""
    small = dataclasses.replace(QUICK, max_cells=1)
    with (
        running(CoreCell("hub", listen="grpc://127.0.0.1:0", config=small)) as full,
        running(CoreCell("first", connect=full.listen_urls, config=QUICK)) as first,
    ):
        first.wait_connected(PATIENCE_S)
        with proxy_to(full.listen_urls[0]) as proxy:
            before = open_descriptors()
            with running(CoreCell("next", connect=proxy.url, config=QUICK)):
                eventually(lambda: proxy.connections >= 6)
            eventually(lambda: open_descriptors() <= before)
