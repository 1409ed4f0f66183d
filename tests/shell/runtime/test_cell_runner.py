"""A cell that is stopped by a signal, in the thread that starts it and before the engine has heard of it."""

from __future__ import annotations

import pytest

from streamcell import CellConfig, StreamFuture, UsageError
from streamcell.runtime.cell.life import CellSettings
from streamcell.runtime.cell.runner import CellRunner, CellState
from streamcell.testing import InMemoryNetwork
from tests.kit.waiting import PATIENCE_S


def test_a_stop_before_the_engine_has_heard_of_the_start_waits_for_nobody() -> None:
    def stop_meanwhile() -> InMemoryNetwork:
        assert runner.state is CellState.STARTING
        assert runner.begin_stop(0).result(PATIENCE_S) is None
        return InMemoryNetwork()

    settings = CellSettings(
        fqcn="cell", listen=("memory://cell",), connect=(), insecure=False, config=CellConfig(), software="test"
    )
    runner = CellRunner(settings, StreamFuture, stop_meanwhile)
    with pytest.raises(UsageError, match="was stopped while it was being started: make a new CoreCell"):
        runner.begin_start().result(PATIENCE_S)
    assert runner.state is CellState.STOPPED
    with pytest.raises(UsageError, match="has been stopped"):
        runner.begin_start()
