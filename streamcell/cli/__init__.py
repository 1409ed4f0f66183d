"""The command line: one module for each family of verbs, and rendering apart from work. May import all below it.

Nothing is imported before :func:`main` runs that Python has not imported itself, so that Ctrl-C hardly ever comes
before somebody looks after it.
"""

from __future__ import annotations

import sys

_NEEDED = ("typer", "rich")
_CANNOT_RUN = 2
_INTERRUPTED = 130


def main() -> int:
    """Run the command line with the arguments of the process; return the exit code."""
    try:
        from streamcell.cli.streams import steady_streams

        with steady_streams():
            return _run()
    except KeyboardInterrupt:
        # Before a verb has begun, or after it has ended.
        print("streamcell: interrupted", file=sys.stderr)
        return _INTERRUPTED
    finally:
        # While the interpreter ends, too, Ctrl-C is not to show where in the source that was.
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run() -> int:
    import importlib.util

    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"streamcell: the command line needs {' and '.join(missing)}: pip install 'streamcell[cli]'",
            file=sys.stderr,
        )
        return _CANNOT_RUN
    from streamcell.cli.app import run
    from streamcell.cli.interrupts import ending_signals, noticed_signals

    with ending_signals(), noticed_signals():
        return run(sys.argv[1:])
