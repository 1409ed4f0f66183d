"""The scheduling class of gRPC's threads: each test in a process of its own, since they are the process's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from streamcell.transport.grpc.threads import starting_grpc_threads
from tests.kit.timing import scaled

ONLY_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has such classes")

PROGRAM = """
import json, os, pathlib, sys
from streamcell import CellConfig, CoreCell

config = CellConfig(batch_grpc_threads=sys.argv[1] == "True")
with CoreCell("server", listen="grpc://127.0.0.1:0", config=config) as server:
    with CoreCell("site", connect=server.listen_urls, config=config) as site:
        site.wait_connected(float(sys.argv[2]))
        classes = {}
        for task in pathlib.Path("/proc/self/task").iterdir():
            name = (task / "comm").read_text().strip()
            classes.setdefault(name, []).append(os.sched_getscheduler(int(task.name)))
print(json.dumps(classes))
"""


async def class_meanwhile() -> int | None:
    """Return the class of this thread while it may start threads of gRPC; None where there are no classes."""
    with starting_grpc_threads(batch=True):
        return os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None


def classes_of_threads(*, batch: bool) -> tuple[set[int], set[int]]:
    """Return the classes of the event engine's threads and of all others while two cells are connected."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(batch), str(scaled(50))],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )
    found: dict[str, list[int]] = json.loads(run.stdout)
    started = {name for name in found if name in {"event_engine", "lifeguard"}}
    others = {scheduler for name, schedulers in found.items() if name not in started for scheduler in schedulers}
    return {scheduler for name in started for scheduler in found[name]}, others


@ONLY_LINUX
def test_the_event_engine_is_of_the_class_for_batch_work_and_no_other_thread_is() -> None:
    assert classes_of_threads(batch=True) == ({os.SCHED_BATCH}, {os.SCHED_OTHER})


@ONLY_LINUX
def test_it_can_be_left_alone() -> None:
    assert classes_of_threads(batch=False) == ({os.SCHED_OTHER}, {os.SCHED_OTHER})


@ONLY_LINUX
def test_a_class_that_somebody_has_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # Said of the thread, not given to it: on a busy machine a thread of that class may get no processor for minutes.
    changed: list[object] = []
    monkeypatch.setattr(os, "sched_getscheduler", lambda _thread: os.SCHED_IDLE)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *call: changed.append(call))
    assert asyncio.run(class_meanwhile()) == os.SCHED_IDLE
    assert changed == []


@ONLY_LINUX
def test_where_it_is_forbidden_everything_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    assert asyncio.run(class_meanwhile()) == os.SCHED_OTHER


def test_systems_without_classes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getscheduler", raising=False)
    assert asyncio.run(class_meanwhile()) is None
