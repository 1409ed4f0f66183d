"""Very many streams at the same time."""

from __future__ import annotations

from scripts.bench.processes import MeasurementError, pair
from scripts.bench.report import MIB, Row, Section
from scripts.bench.systems import NVFLARE_GRPC, NVFLARE_TCP, STREAMCELL, System
from scripts.bench.workloads.base import Figures, Outcome, Rounds

SYSTEMS = (STREAMCELL, NVFLARE_GRPC, NVFLARE_TCP)
COUNT, SIZE = 1000, MIB


def run(quick: bool) -> Outcome:
    measured = Rounds((STREAMCELL,) if quick else SYSTEMS)
    measured.run(1 if quick else 5, measure, lambda figures: f"{figures['seconds']:.2f} s")
    names = ("seconds", "receiver_mib", "sender_mib")
    lines = [[system.label, *(measured.text(system.label, name) for name in names)] for system in measured.systems]
    head = ["", "s, until the last", "memory that they add, receiver, MiB", "sender, MiB"]
    section = Section(f"{COUNT:,} streams of {SIZE // MIB} MiB at once", head, lines)
    ours = measured.measured[STREAMCELL.label]
    delivered = [figures for figures in ours if figures]
    row = Row(
        f"{COUNT:,} streams at once, all delivered", f"in {len(delivered)} of {len(ours)} rounds", "in all", all(ours)
    )
    return Outcome(measured.figures(), [row], [section], measured.failures("many streams"))


def measure(system: System, count: int = COUNT, size: int = SIZE) -> Figures:
    with pair(system) as (receiver, sender):
        before = [end.ask("usage")["memory"] for end in (receiver, sender)]
        seconds = sender.ask("many", size=size, count=count)["seconds"]
        after = [end.ask("usage")["peak"] for end in (receiver, sender)]
        received = receiver.ask("received")
    if received != {"transfers": count, "bytes": count * size}:
        raise MeasurementError(f"of {count} streams of {size} bytes arrived: {received}")
    growth = [(later - earlier) / MIB for earlier, later in zip(before, after, strict=True)]
    return {"seconds": seconds, "receiver_mib": growth[0], "sender_mib": growth[1]}
