"""The command line: one module for each family of verbs, and rendering apart from work. May import all below it."""

from __future__ import annotations

import importlib.util
import sys

_NEEDED = ("typer", "rich")
_CANNOT_RUN = 2
_INTERRUPTED = 130


def main() -> int:
    """Run the command line with the arguments of the process; return the exit code."""
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"streamcell: the command line needs {' and '.join(missing)}: pip install 'streamcell[cli]'",
            file=sys.stderr,
        )
        return _CANNOT_RUN
    try:
        from streamcell.cli.app import run
        from streamcell.cli.interrupts import noticed_signals

        with noticed_signals():
            return run(sys.argv[1:])
    except KeyboardInterrupt:
        # Before a verb has begun, or after it has ended.
        print("streamcell: interrupted", file=sys.stderr)
        return _INTERRUPTED
