"""Processor time of a stream, a relay and an echo: this checkout beside another one, in turns.

`python -m scripts.house.cost --before /path/to/checkout --pairs 30`. Each workload runs in three sets of processes:
this checkout, the other one, and the other one again, which shows what chance alone does. A round asks each of them
once, in an order that changes from round to round; the sets are started anew every few rounds, since how a process came
to lie in memory is luck that lasts. What is compared is the user and system time of all processes of the workload, and
what is printed the median of the ratios of the rounds, with the quartiles.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from scripts.house.source import ROOT

WORKLOADS = ("stream", "relay", "echo")
PROGRAM = Path(__file__).with_name("cost_run.py")
# After so many rounds all processes are started anew.
ROUNDS_OF_A_SET = 6
END_S = 60.0


class Side:
    """A checkout that does one workload in processes of its own."""

    def __init__(self, root: Path, workload: str) -> None:
        self._process = subprocess.Popen(
            # -P: what is imported is the checkout's, and nothing from the folder of the program.
            [sys.executable, "-P", str(PROGRAM), workload],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._input = cast("IO[str]", self._process.stdin)
        self._output = cast("IO[str]", self._process.stdout)
        self._hear()

    def measure(self) -> float:
        """Do the work once, and return its processor time in seconds."""
        print(file=self._input, flush=True)
        return float(self._hear())

    def end(self) -> None:
        """Let the processes end."""
        self._input.close()
        self._output.close()
        self._process.wait(END_S)

    def _hear(self) -> str:
        line = self._output.readline()
        if not line:
            raise RuntimeError(f"the workload has ended with status {self._process.wait(END_S)}")
        return line


def measure(after: Path, before: Path, workload: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round, of `after`, `before` and `again`."""
    took: dict[str, list[float]] = {"after": [], "before": [], "again": []}
    roots = {"after": after, "before": before, "again": before}
    done = 0
    while done < rounds:
        with contextlib.ExitStack() as stack:
            sides = {}
            for name, root in roots.items():
                sides[name] = Side(root, workload)
                stack.callback(sides[name].end)
            for _ in range(min(ROUNDS_OF_A_SET, rounds - done)):
                names = list(took)
                first = done % len(names)
                for name in names[first:] + names[:first]:
                    took[name].append(sides[name].measure())
                done += 1
    return took


def ratio(over: list[float], under: list[float]) -> str:
    """Return the median of the ratios, with their quartiles."""
    ratios = [one / other for one, other in zip(over, under, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def report(after: Path, before: Path, pairs: int, workloads: tuple[str, ...] = WORKLOADS) -> Iterator[str]:
    """Compare two checkouts."""
    yield f"processor time, {pairs} pairs in turns: median of the ratios, with the quartiles"
    for workload in workloads:
        took = measure(after, before, workload, pairs)
        beside = ratio(took["after"], took["before"])
        chance = ratio(took["again"], took["before"])
        seconds = statistics.median(took["before"])
        yield f"  {workload}: after beside before {beside}; before beside before {chance}; before {seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the processor time of two checkouts.")
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--root", type=Path, default=ROOT, help="this checkout, if it is not the one of the program")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=WORKLOADS)
    arguments = parser.parse_args()
    after, before = arguments.root.resolve(), arguments.before.resolve()
    for line in report(after, before, arguments.pairs, tuple(arguments.only)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
