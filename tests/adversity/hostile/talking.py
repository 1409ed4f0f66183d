"""Programs of these tests that are asked by a line on their standard input, and answer with a line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from tests.kit.programs import LIMIT_S, ROOT, Process, environment

Answers = Mapping[str, Callable[[], object]]


class Talking(Process):
    """A module of these tests that runs in a process of its own, and has said that it is ready."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"tests.adversity.hostile.{module}", *arguments]
        super().__init__(command, cwd=ROOT, variables=environment())
        self._system = psutil.Process(self.pid)
        self.ready = self._hear(LIMIT_S)

    def ask(self, word: str, seconds: float = LIMIT_S) -> Any:
        """Ask, and wait for the answer.

        Raises:
            queue.Empty: there was none in that time.
            AssertionError: the process has ended.
        """
        self.input.write(f"{word}\n".encode())
        self.input.flush()
        return self._hear(seconds)

    def resident_bytes(self) -> int:
        """Return how much memory it has now, as the system counts it."""
        return int(self._system.memory_info().rss)

    def processor_s(self) -> float:
        """Return how many seconds of the processor it has had."""
        times = self._system.cpu_times()
        return float(times.user + times.system)

    def _hear(self, seconds: float) -> Any:
        line = self.output.next(seconds)
        if line is None:
            self.wait()
            raise AssertionError(f"it ended: {self.errors.all}")
        return json.loads(line)


def answer(ready: object, answers: Answers) -> None:
    """Say that this process is ready, and answer what it is asked until its standard input ends."""
    _say(ready)
    for line in sys.stdin:
        _say(answers[line.strip()]())


def _say(thing: object) -> None:
    sys.stdout.write(json.dumps(thing) + "\n")
    sys.stdout.flush()
