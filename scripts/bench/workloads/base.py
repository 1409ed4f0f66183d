"""What a workload is, and how it takes the systems that it compares in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from scripts.bench.processes import MeasurementError
from scripts.bench.report import NOT_MEASURED, Row, Section, Spread
from scripts.bench.systems import STREAMCELL, System

Figures: TypeAlias = dict[str, Any]

# The title of a second table, where peers are not as they are installed.
SAME_ALLOCATOR = "The same, with streamcell's allocator settings for everybody"

# A system that failed so often is not tried again.
TRIES = 2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a workload: everything that was measured, what is shown of it, and what failed."""

    figures: Figures
    rows: list[Row] = dataclasses.field(default_factory=list)
    sections: list[Section] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)


# Called with whether it is to be quick.
Workload: TypeAlias = Callable[[bool], Outcome]


def same_for_all(section: Callable[[Sequence[System]], Section], tuned: Sequence[System]) -> list[Section]:
    """Return the table of streamcell and the tuned peers, if there are any."""
    return [section((STREAMCELL, *tuned))] if tuned else []


class Rounds:
    """What was measured of each system in each round; None where that failed."""

    def __init__(self, systems: Sequence[System]) -> None:
        self.systems = systems
        self.measured: dict[str, list[Figures | None]] = {system.label: [] for system in systems}
        self.reasons: dict[str, list[str]] = {system.label: [] for system in systems}

    def run(self, count: int, measure: Callable[[System], Figures], show: Callable[[Figures], str]) -> None:
        """Measure A B A B and so on, since a machine's speed drifts."""
        for number in range(count):
            for system in self.systems:
                self._measure(system, number + 1, measure, show)

    def add(self, label: str, figures: Figures | None) -> None:
        self.measured[label].append(figures)

    def values(self, label: str, name: str) -> list[float]:
        return [each[name] for each in self.measured[label] if each is not None]

    def spread(self, label: str, name: str) -> Spread | None:
        values = self.values(label, name)
        return Spread.of(values) if values else None

    def text(self, label: str, name: str, unit: str = "", digits: int = 2) -> str:
        spread = self.spread(label, name)
        return spread.text(unit, digits) if spread else NOT_MEASURED

    def ratio(self, upper: str, lower: str, name: str, lower_name: str = "") -> Spread | None:
        """Return upper / lower, each round against the one beside it; None if there is no round that has both."""
        pairs = zip(self.measured[upper], self.measured[lower], strict=True)
        ratios = [ours[name] / theirs[lower_name or name] for ours, theirs in pairs if ours and theirs]
        return Spread.of(ratios) if ratios else None

    def failures(self, workload: str) -> list[str]:
        """Return a line for each system that failed in a round, however the others went."""
        return [
            f"{label}: {workload} failed in {len(reasons)} of {len(self.measured[label])} rounds: {reasons[-1]}"
            for label, reasons in self.reasons.items()
            if reasons
        ]

    def figures(self) -> Figures:
        return {"rounds": self.measured, "failures": {label: each for label, each in self.reasons.items() if each}}

    def _measure(
        self, system: System, number: int, measure: Callable[[System], Figures], show: Callable[[Figures], str]
    ) -> None:
        reasons = self.reasons[system.label]
        if len(reasons) >= TRIES:
            self.add(system.label, None)
            reasons.append(reasons[-1])
            return
        try:
            figures = measure(system)
        except MeasurementError as error:
            self.add(system.label, None)
            reasons.append(str(error))
            print(f"  {system.label}, round {number}: failed: {error}", flush=True)
            return
        self.add(system.label, figures)
        print(f"  {system.label}, round {number}: {show(figures)}", flush=True)
