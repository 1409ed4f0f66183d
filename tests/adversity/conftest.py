"""Tests that take ``carrier`` or ``pair`` run over the in-memory network and over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cells import CARRIERS, Carrier, Pair, connected_pair

# What tests have measured, shown at the end of the run.
SUMMARIES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(SUMMARIES, [])
    if lines:
        terminalreporter.section("adversity")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(params=sorted(CARRIERS))
def carrier(request: pytest.FixtureRequest) -> Carrier:
    """A network of its own for each test."""
    return CARRIERS[request.param]()


@pytest.fixture
def pair(carrier: Carrier) -> Iterator[Pair]:
    """Two connected cells, ``server`` and its child ``site``."""
    with connected_pair(carrier) as cells:
        yield cells
