"""Tests that take ``carrier`` or ``pair`` run over the in-memory network and over gRPC."""

from __future__ import annotations

import pytest

from tests.kit.fixtures import carrier, carrier_kind, cells, either_pair, gate, network, pair

__all__ = ["carrier", "carrier_kind", "cells", "either_pair", "gate", "network", "pair", "pytest_terminal_summary"]

# What tests have measured, shown at the end of the run.
SUMMARIES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(SUMMARIES, [])
    if lines:
        terminalreporter.section("adversity")
        terminalreporter.write_line("\n".join(lines))
