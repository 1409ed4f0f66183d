"""A stream into a process in which a thread computes in Python all the time."""

from __future__ import annotations

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, Section, at_least
from scripts.bench.systems import System, cells
from scripts.bench.workloads.base import Figures, Outcome, Rounds

SWITCH_INTERVAL_S = 0.0005
ALONE = cells("no such thread")
AS_IT_IS = cells("beside the thread")
SWITCHING = cells(f"beside the thread, switch_interval_s={SWITCH_INTERVAL_S}", switch_interval_s=SWITCH_INTERVAL_S)
WARM_UP_BYTES = 32 * MIB

LEAST = 0.3


def run(quick: bool) -> Outcome:
    size, rounds = (256 * MIB, 2) if quick else (GIB, 5)
    measured = Rounds((ALONE, AS_IT_IS, SWITCHING))
    measured.run(rounds, lambda system: measure(system, size), lambda figures: f"{figures['gib_per_s']:.2f} GiB/s")
    lines = [[system.label, measured.text(system.label, "gib_per_s")] for system in measured.systems]
    section = Section(f"Stream of {size // MIB} MiB into a process that computes", ["", "GiB/s"], lines)
    ratio = measured.ratio(SWITCHING.label, ALONE.label, "gib_per_s")
    row = at_least("stream into a process that computes, beside one that does not", ratio, LEAST)
    return Outcome({"size_bytes": size, **measured.figures()}, [row], [section], measured.failures("computing"))


def measure(system: System, size: int) -> Figures:
    with pair(system) as (receiver, sender):
        sender.ask("stream", size=WARM_UP_BYTES)
        if system is not ALONE:
            receiver.ask("compute")
        seconds = sender.ask("stream", size=size)["seconds"]
    return {"seconds": seconds, "gib_per_s": size / seconds / GIB}
