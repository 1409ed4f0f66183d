"""How late the engine is."""

import threading

import pytest

from streamcell.daemon import lag
from streamcell.daemon.lag import LagMeter
from streamcell.runtime.engine.engine import get_engine
from tests.kit.waiting import PATIENCE_S, eventually


def test_lag_of_an_engine_that_stands_still_grows_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "INTERVAL_S", 0.01)
    meter = LagMeter()
    held, let_go = threading.Event(), threading.Event()

    def stand_still() -> None:
        held.set()
        let_go.wait(PATIENCE_S)

    meter.start()
    try:
        assert meter.seconds < PATIENCE_S
        get_engine().wake(stand_still)
        assert held.wait(PATIENCE_S)
        eventually(lambda: meter.seconds > 0.2)
        let_go.set()
        eventually(lambda: meter.seconds < 0.2)
    finally:
        let_go.set()
        meter.stop()
