"""Thousands of random histories. A failing one prints its seed and its history; STREAMCELL_STORMS sets their number."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.kit.pace import cores
from tests.kit.timing import scaled
from tests.simulation import mutants
from tests.simulation.runner import Report, run_seeds
from tests.simulation.simulation import TOPOLOGIES, Options, Simulation

HISTORIES = int(os.environ.get("STREAMCELL_STORMS", "2000"))
# Those that run in this process, for the coverage of the core.
HERE = min(60, HISTORIES)
# Seeds in one test: few enough tests to read, small enough for the timeout of one.
PER_TEST = 100


@pytest.fixture(scope="module")
def pool(test_processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are quicker than this one, which measures coverage: enough for all processors."""
    processes = max(1, cores() // test_processes)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield pool


def check(report: Report) -> None:
    assert not report.failures, "\n\n".join(report.failures.values())


def test_some_histories_in_this_process() -> None:
    check(run_seeds(0, HERE, Options()))


@pytest.mark.parametrize("first", range(HERE, HISTORIES, PER_TEST))
@pytest.mark.timeout(scaled(120))
def test_nothing_is_lost_wrong_or_forgotten(pool: ProcessPoolExecutor, first: int) -> None:
    count = min(PER_TEST, HISTORIES - first)
    half = count // 2
    for report in pool.map(run_seeds, [first, first + half], [half, count - half], [Options()] * 2):
        check(report)


@pytest.mark.parametrize("first", range(0, HISTORIES // 10, PER_TEST // 4))
@pytest.mark.timeout(scaled(120))
def test_a_cell_that_lies_costs_the_others_nothing(pool: ProcessPoolExecutor, first: int) -> None:
    count = min(PER_TEST // 4, HISTORIES // 10 - first)
    (report,) = pool.map(run_seeds, [first], [count], [Options(liar=True)])
    check(report)
    assert report.outcome.faults["lie"] > 0


def test_policies_that_change_leave_nothing_hanging() -> None:
    report = run_seeds(0, 40, Options(policy=True))
    check(report)
    assert report.outcome.faults["policy changed"] > 0
    for end in ("done", "AUTHENTICATION"):
        assert report.outcome.transfers[end] > 0


def test_lanes_that_announce_their_ends() -> None:
    report = run_seeds(0, 20, Options(notices=True))
    check(report)
    assert report.outcome.faults["lane leaving"] > 0


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_without_restarts_nothing_fails_for_a_restart(topology: str) -> None:
    report = run_seeds(0, 10, Options(restarts=False, topology=topology))
    check(report)
    assert not {"RESUME", "OUTCOME_UNKNOWN", "STOPPING", "died"} & set(report.outcome.transfers)


def test_histories_do_have_faults_and_transfers() -> None:
    """A simulator that does nothing finds nothing."""
    outcome = run_seeds(0, 30, Options()).outcome
    for kind in ("lane cut", "lane stalled", "frame doubled", "chunk corrupted", "process frozen", "clock jumped"):
        assert outcome.faults[kind] > 0
    for end in ("done", "CANCELLED", "INTEGRITY", "REJECTED", "SOURCE", "STOPPING", "died"):
        assert outcome.transfers[end] > 0
    assert outcome.bytes_resent > 0


def command(*words: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *words],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_history_follows_from_its_seed() -> None:
    words = ("--seed", "7", "--trace", "--lines", "3000")
    here, there = command(*words, hash_seed=1), command(*words, hash_seed=2)
    assert here.returncode == 0, here.stderr
    assert "Hello(" in here.stdout
    assert here.stdout == there.stdout


def test_a_history_that_fails_says_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.simulation.FRAMES_IN_SILENCE", -1)
    with pytest.raises(AssertionError) as raised:
        Simulation(3, Options(steps=40)).run()
    said = str(raised.value)
    assert re.match(r"Violation: \d+ frames in 60.0 s of silence\n", said)
    assert "scripts/simulate --seed 3 --steps 40 --trace" in said
    assert len(said.splitlines()) < 100


@pytest.mark.slow
@pytest.mark.timeout(scaled(300))
@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.module)
def test_a_deliberate_bug_is_found(mutant: mutants.Mutant) -> None:
    assert mutants.find(mutant)


def test_the_readme_names_every_deliberate_bug() -> None:
    assert list(mutants.known_seeds()) == [mutant.name for mutant in mutants.MUTANTS], (
        "python -m tests.simulation.mutants makes the table anew"
    )
