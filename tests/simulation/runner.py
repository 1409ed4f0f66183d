"""Runs many histories in several processes, and adds up what there is to say of them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.simulation.simulation import Options, Outcome, Simulation

# Seeds that one task of a worker runs through.
_SEEDS_PER_TASK = 20


@dataclasses.dataclass(slots=True)
class Report:
    """What came of the histories from seed ``first`` on. ``failures``: what each failed history says."""

    first: int
    outcome: Outcome = dataclasses.field(default_factory=lambda: Outcome(histories=0))
    failures: dict[int, str] = dataclasses.field(default_factory=dict)
    cpu_s: float = 0.0

    @property
    def histories(self) -> int:
        """How many histories have been run."""
        return self.outcome.histories + len(self.failures)

    def add(self, other: Report) -> None:
        """Add the report of the seeds that follow."""
        self.outcome.add(other.outcome)
        self.failures.update(other.failures)
        self.cpu_s += other.cpu_s

    def summary(self, options: Options) -> dict[str, Any]:
        """Return the figures, ready to be written down."""
        outcome = self.outcome
        sent = outcome.bytes_delivered + outcome.bytes_resent
        return {
            "seeds": f"{self.first}..{self.first + self.histories - 1}",
            "steps": options.steps,
            "histories": self.histories,
            "failed": {seed: said.splitlines()[0] for seed, said in sorted(self.failures.items())},
            "virtual_hours": round(outcome.virtual_s / 3600, 1),
            "cpu_s": round(self.cpu_s, 1),
            "frames": outcome.frames,
            "transfers": outcome.transfers.total(),
            "ends": _sorted(outcome.transfers),
            "faults": outcome.faults.total(),
            "faults_by_kind": _sorted(outcome.faults),
            "resumed_after_restart": _sorted(outcome.resumed),
            "bytes_delivered": outcome.bytes_delivered,
            "resent_share": round(outcome.bytes_resent / sent, 4) if sent else 0.0,
        }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())


def run_seeds(first: int, count: int, options: Options) -> Report:
    """Run histories one after the other, in this process."""
    began = time.process_time()
    report = Report(first)
    for seed in range(first, first + count):
        try:
            report.outcome.add(Simulation(seed, options).run())
        except AssertionError as error:
            report.failures[seed] = str(error)
    report.cpu_s = time.process_time() - began
    return report


def run_in_processes(first: int, count: int, options: Options, jobs: int) -> Iterator[Report]:
    """Run histories in ``jobs`` processes; yields the reports of consecutive seeds, in order."""
    starts = range(first, first + count, _SEEDS_PER_TASK)
    sizes = [min(_SEEDS_PER_TASK, first + count - start) for start in starts]
    if jobs == 1:
        yield from (run_seeds(start, size, options) for start, size in zip(starts, sizes, strict=True))
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(run_seeds, starts, sizes, [options] * len(sizes))
