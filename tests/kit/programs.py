"""Programs as a user starts them: in processes of their own, bounded in time, ended by their own id."""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from tests.kit.timing import scaled

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = scaled(60)


class Program:
    """A running program, in Python if not said otherwise. A context manager: at its end the program has ended."""

    def __init__(self, *arguments: str | Path, cwd: Path = ROOT, interpreter: str = sys.executable) -> None:
        command = [interpreter, *map(str, arguments)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._input = cast("IO[str]", self.process.stdin)
        self._output = cast("IO[str]", self.process.stdout)
        self._fresh: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the program prints a line in which `pattern` is found."""
        while (line := self._fresh.get(timeout=LIMIT_S)) is not None:
            found = re.search(pattern, line)
            if found:
                return found
        raise AssertionError(f"{pattern!r} was never printed: {self.lines}")

    def close_input(self) -> None:
        """Let the program read the end of its input."""
        self._input.close()

    def wait(self) -> int:
        """Wait until the program has ended, and return its status."""
        status = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        self._input.close()
        self._output.close()

    def _read(self) -> None:
        for line in self._output:
            self.lines.append(line.rstrip("\n"))
            self._fresh.put(line.rstrip("\n"))
        self._fresh.put(None)


@contextlib.contextmanager
def running(*arguments: str | Path, cwd: Path = ROOT, interpreter: str = sys.executable) -> Iterator[Program]:
    """Run a program in the background."""
    with Program(*arguments, cwd=cwd, interpreter=interpreter) as program:
        yield program


def run(*arguments: str | Path, cwd: Path = ROOT, interpreter: str = sys.executable) -> list[str]:
    """Run a program to its end, which must be a good one, and return the lines that it has printed."""
    with Program(*arguments, cwd=cwd, interpreter=interpreter) as program:
        status = program.wait()
        assert status == 0, program.lines
        return program.lines


def unhappy(lines: Sequence[str]) -> list[str]:
    """Return the lines that no happy user would see."""
    return [line for line in lines if "Traceback" in line or "Error" in line]
