"""A relay with a stream to a receiver that is slow: what it keeps of it, and how other streams get through."""

from __future__ import annotations

import time

from scripts.bench.processes import MeasurementError, Worker, chain
from scripts.bench.report import GIB, MIB, NOT_MEASURED, Row, Section, at_least
from scripts.bench.systems import STREAMCELL, System
from scripts.bench.worker import SLOW_BYTES_PER_S
from scripts.bench.workloads.base import Figures, Outcome, Rounds
from streamcell import CellConfig

SLOW_STREAM_BYTES = 2 * GIB
# The other streams: one follows the other, from the same sender to a receiver that discards them.
BYTES = 128 * MIB
# The slow stream is alone for this part of its time.
ALONE_PART = 1 / 3

WINDOW_BYTES = CellConfig().max_window_bytes
MOST_BYTES, MOST_BYTES_OF_BOTH = WINDOW_BYTES + 32 * MIB, 2 * WINDOW_BYTES + 32 * MIB
LEAST_OF_WITHOUT = 0.8


def run(quick: bool) -> Outcome:
    seconds, rounds = (4.0, 1) if quick else (15.0, 5)
    measured = Rounds((STREAMCELL,))
    measured.run(rounds, lambda system: measure(system, seconds), show)
    figures = {"seconds": seconds, **measured.figures()}
    return Outcome(figures, rows(measured), [section(seconds, measured)], measured.failures("beside a slow receiver"))


def measure(system: System, seconds: float) -> Figures:
    """Return what the relay takes for a slow stream of so long, and the rate of streams beside it and after it."""
    alone_s = seconds * ALONE_PART
    with chain(system) as (_, relay, sender):
        slow = Worker(system, "slow", relay.greeting["address"])
        try:
            idle = relay.ask("usage")["memory"]
            sender.ask("begin_slow", size=SLOW_STREAM_BYTES)
            time.sleep(alone_s)
            alone = relay.ask("usage")["peak"]
            sender.ask("stream", size=BYTES)
            beside = rate(sender, seconds - alone_s)
            both = relay.ask("usage")["peak"]
            read = slow.ask("received")["bytes"]
            sender.ask("end_slow")
            without = rate(sender, seconds - alone_s)
        finally:
            slow.end()
    if not read:
        raise MeasurementError("the slow receiver has read nothing")
    return {
        "slow_mib": (alone - idle) / MIB,
        "both_mib": (both - idle) / MIB,
        "read_mib": read / MIB,
        "beside_gib_per_s": beside,
        "without_gib_per_s": without,
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
        f"{figures['beside_gib_per_s']:.2f} GiB/s beside it, {figures['without_gib_per_s']:.2f} without; "
        f"relay {figures['slow_mib']:.1f} MiB, with both {figures['both_mib']:.1f} MiB"
    )


def section(seconds: float, measured: Rounds) -> Section:
    def text(name: str) -> str:
        return measured.text(STREAMCELL.label, name)

    lines = [
        ["the slow stream alone", "", text("slow_mib")],
        [f"streams of {BYTES // MIB} MiB beside it", text("beside_gib_per_s"), text("both_mib")],
        ["such streams without it", text("without_gib_per_s"), ""],
    ]
    title = f"A relay with a stream to a receiver that reads {SLOW_BYTES_PER_S // MIB} MiB/s, for {seconds:g} s"
    return Section(title, ["", "GiB/s", "memory that the relay has taken by then, MiB"], lines)


def rows(measured: Rounds) -> list[Row]:
    ratio = measured.ratio(STREAMCELL.label, STREAMCELL.label, "beside_gib_per_s", "without_gib_per_s")
    return [
        memory_row("memory that a slow stream adds, relay", measured, "slow_mib", MOST_BYTES),
        memory_row("the same with other streams beside it", measured, "both_mib", MOST_BYTES_OF_BOTH),
        at_least("streams through a relay beside a slow one, to those without", ratio, LEAST_OF_WITHOUT),
    ]


def memory_row(what: str, measured: Rounds, name: str, most_bytes: int) -> Row:
    target = f"below {most_bytes // MIB} MiB"
    growth = measured.values(STREAMCELL.label, name)
    if not growth:
        return Row(what, NOT_MEASURED, target, None)
    return Row(what, f"{max(growth):.1f} MiB at the most", target, max(growth) * MIB < most_bytes)
