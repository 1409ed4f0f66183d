"""How fast this machine is now, beside a quiet one: measured at the start of a run of the tests, and while it goes on.

A program of its own measures, so that the tests' own threads and locks do not disturb it: it is run as a script, with
the file that it writes into. It imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

# What a quiet machine takes, a slow one of this decade: for a piece of work that computes, and for so many times that a
# thread wakes another and is woken by it. The piece is longer than a turn that a scheduler gives to one of many.
WORK_S = 0.010
WORK_STEPS = 200_000
WAKING_S = 0.004
WAKINGS = 20
# The most that is believed. Beyond it a hanging test would never be ended.
SLOWEST = 50.0
# How often it is measured: 1 % of one processor.
EVERY_S = 1.0
# What the pace of the last few seconds is made of.
RECENT = 4

_RECORD = struct.Struct("<ddd")


def measure() -> float:
    """Return how many times longer things take now than on a quiet machine; never less than 1."""
    return min(SLOWEST, max(1.0, _work() / WORK_S, _wakings() / WAKING_S))


def measure_well() -> float:
    """Return the middle of some measurements."""
    return statistics.median(measure() for _ in range(5))


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _work() -> float:
    began = time.perf_counter()
    value = 0
    for step in range(WORK_STEPS):
        value = (value * 31 + step) & 0xFFFF
    return time.perf_counter() - began


def _wakings() -> float:
    there: queue.SimpleQueue[int] = queue.SimpleQueue()
    back: queue.SimpleQueue[int] = queue.SimpleQueue()

    def answer() -> None:
        for _ in range(WAKINGS):
            back.put(there.get())

    thread = threading.Thread(target=answer)
    thread.start()
    began = time.perf_counter()
    for number in range(WAKINGS):
        there.put(number)
        back.get()
    took = time.perf_counter() - began
    thread.join()
    return took


@dataclasses.dataclass(frozen=True)
class Pace:
    """What is known of a run's pace."""

    #: What times of tests are multiplied with at least: as measured at the start, times what workers share.
    base: float
    #: The pace of the last few seconds, the load of the tests themselves included.
    recent: float
    #: Seconds since the start, as a quiet machine would count them: fewer while this one is busy with other things.
    fair_s: float

    def write(self, path: Path) -> None:
        """Put it where `read` finds it, as a whole."""
        with path.open("r+b", buffering=0) as file:
            file.write(_RECORD.pack(self.base, self.recent, self.fair_s))

    @classmethod
    def read(cls, path: Path) -> Pace | None:
        """Return what was written last, or None if there is no run any more."""
        with contextlib.suppress(OSError, struct.error):
            return cls(*_RECORD.unpack(path.read_bytes()))
        return None


class Pacer:
    """The program that measures, for as long as a run of the tests lasts. It ends with its starter, in whatever way."""

    def __init__(self, path: Path, base: float) -> None:
        self.path = path
        path.write_bytes(b"")
        Pace(base, base, 0.0).write(path)
        self._process = subprocess.Popen([sys.executable, "-S", __file__, path], stdin=subprocess.PIPE)

    def end(self) -> None:
        """Let it end, and wait for that."""
        self._process.communicate()


def main(path: Path, life: IO[bytes]) -> None:
    """Measure until the input ends."""
    ended = threading.Event()

    def wait_for_the_end() -> None:
        life.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    pace = Pace.read(path)
    samples = [pace.recent if pace else 1.0]
    before = time.monotonic()
    while pace is not None and not ended.wait(EVERY_S):
        samples = [*samples, measure()][-RECENT:]
        now = time.monotonic()
        pace = Pace(pace.base, statistics.fmean(samples), pace.fair_s + (now - before) / samples[-1])
        before = now
        pace.write(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin.buffer)
