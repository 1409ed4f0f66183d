"""Starting the two ends of a measurement, asking them, and ending them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any, cast

START_S = 60.0
# No single command takes longer, on whatever machine.
COMMAND_S = 900.0
END_S = 15.0


class Worker:
    """A process that carries out commands. See `worker`."""

    def __init__(self, peer: str, address: str | None = None) -> None:
        command = [sys.executable, "-m", "scripts.bench.worker", peer, *([address] if address else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._input = cast("IO[str]", self._process.stdin)
        self._output = cast("IO[str]", self._process.stdout)
        try:
            self.greeting = self._hear(START_S)
        except RuntimeError:
            self.end()
            raise

    def ask(self, what: str, **arguments: int) -> dict[str, Any]:
        """Have a command carried out, and return what came of it."""
        print(json.dumps({"do": what, **arguments}), file=self._input, flush=True)
        return self._hear(COMMAND_S)

    def end(self) -> None:
        """Let the process end by itself, or kill it."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _hear(self, timeout_s: float) -> dict[str, Any]:
        # A process that says nothing in time is killed, which ends the reading.
        guard = threading.Timer(timeout_s, self._process.kill)
        guard.start()
        try:
            line = self._output.readline()
        finally:
            guard.cancel()
        if not line:
            raise RuntimeError(f"a process of the benchmark has ended with status {self._process.wait(END_S)}")
        facts: dict[str, Any] = json.loads(line)
        return facts


@contextlib.contextmanager
def pair(peer: str) -> Iterator[tuple[Worker, Worker]]:
    """Start a receiving and a sending process that are connected."""
    with contextlib.ExitStack() as stack:
        receiver = Worker(peer)
        stack.callback(receiver.end)
        sender = Worker(peer, receiver.greeting["address"])
        stack.callback(sender.end)
        yield receiver, sender
