"""A relay with a stream to a receiver that is slow: what it keeps of it, and how another stream gets through."""

from __future__ import annotations

import time

from scripts.bench.processes import MeasurementError, Worker, chain
from scripts.bench.report import GIB, MIB, NOT_MEASURED, Row, Section, at_least
from scripts.bench.systems import STREAMCELL, System
from scripts.bench.worker import SLOW_BYTES_PER_S
from scripts.bench.workloads.base import Figures, Outcome, Rounds
from streamcell import CellConfig

SLOW_STREAM_BYTES = 2 * GIB
# The other stream; one follows the other.
BYTES = 128 * MIB

LEAST_OF_ALONE = 0.8
MOST_BYTES = CellConfig().max_window_bytes + 32 * MIB


def run(quick: bool) -> Outcome:
    seconds, rounds = (4.0, 1) if quick else (15.0, 5)
    measured = Rounds((STREAMCELL,))
    measured.run(rounds, lambda system: measure(system, seconds), show)
    figures = {"seconds": seconds, **measured.figures()}
    return Outcome(figures, rows(measured), [section(seconds, measured)], measured.failures("beside a slow receiver"))


def measure(system: System, seconds: float) -> Figures:
    """Return the rate of streams beside a slow one for so long, and before and after it for half of that each."""
    with chain(system) as (_, relay, sender):
        slow = Worker(system, "slow", relay.greeting["address"])
        try:
            idle = relay.ask("usage")["memory"]
            sender.ask("stream", size=BYTES)
            before = rate(sender, seconds / 2)
            alone = relay.ask("usage")["peak"]
            sender.ask("begin_slow", size=SLOW_STREAM_BYTES)
            beside = rate(sender, seconds)
            both = relay.ask("usage")["peak"]
            read = slow.ask("received")["bytes"]
            sender.ask("end_slow")
            after = rate(sender, seconds / 2)
        finally:
            slow.end()
    if not read:
        raise MeasurementError("the slow receiver has read nothing")
    return {
        "alone_gib_per_s": (before + after) / 2,
        "beside_gib_per_s": beside,
        "slow_mib_per_s": read / seconds / MIB,
        "alone_mib": (alone - idle) / MIB,
        "both_mib": (both - idle) / MIB,
    }


def rate(sender: Worker, seconds: float) -> float:
    """Return the rate at which streams pass for so long, or a little longer, in GiB a second."""
    count, begun = 0, time.perf_counter()
    while time.perf_counter() < begun + seconds:
        sender.ask("stream", size=BYTES)
        count += 1
    return count * BYTES / (time.perf_counter() - begun) / GIB


def show(figures: Figures) -> str:
    return (
        f"{figures['beside_gib_per_s']:.2f} GiB/s instead of {figures['alone_gib_per_s']:.2f}, "
        f"relay {figures['both_mib']:.1f} MiB"
    )


def section(seconds: float, measured: Rounds) -> Section:
    def text(name: str) -> str:
        return measured.text(STREAMCELL.label, name)

    lines = [
        ["streams without it", text("alone_gib_per_s"), text("alone_mib")],
        [f"the same beside it, for {seconds:g} s", text("beside_gib_per_s"), text("both_mib")],
    ]
    head = ["", "GiB/s", "memory that the relay has taken by then, MiB"]
    return Section(f"A relay with a stream to a receiver that reads {SLOW_BYTES_PER_S // MIB} MiB/s", head, lines)


def rows(measured: Rounds) -> list[Row]:
    ratio = measured.ratio(STREAMCELL.label, STREAMCELL.label, "beside_gib_per_s", "alone_gib_per_s")
    what = "stream through a relay, beside a slow one, to without"
    return [memory_row(measured.values(STREAMCELL.label, "both_mib")), at_least(what, ratio, LEAST_OF_ALONE)]


def memory_row(growth_mib: list[float]) -> Row:
    what, target = "memory that a relay takes for both", f"below {MOST_BYTES // MIB} MiB"
    if not growth_mib:
        return Row(what, NOT_MEASURED, target, None)
    most = max(growth_mib)
    return Row(what, f"{most:.1f} MiB at the most", target, most * MIB < MOST_BYTES)
