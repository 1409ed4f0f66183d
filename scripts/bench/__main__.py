"""Runs the workloads, prints a table, and writes everything to bench.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from scripts.bench import machine
from scripts.bench.report import DOCUMENT, Row, table, write_into
from scripts.bench.workloads import WORKLOADS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description="Measures streamcell on this machine.")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: a minute or two")
    parser.add_argument("--only", choices=WORKLOADS, nargs="+", default=list(WORKLOADS), help="some of the workloads")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="where all figures go")
    parser.add_argument("--document", action="store_true", help=f"put the table into {DOCUMENT} as well")
    parser.add_argument("--strict", action="store_true", help="a target that is missed is a failure")
    arguments = parser.parse_args()

    described = machine.describe()
    print(machine.line(described))
    rows: list[Row] = []
    figures = {}
    for name in arguments.only:
        print(f"{name}:")
        outcome = WORKLOADS[name](arguments.quick)
        figures[name] = outcome.figures
        rows += outcome.rows
    report = {"machine": described, "quick": arguments.quick, "figures": figures}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if arguments.document:
        write_into(DOCUMENT, f"{machine.line(described)}.\n\n{table(rows)}")
    print(f"\n{table(rows)}\n\nall figures: {arguments.output}")
    return 1 if arguments.strict and not all(row.met for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
