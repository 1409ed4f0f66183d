"""Starting the processes of a measurement, asking them, and ending them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any, cast

from scripts.bench.proxy import NetworkPath
from scripts.bench.systems import System, cells

START_S = 60.0
# No single command takes longer, on whatever machine.
COMMAND_S = 660.0
END_S = 15.0


class MeasurementError(RuntimeError):
    """A measurement could not be made; the text says why."""


class Process:
    """A process of the benchmark that answers each line of JSON with one, after a first one when it is ready."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"scripts.bench.{module}", *arguments]
        # What peers log is of interest only if they fail.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._input = cast("IO[str]", self._process.stdin)
        self._output = cast("IO[str]", self._process.stdout)
        try:
            self.greeting = self._hear(START_S)
        except MeasurementError:
            self.end()
            raise

    def ask(self, what: str, **arguments: float) -> dict[str, Any]:
        """Have a command carried out, and return what came of it."""
        try:
            print(json.dumps({"do": what, **arguments}), file=self._input, flush=True)
        except BrokenPipeError:
            pass
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
        self._errors.close()

    def _hear(self, timeout_s: float) -> dict[str, Any]:
        # A process that says nothing in time is killed, which ends the reading.
        guard = threading.Timer(timeout_s, self._process.kill)
        guard.start()
        try:
            line = self._output.readline()
        finally:
            guard.cancel()
        if not line:
            raise MeasurementError(
                f"a process of the benchmark has ended with status {self._process.wait(END_S)}: {self._last_words()}"
            )
        facts: dict[str, Any] = json.loads(line)
        return facts

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else "it said nothing"


class Worker(Process):
    """One end of a measurement, or what is between. See `worker`."""

    def __init__(self, system: System, role: str, address: str = "") -> None:
        super().__init__("worker", system.text(), role, address)


@contextlib.contextmanager
def pair(system: System | None = None, path: NetworkPath | None = None) -> Iterator[tuple[Worker, Worker]]:
    """Start a receiving and a sending process that are connected.

    Args:
        system: what to start; streamcell as it is if not given.
        path: what is between them; the loopback interface alone if not given.
    """
    system = system or cells()
    with contextlib.ExitStack() as stack:
        receiver = Worker(system, "receiver")
        stack.callback(receiver.end)
        address: str = receiver.greeting["address"]
        if path is not None:
            port = address.rpartition(":")[2]
            proxy = Process("proxy", port, str(path.bits_per_s), str(path.round_trip_s))
            stack.callback(proxy.end)
            address = re.sub(r"\d+$", str(proxy.greeting["port"]), address)
        sender = Worker(system, "sender", address)
        stack.callback(sender.end)
        yield receiver, sender


@contextlib.contextmanager
def chain(system: System) -> Iterator[tuple[Worker, Worker, Worker]]:
    """Start a receiver, a relay that is connected to it, and a sender that is connected to the relay."""
    with contextlib.ExitStack() as stack:
        receiver = Worker(system, "receiver")
        stack.callback(receiver.end)
        relay = Worker(system, "relay", receiver.greeting["address"])
        stack.callback(relay.end)
        sender = Worker(system, "sender", relay.greeting["address"])
        stack.callback(sender.end)
        yield receiver, relay, sender
