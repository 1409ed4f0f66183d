"""What the threads of this process have used so far, by what they do. Linux only."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TypeAlias

TASKS = Path("/proc/self/task")
# What runs in threads of Python, by how their names begin or end. The first that fits counts.
KINDS = (
    ("streamcell-engine", "loop"),
    ("bench-loop", "loop"),
    ("-source", "source"),
    ("-callback", "callback"),
    # In which gRPC waits for what its own threads have done.
    ("(_poll_wrapper)", "grpc"),
)
ALL_KINDS = ("loop", "grpc", "source", "callback", "other")

# For each kind: seconds in the program and in the kernel, and how often it gave the processor up or lost it.
Usage: TypeAlias = dict[str, dict[str, float]]
NAMES = ("program_s", "kernel_s", "gave_up", "lost")


def usage() -> Usage:
    """Return what each kind of thread has used; what threads have used that have ended is not in it."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    used: Usage = {kind: dict.fromkeys(NAMES, 0.0) for kind in ALL_KINDS}
    for task in TASKS.iterdir():
        try:
            each = read(task)
        except FileNotFoundError:
            # It has ended since.
            continue
        kind = used[kind_of(names.get(int(task.name)))]
        for name, value in each.items():
            kind[name] += value
    return used


def kind_of(name: str | None) -> str:
    """Return the kind of a thread of that name; None: a thread that Python does not know, which is gRPC's."""
    if name is None:
        return "grpc"
    return next((kind for part, kind in KINDS if name.startswith(part) or name.endswith(part)), "other")


def read(task: Path) -> dict[str, float]:
    # The command's name, in parentheses, may contain anything (proc(5)).
    fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (task / "status").read_text(encoding="utf-8").splitlines())
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return {
        "program_s": int(fields[11]) / ticks_per_s,
        "kernel_s": int(fields[12]) / ticks_per_s,
        "gave_up": float(status["voluntary_ctxt_switches"]),
        "lost": float(status["nonvoluntary_ctxt_switches"]),
    }
