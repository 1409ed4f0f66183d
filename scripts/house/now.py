"""Calls of the core with a falling `now`, in a sample of the tests: those of the shell and of the public classes.

`python -m scripts.house.now [--root CHECKOUT] [TESTS …]` runs them with the plugin `scripts.house.falling`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.house.source import ROOT

# Where the tests of the sample are, or were.
SAMPLE = ("tests/shell/runtime", "tests/public", "tests/unit/runtime", "tests/api", "tests/contract")
BEGINNING = "calls of the core with a falling now"


def report(root: Path = ROOT, tests: Sequence[str] = ()) -> Iterator[str]:
    """Run the sample, and say what the plugin found."""
    chosen = tests or [each for each in SAMPLE if (root / each).is_dir() and any((root / each).rglob("test_*.py"))]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "scripts.house.falling", *chosen],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    yield from [line for line in lines if line.startswith((BEGINNING, "  "))] or [*lines[-20:], run.stderr]
    yield f"  in {' '.join(chosen)}: {lines[-1] if lines else 'nothing was run'}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Counts calls of the core whose time falls.")
    parser.add_argument("tests", nargs="*", help="paths of tests; the sample if there are none")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that is measured")
    arguments = parser.parse_args()
    print("\n".join(report(arguments.root.resolve(), arguments.tests)))
