"""Very many streams at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.bench.processes import MeasurementError, pair
from scripts.bench.report import MIB, Row, Section
from scripts.bench.systems import NVFLARE_GRPC, NVFLARE_TCP, STREAMCELL, System, tuned
from scripts.bench.workloads.base import SAME_ALLOCATOR, Figures, Outcome, Rounds, same_for_all

SYSTEMS = (STREAMCELL, NVFLARE_GRPC, NVFLARE_TCP)
TUNED = (tuned(NVFLARE_GRPC), tuned(NVFLARE_TCP))
COUNT, SIZE = 1000, MIB


def run(quick: bool) -> Outcome:
    installed = (STREAMCELL,) if quick else SYSTEMS
    same_allocator = () if quick else TUNED
    measured = Rounds((*installed, *same_allocator))
    measured.run(1 if quick else 5, measure, lambda figures: f"{figures['seconds']:.2f} s")
    sections = [
        section(f"{COUNT:,} streams of {SIZE // MIB} MiB at once", measured, installed),
        *same_for_all(lambda systems: section(SAME_ALLOCATOR, measured, systems), same_allocator),
    ]
    ours = measured.measured[STREAMCELL.label]
    delivered = [figures for figures in ours if figures]
    row = Row(
        f"{COUNT:,} streams at once, all delivered", f"in {len(delivered)} of {len(ours)} rounds", "in all", all(ours)
    )
    return Outcome(measured.figures(), [row], sections, measured.failures("many streams"))


def section(title: str, measured: Rounds, systems: Sequence[System]) -> Section:
    names = ("seconds", "receiver_mib", "sender_mib")
    lines = [[system.label, *(measured.text(system.label, name) for name in names)] for system in systems]
    return Section(title, ["", "s, until the last", "memory that they add, receiver, MiB", "sender, MiB"], lines)


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
