"""Runs simulated histories from the command line: ``scripts/simulate --help``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from tests.simulation.runner import Report, run_in_processes
from tests.simulation.simulation import STEPS, TOPOLOGIES, Options, Simulation

_PROGRESS_S = 10.0


def seed_range(text: str) -> range:
    """Return the seeds that ``FIRST..LAST`` names."""
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Run networks of cells through seeded faults in virtual time. The last line is a summary as JSON.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="run one history, and print what happened in it")
    which.add_argument("--seeds", type=seed_range, metavar="FIRST..LAST", help="run many histories (default 0..199)")
    parser.add_argument("--steps", type=int, default=STEPS, help="faults and transfers in a history (%(default)s)")
    parser.add_argument("--topology", default="", choices=["", *sorted(TOPOLOGIES)], help="default: the seed chooses")
    parser.add_argument("--no-restarts", action="store_true", help="neither kill nor stop cells")
    parser.add_argument("--notices", action="store_true", help="lanes announce their ends as well (other histories)")
    parser.add_argument("--sealed", action="store_true", help="most of what is sent is sealed (other histories)")
    parser.add_argument("--liar", action="store_true", help="there is a cell that lies (other histories)")
    parser.add_argument("--policy", action="store_true", help="cells have policies that change (other histories)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    parser.add_argument("--failures", type=int, default=3, help="stop after so many (%(default)s)")
    parser.add_argument("--trace", action="store_true", help="with --seed: every frame, too")
    parser.add_argument("--lines", type=int, default=200, help="with --seed: the last lines of it (%(default)s)")
    return parser.parse_args(words)


def show_history(seed: int, options: Options, *, trace: bool, lines: int) -> int:
    """Run one history and print it; returns the exit status."""
    simulation = Simulation(seed, options, trace=trace)
    try:
        simulation.run()
    except AssertionError as error:
        print(*simulation.history.last(lines), str(error).splitlines()[0], sep="\n")
        return 1
    print(*simulation.history.last(lines), "all is well", sep="\n")
    return 0


def run_histories(seeds: range, options: Options, jobs: int, most_failures: int) -> int:
    """Run histories and print a summary; returns the exit status."""
    total = Report(seeds.start)
    began = shown = time.monotonic()
    for report in run_in_processes(seeds.start, len(seeds), options, jobs):
        total.add(report)
        for failure in report.failures.values():
            print(failure, file=sys.stderr)
        if len(total.failures) >= most_failures:
            break
        if time.monotonic() - shown >= _PROGRESS_S:
            shown = time.monotonic()
            print(f"seeds {seeds.start}..{seeds.start + total.histories - 1} are done", file=sys.stderr)
    summary = total.summary(options) | {"elapsed_s": round(time.monotonic() - began, 1), "jobs": jobs}
    print(json.dumps(summary))
    return 1 if total.failures else 0


def main() -> int:
    arguments = parse()
    options = Options(
        arguments.steps,
        not arguments.no_restarts,
        arguments.topology,
        arguments.notices,
        arguments.liar,
        arguments.policy,
        arguments.sealed,
    )
    if arguments.seed is not None:
        return show_history(arguments.seed, options, trace=arguments.trace, lines=arguments.lines)
    return run_histories(arguments.seeds or range(200), options, arguments.jobs, arguments.failures)


if __name__ == "__main__":
    sys.exit(main())
