"""When the inbox of a standalone cell is cleaned: by what the wall clock says, as far as it can be believed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.names import WORK_FOLDER
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell

DAY_S = 24 * 3600.0
YEAR_S = 365 * DAY_S


def test_a_clock_that_is_set_within_a_life_makes_no_file_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "site" / WORK_FOLDER
    work.mkdir(parents=True)
    begun = work / "begun.part"
    begun.write_bytes(b"begun")
    began = time.time()
    ahead_s = {"wall": 0.0, "monotonic": 0.0}
    clocks = SimpleNamespace(
        time=lambda: began + ahead_s["wall"], monotonic=lambda: ahead_s["monotonic"], sleep=time.sleep
    )
    monkeypatch.setattr("streamcell.daemon.standalone.time", clocks)
    days = [
        {"wall": 10 * YEAR_S, "monotonic": 3600.0},
        {"wall": -10 * YEAR_S, "monotonic": 7200.0},
        {"wall": 10 * YEAR_S, "monotonic": 8 * DAY_S},
    ]
    kept = []

    class End(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            kept.append(begun.exists())
            if days:
                ahead_s.update(days.pop(0))
                return False
            return True

    settings = ServeSettings(fqcn="box", listen=("grpc://127.0.0.1:0",), inbox=InboxSettings(folder=tmp_path))
    with StandaloneCell(settings, LogWatcher()) as standalone:
        standalone.run(End())
    assert kept == [True, True, True, False]
