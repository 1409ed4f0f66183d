"""Kills a hub under many cells, starts it again, and tells how they come back.

The hub, the cells in groups, and what keeps the processors busy are processes of their own. First the cells connect, a
few at a time, which shows what a connect costs the hub; then the hub is killed and started again at once, and all of
them come at the same time. Figures are of Linux: they come from ``/proc``.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import logging
import multiprocessing
import os
import re
import resource
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from streamcell import CoreCell, Message

HUB = "hub"
HOST = "grpc://127.0.0.1"
# Cells of one process that connect at a time before the storm, and that echo at a time after it.
TOGETHER = 4
# How often it is looked what the hub takes.
LOOK_EVERY_S = 0.1
# Over which time it is looked what share of the processors it has.
WINDOW_S = 1.0
# The bounds that the last line compares with: of the time, of the processor time, of the descriptors.
TIME_FACTOR = 4.0
COST_FACTOR = 1.5
DESCRIPTORS_EACH, DESCRIPTORS_MORE = 1.5, 1000
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+:\d+")
HASHED_BYTES = 1 << 20
KIB = 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a storm is.

    :ivar busy: whether something else keeps all processors busy.
    :ivar patience_s: how long the cells may take to come back.
    """

    cells: int
    processes: int
    busy: bool
    patience_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a process has taken since its start.

    :ivar at: when that was.
    :ivar run_s: processor time of all its threads.
    """

    at: float
    run_s: float
    memory_kib: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Look at a process."""
        root = Path("/proc", str(pid))
        run_ns = 0
        for task in (root / "task").iterdir():
            try:
                run_ns += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
        resident = next(line for line in (root / "status").read_text().splitlines() if line.startswith("VmRSS"))
        descriptors = sum(1 for _ in (root / "fd").iterdir())
        return cls(time.monotonic(), run_ns / 1e9, int(resident.split()[1]), descriptors)


class Hub:
    """A process with a hub.

    :ivar looks: what it had taken, at one time after the other.
    """

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=run_hub, args=(port, there), daemon=True)
        self._process.start()
        self.port: int = self._pipe.recv()
        self.listening_at = time.monotonic()
        self.looks = [Usage.of(self._process.pid or 0)]

    def look(self) -> None:
        """Note what it has taken by now."""
        self.looks.append(Usage.of(self._process.pid or 0))

    @property
    def run_s(self) -> float:
        """Processor time since it listens."""
        return self.looks[-1].run_s - self.looks[0].run_s

    @property
    def descriptors(self) -> int:
        """The most that were open."""
        return max(each.descriptors for each in self.looks)

    def fullest_share(self) -> float:
        """Return the most processors that it had the use of, over WINDOW_S."""
        shares = [0.01]
        first = 0
        for last in self.looks[1:]:
            while self.looks[first + 1].at <= last.at - WINDOW_S:
                first += 1
            before = self.looks[first]
            shares.append((last.run_s - before.run_s) / max(WINDOW_S / 2, last.at - before.at))
        return max(shares)

    def cost(self, cells: int) -> str:
        """Return what a cell costs it, in words."""
        memory, descriptors = (
            (getattr(self.looks[-1], name) - getattr(self.looks[0], name)) / cells
            for name in ("memory_kib", "descriptors")
        )
        return f"{memory:.1f} KiB and {descriptors:.2f} descriptors"

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.join()


def run_hub(port: int, pipe: Connection) -> None:
    """Be the hub until killed."""
    hub = CoreCell(HUB, listen=f"{HOST}:{port}")
    hub.register_request_cb("storm", "echo", lambda request: Message(None, bytes(request.payload)))
    hub.start()
    pipe.send(int(hub.listen_urls[0].rpartition(":")[2]))
    pipe.poll(None)


def run_cells(url: str, names: Sequence[str], pipe: Connection) -> None:
    """Be some cells; tell of each connect, as (name, time), and echo through the hub when asked to."""
    failures = Failures()
    logging.getLogger("streamcell").addHandler(failures)
    logging.getLogger("streamcell.link").setLevel(logging.DEBUG)
    connecting = threading.Semaphore(TOGETHER)
    connected: list[tuple[str, float]] = []
    met: set[str] = set()

    def note(_hub: str, name: str) -> None:
        connected.append((name, time.monotonic()))
        if name not in met:
            met.add(name)
            connecting.release()

    cells = []
    for name in names:
        connecting.acquire()
        cell = CoreCell(name, connect=url)
        cell.set_cell_connected_cb(note, name)
        cell.start()
        cells.append(cell)
    while True:
        order = pipe.recv()
        if order == "tell":
            told, connected = connected, []
            pipe.send(told)
        elif order == "echo":
            with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
                pipe.send(sum(pool.map(echoes, cells)))
        elif order == "failures":
            pipe.send(failures.counts)
            failures.counts.clear()
        else:
            for cell in cells:
                cell.stop(0)
            return


class Failures(logging.Handler):
    """Counts dials that came to nothing, by reason, and what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.counts: collections.Counter[str] = collections.Counter()

    def emit(self, record: logging.LogRecord) -> None:
        _, _, text = record.getMessage().partition("] ")
        if text.startswith("no lane: "):
            self.counts[f"a dial came to nothing: {ADDRESS.sub('', text)}"] += 1
        elif record.levelno >= logging.ERROR:
            self.counts[f"an error was logged: {text}"] += 1


def echoes(cell: CoreCell) -> bool:
    """Return whether a cell is heard by the hub, and hears it."""
    return bytes(cell.send_request("storm", "echo", HUB, Message(None, b"hello"), 60).payload) == b"hello"


def keep_busy() -> None:
    """Use all processors, for ever."""
    data = bytes(HASHED_BYTES)
    for _ in range(os.cpu_count() or 1):
        threading.Thread(target=_hash_for_ever, args=(data,)).start()


def _hash_for_ever(data: bytes) -> None:
    while True:
        hashlib.sha256(data)


class Crowd:
    """The cells, in their processes."""

    def __init__(self, scale: Scale, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.names = [f"cell-{number}" for number in range(scale.cells)]
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        for process in range(scale.processes):
            here, there = context.Pipe()
            names = self.names[process :: scale.processes]
            worker = context.Process(target=run_cells, args=(f"{HOST}:{port}", names, there), daemon=True)
            worker.start()
            self._pipes.append(here)
            self._processes.append(worker)

    def follow(self, hub: Hub, patience_s: float) -> dict[str, float]:
        """Return when each cell has connected, as soon as all have, or when the time is over."""
        back: dict[str, float] = {}
        end = time.monotonic() + patience_s
        while len(back) < len(self.names) and time.monotonic() < end:
            time.sleep(LOOK_EVERY_S)
            hub.look()
            for told in self.ask("tell"):
                for name, at in told:
                    back.setdefault(name, at)
        hub.look()
        return back

    def ask(self, order: str) -> list[Any]:
        """Give an order to each process, and return their answers."""
        for pipe in self._pipes:
            pipe.send(order)
        return [pipe.recv() for pipe in self._pipes]

    def end(self) -> None:
        """Stop the cells."""
        for pipe in self._pipes:
            pipe.send("end")
        for process in self._processes:
            process.join(60)
            if process.is_alive():
                process.kill()


def measure(scale: Scale) -> None:
    """Make a storm, and print what came of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    others = []
    if scale.busy:
        others.append(multiprocessing.get_context("spawn").Process(target=keep_busy, daemon=True))
        others[0].start()
    hub = Hub(0)
    crowd = Crowd(scale, hub.port)
    began = time.monotonic()
    arrived = crowd.follow(hub, scale.patience_s)
    if len(arrived) < scale.cells:
        raise SystemExit(f"only {len(arrived)} of {scale.cells} cells connected within {scale.patience_s:g} s")
    first_ms = 1000 * hub.run_s / scale.cells
    print(
        f"{scale.cells} cells in {scale.processes} processes{', beside a busy one' if scale.busy else ''}; descriptors "
        f"allowed: {soft} of {hard}"
    )
    print(
        f"connected a few at a time within {max(arrived.values()) - began:.1f} s: each {first_ms:.2f} ms of the hub's "
        f"processor time, {hub.cost(scale.cells)}"
    )
    crowd.ask("tell")
    crowd.ask("failures")
    killed_at = time.monotonic()
    hub.kill()
    hub = Hub(hub.port)
    back = crowd.follow(hub, scale.patience_s)
    report(scale, hub, first_ms, killed_at, back)
    if len(back) == scale.cells:
        print(f"heard through the hub: {sum(crowd.ask('echo'))} of {scale.cells}")
    for reason, count in sum(crowd.ask("failures"), collections.Counter[str]()).most_common():
        print(f"{count} times {reason}")
    hub.kill()
    crowd.end()
    for each in others:
        each.kill()


def report(scale: Scale, hub: Hub, first_ms: float, killed_at: float, back: dict[str, float]) -> None:
    """Print how the cells have come back, beside the bounds."""
    took = sorted(at - hub.listening_at for at in back.values())
    again_ms = 1000 * hub.run_s / scale.cells
    print(f"hub killed, and listening again {hub.listening_at - killed_at:.1f} s later; back: {len(took)}")
    if took:
        marks = {"first": 0, "median": len(took) // 2, "99 %": len(took) * 99 // 100, "last": len(took) - 1}
        print("back after: " + ", ".join(f"{name} {took[place]:.2f} s" for name, place in marks.items()))
    share = hub.fullest_share()
    print(
        f"each {again_ms:.2f} ms of the hub's processor time, {hub.cost(scale.cells)}; {hub.run_s:.2f} s in all, with "
        f"{share:.2f} processors at its disposal"
    )
    bound_s = TIME_FACTOR * scale.cells * first_ms / 1000 / share
    most = DESCRIPTORS_EACH * scale.cells + DESCRIPTORS_MORE
    last = f"{took[-1]:.1f} s" if len(took) == scale.cells else "never"
    print(
        f"bounds: last {last} (at most {bound_s:.1f} s); {again_ms / first_ms:.2f} times a first connect (at most "
        f"{COST_FACTOR}); {hub.descriptors} descriptors (at most {most:.0f})"
    )
