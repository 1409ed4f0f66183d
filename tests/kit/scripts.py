"""Programs in processes of their own: started with a script, talked to over their standard streams, always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.kit.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]

# What every script may use.
PRELUDE = """
import hashlib, itertools, os, queue, signal, sys, threading, time, warnings
from streamcell import CellConfig, CellError, CoreCell, IterStream, Message, StreamCell, UsageError

# Python 3.12 and later say so of every fork beside threads.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, dial_timeout_s=5.0)

def say(*words):
    print(*words, flush=True)

def connected_pair():
    server = CoreCell("server", listen="grpc://127.0.0.1:0", config=QUICK)
    server.start()
    site = CoreCell("site", connect=server.listen_urls, config=QUICK)
    site.start()
    site.wait_connected(30)
    return server, site
"""


def environment() -> dict[str, str]:
    """Return the environment of a program: this one's, without what makes Python talk more."""
    noisy = {"PYTHONDEVMODE", "PYTHONWARNINGS", "PYTHONFAULTHANDLER"}
    return {key: value for key, value in os.environ.items() if key not in noisy} | {"PYTHONPATH": str(ROOT)}


def command(script: str) -> list[str]:
    """Return how a script is run."""
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(script)]


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    return subprocess.run(
        command(script),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )


class Program:
    """A script that runs in a process."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            command(script),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def hear(self, seconds: float = PATIENCE_S) -> str:
        """Wait for the next line that the script says."""
        if self._process.stdout is None:
            raise AssertionError("the program has no output")
        with self._time_limit(seconds):
            line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the program ended: {self._process.communicate()[1]}")
        return line.strip()

    def tell(self, line: str = "") -> None:
        """Give the script a line to read."""
        if self._process.stdin is not None:
            print(line, file=self._process.stdin, flush=True)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Wait for the end; return exit code and what was written to standard error."""
        _, errors = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, errors

    def wait_for_end(self) -> None:
        """Wait until the process has ended, even if a child of it has its output still."""
        self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End the process now, if it has not ended, and wait for it."""
        if self._process.poll() is None:
            # A process that was stopped does not go by SIGTERM.
            self._process.kill()
        self._process.communicate()

    @contextlib.contextmanager
    def _time_limit(self, seconds: float) -> Iterator[None]:
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextlib.contextmanager
def started(script: str) -> Iterator[Program]:
    """Start a script and end it at the end."""
    program = Program(script)
    try:
        yield program
    finally:
        program.kill()
