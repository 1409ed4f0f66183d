"""Times in tests follow the machine: what is measured, how limits stretch, and who runs beside whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.kit import limits, pace, timing
from tests.kit.side_by_side import SideBySide, with_escapes
from tests.kit.waiting import PATIENCE_S, eventually


def test_pace_is_never_better_than_that_of_a_quiet_machine() -> None:
    assert 1.0 <= pace.measure() <= pace.SLOWEST


def test_pace_is_written_for_all_processes_of_a_run_until_its_end(tmp_path: Path) -> None:
    pacer = pace.Pacer(tmp_path / "pace", 3.0)
    try:
        begun = pace.Pace.read(pacer.path)
        assert begun == pace.Pace(3.0, 3.0, 0.0)
        eventually(lambda: fair_time(pacer) > 0.0)
        passed_s = fair_time(pacer)
        eventually(lambda: fair_time(pacer) > passed_s)
    finally:
        pacer.end()
    assert pace.Pace.read(tmp_path / "nothing") is None


def fair_time(pacer: pace.Pacer) -> float:
    read = pace.Pace.read(pacer.path)
    assert read is not None
    assert read.base == 3.0
    return read.fair_s


def test_scale_follows_load_within_a_test_and_falls_for_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "pace"
    path.touch()
    monkeypatch.delenv(timing.OVERRIDE, raising=False)
    monkeypatch.setenv(timing.PACE_FILE, str(path))
    pace.Pace(2.0, 5.0, 0.0).write(path)
    scale = timing.TimeScale()
    scale.follow()
    assert scale.value == 2.0, "constants of modules are the same in all processes"
    scale.begin_test()
    assert scale.value == 5.0
    for recent, expected in ((4.0, 5.0), (7.0, 7.0), (1.0, 7.0)):
        pace.Pace(2.0, recent, 0.0).write(path)
        scale.follow()
        assert scale.value == expected
    scale.begin_test()
    assert scale.value == 2.0


def test_scale_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(timing.OVERRIDE, "2.5")
    scale = timing.TimeScale()
    scale.begin_test()
    assert scale.value == 2.5


def test_limit_is_over_when_a_quiet_machine_would_have_reached_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    set_to: list[float] = []
    over: list[bool] = []
    monkeypatch.setattr(timing, "fair_time", lambda: now_s[0])
    monkeypatch.setattr(limits.Alarm, "set", lambda alarm, seconds: set_to.append(seconds))
    alarm = limits.Alarm(60.0, lambda: over.append(True))
    now_s[0] += 20
    alarm.ring(0, None)
    now_s[0] += 35
    alarm.ring(0, None)
    assert (set_to, over) == ([40.0, 5.0], [])
    now_s[0] += 5
    alarm.ring(0, None)
    assert over == [True]


def test_limit_is_over_in_the_end_when_nobody_measures_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    over: list[bool] = []
    monkeypatch.setattr(timing, "fair_time", lambda: 0.0)
    alarm = limits.Alarm(60.0, lambda: over.append(True))
    later_s = time.monotonic() + 60.0 * pace.SLOWEST + 1
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    alarm.ring(0, None)
    assert over == [True]


def test_who_reaches_the_limit_shows_what_the_other_threads_do() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait_in_a_place_with_a_name() -> None:
        entered.set()
        go_on.wait(PATIENCE_S)

    thread = threading.Thread(target=wait_in_a_place_with_a_name, name="waits")
    thread.start()
    try:
        assert entered.wait(PATIENCE_S)
        shown = limits.stacks()
    finally:
        go_on.set()
        thread.join()
    assert "--- waits\n" in shown
    assert "wait_in_a_place_with_a_name" in shown
    assert "MainThread" not in shown, "pytest shows that one itself"


class Run:
    """A test of another process that is in the middle of its run, or waits to be let in."""

    def __init__(self, plugin: SideBySide, marks: tuple[str, ...] = ()) -> None:
        item = cast("pytest.Item", SimpleNamespace(get_closest_marker=lambda name: name if name in marks else None))
        self.inside = threading.Event()
        self._end = threading.Event()
        self._steps: Generator[None, Any, Any] = plugin.pytest_runtest_protocol(item)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        next(self._steps)
        self.inside.set()
        self._end.wait(PATIENCE_S)
        next(self._steps, None)


def test_a_test_that_wants_to_be_alone_is(tmp_path: Path) -> None:
    plugins = [SideBySide(tmp_path) for _ in range(4)]
    both = [Run(plugin) for plugin in plugins[:2]]
    for run in both:
        assert run.inside.wait(PATIENCE_S)
    alone = Run(plugins[2], ("alone",))
    both[0].end()
    assert not alone.inside.is_set()
    both[1].end()
    assert alone.inside.wait(PATIENCE_S)
    late = Run(plugins[3])
    assert not late.inside.is_set()
    alone.end()
    assert late.inside.wait(PATIENCE_S)
    late.end()


def test_what_is_no_unicode_is_told_with_escapes() -> None:
    assert with_escapes({"a\ud800": ["\udcff", ("b", 1)], "c": None}) == {
        "a\\ud800": ["\\udcff", ("b", 1)],
        "c": None,
    }
