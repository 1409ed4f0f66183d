"""The command line in processes of its own: started, waited for, killed, and always ended."""

from __future__ import annotations

import contextlib
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.kit.scripts import environment
from tests.kit.timing import scaled

LIMIT_S = scaled(60)
STREAMCELL = [sys.executable, "-m", "streamcell"]


class Lines:
    """What a stream of a process says, line by line, as it comes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.all: list[str] = []
        self._pipe = pipe
        self._fresh: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line in which `pattern` is found."""
        while (line := self._fresh.get(timeout=LIMIT_S)) is not None:
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


class Command:
    """A running command. A context manager: at its end it has ended, if need be by force."""

    def __init__(self, *arguments: str | Path, cwd: Path, prefix: list[str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*(prefix or []), *STREAMCELL, *map(str, arguments)],
            cwd=cwd,
            env=environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self.process.stdin is None or self.process.stdout is None or self.process.stderr is None:
            raise AssertionError("a pipe is missing")
        self.input = self.process.stdin
        self.output = Lines(self.process.stdout)
        self.errors = Lines(self.process.stderr)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended, and return its status."""
        status = self.process.wait(LIMIT_S)
        self.output.join()
        self.errors.join()
        return status

    def kill(self) -> None:
        """End it as `kill -9` does, and wait for it."""
        self.process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.input.close()
        self.wait()


@contextlib.contextmanager
def hub(
    cwd: Path, *more: str | Path, listen: str = "grpc://127.0.0.1:0", prefix: list[str] | None = None
) -> Iterator[tuple[Command, str]]:
    """Run a standing cell `hub` with an inbox; give it and its URL."""
    arguments = ("serve", "--fqcn", "hub", "--listen", listen, "--inbox", "inbox", *more)
    with Command(*arguments, cwd=cwd, prefix=prefix) as command:
        yield command, command.output.wait_for(r"hub listens at (\S+)")[1]


def run(
    *arguments: str | Path, cwd: Path, data: bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
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
