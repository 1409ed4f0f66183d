"""Runs the workloads, prints tables, and writes everything to bench.json."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from scripts.bench import machine
from scripts.bench.document import Report, write_document
from scripts.bench.report import DOCUMENT
from scripts.bench.workloads import WORKLOADS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description="Measures streamcell on this machine.")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: less than three minutes")
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=list(WORKLOADS), help="some of the workloads")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="where all figures go")
    parser.add_argument("--document", action="store_true", help=f"put tables and charts into {DOCUMENT} as well")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing, take the figures of this file")
    parser.add_argument("--strict", action="store_true", help="a target that is not known to be met is a failure")
    arguments = parser.parse_args()

    if arguments.source:
        report = Report.load(arguments.source)
    else:
        report = measure(arguments.only, arguments.quick)
        report.save(arguments.output)
    print(f"\n{report.text()}\n")
    if not arguments.source:
        print(f"all figures: {arguments.output}")
    if arguments.document:
        write_document(DOCUMENT, report)
    return 1 if arguments.strict and not all(row.met for row in report.rows) else 0


def measure(names: list[str], quick: bool) -> Report:
    described = machine.describe()
    print(machine.line(described), flush=True)
    report = Report(described, quick)
    for name in names:
        print(f"{name}:", flush=True)
        begun = time.monotonic()
        report.add(name, WORKLOADS[name](quick))
        print(f"  took {time.monotonic() - begun:.0f} s", flush=True)
    described["load_after"] = machine.load()
    return report


if __name__ == "__main__":
    raise SystemExit(main())
