"""Programs in processes of their own: scripts, files and the command line, talked to over their standard streams.

They are bounded in time, and always ended, by their own id.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from tests.kit.timing import scaled

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = scaled(60)
STREAMCELL = [sys.executable, "-m", "streamcell"]

# What every script may use.
PRELUDE = """
import hashlib, itertools, os, queue, signal, sys, threading, time, warnings
from streamcell import CellConfig, CellError, CoreCell, IterStream, Message, StreamCell, UsageError

# Python 3.12 and later say so of every fork beside threads.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, connect_timeout_s=5.0)

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


class Lines:
    """What a stream of a process says, line by line, as it comes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.all: list[str] = []
        self._pipe = pipe
        self._fresh: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def next(self, seconds: float = LIMIT_S) -> str | None:
        """Wait for the next line that was not waited for yet; None at the end."""
        return self._fresh.get(timeout=seconds)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line in which `pattern` is found."""
        while (line := self.next()) is not None:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} was never printed: {self.all}")

    def join(self) -> None:
        """Wait until all was read."""
        self._thread.join(LIMIT_S)
        self._pipe.close()

    def _read(self) -> None:
        for raw in self._pipe:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.all.append(line)
            self._fresh.put(line)
        self._fresh.put(None)


class Process:
    """A running process. A context manager: at its end it has ended, if need be by force.

    If merged, what goes to the error output is a part of the output.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path = ROOT,
        variables: Mapping[str, str],
        merged: bool = False,
    ) -> None:
        self.process = subprocess.Popen(
            [*map(str, command)],
            cwd=cwd,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("a pipe is missing")
        self.input = self.process.stdin
        self.output = Lines(self.process.stdout)
        self.errors = Lines(self.process.stderr) if self.process.stderr else self.output

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended, and return its status."""
        status = self.process.wait(LIMIT_S)
        # What it has not read is nobody's.
        with contextlib.suppress(BrokenPipeError):
            self.input.close()
        self.output.join()
        self.errors.join()
        return status

    def wait_for_end(self) -> None:
        """Wait until it has ended, even if a child of it has its output still."""
        self.process.wait(LIMIT_S)

    def kill(self) -> None:
        """End it as `kill -9` does, and wait for it."""
        self.process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Program(Process):
    """A program as a user starts it, in Python if not said otherwise."""

    def __init__(self, *arguments: str | Path, cwd: Path = ROOT, interpreter: str = sys.executable) -> None:
        variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
        super().__init__([interpreter, *arguments], cwd=cwd, variables=variables, merged=True)

    @property
    def lines(self) -> list[str]:
        """All that it has printed."""
        return self.output.all

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it prints a line in which `pattern` is found."""
        return self.output.wait_for(pattern)


def run(*arguments: str | Path, cwd: Path = ROOT, interpreter: str = sys.executable) -> list[str]:
    """Run a program to its end, which must be a good one, and return the lines that it has printed."""
    with Program(*arguments, cwd=cwd, interpreter=interpreter) as program:
        assert program.wait() == 0, program.lines
        return program.lines


def unhappy(lines: Sequence[str]) -> list[str]:
    """Return the lines that no happy user would see."""
    return [line for line in lines if "Traceback" in line or "Error" in line]


def script_command(script: str) -> list[str]:
    """Return how a script is run."""
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(script)]


class Script(Process):
    """A script that runs in a process, with what `PRELUDE` gives to it."""

    def __init__(self, script: str) -> None:
        super().__init__(script_command(script), variables=environment())

    def hear(self, seconds: float = LIMIT_S) -> str:
        """Wait for the next line that the script says."""
        line = self.output.next(seconds)
        if line is None:
            self.wait()
            raise AssertionError(f"the script ended: {self.errors.all}")
        return line.strip()

    def tell(self, line: str = "") -> None:
        """Give the script a line to read."""
        self.input.write(f"{line}\n".encode())
        self.input.flush()

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and what was written to standard error."""
        status = self.wait()
        return status, "\n".join(self.errors.all)


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    return subprocess.run(
        script_command(script), env=environment(), capture_output=True, text=True, timeout=1.5 * LIMIT_S, check=False
    )


class Command(Process):
    """A running command of `streamcell`."""

    def __init__(self, *arguments: str | Path, cwd: Path, prefix: Sequence[str] = ()) -> None:
        variables = environment() | {"PYTHONUNBUFFERED": "1"}
        super().__init__([*prefix, *STREAMCELL, *arguments], cwd=cwd, variables=variables)


def make_certificates(folder: Path, *names: str) -> None:
    """Have an authority and certificates of these cells made in a folder, as users do it."""
    for arguments in (["init"], *(["issue", name, "--host", "127.0.0.1"] for name in names)):
        made = run_command("certs", *arguments, cwd=folder)
        assert made.returncode == 0, made.stderr


def certificate(name: str) -> tuple[str, ...]:
    """Return the options by which a command has one of them."""
    return ("--ca", "certs/ca.pem", "--cert", f"certs/{name}.pem", "--key", f"certs/{name}.key")


@contextlib.contextmanager
def hub(
    cwd: Path, *more: str | Path, listen: str = "grpc://127.0.0.1:0", prefix: Sequence[str] = ()
) -> Iterator[tuple[Command, str]]:
    """Run a standing cell `hub` with an inbox; give it and its URL."""
    arguments = ("serve", "--fqcn", "hub", "--listen", listen, "--inbox", "inbox", *more)
    with Command(*arguments, cwd=cwd, prefix=prefix) as command:
        yield command, command.output.wait_for(r"hub listens at (\S+)")[1]


def run_command(
    *arguments: str | Path, cwd: Path, data: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of `streamcell` to its end."""
    return subprocess.run(
        [*STREAMCELL, *map(str, arguments)],
        cwd=cwd,
        env=environment() | dict(variables or {}),
        input=data,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def complaint(ended: subprocess.CompletedProcess[bytes]) -> str:
    """Return the one sentence that a command that failed has said."""
    lines = ended.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]
