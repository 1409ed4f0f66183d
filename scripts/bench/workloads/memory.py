"""How much memory each end takes for a stream, and whether that depends on the stream's length."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, NOT_MEASURED, Row, Section, Spread
from scripts.bench.systems import STREAMCELL, System
from scripts.bench.workloads.base import Figures, Outcome, Rounds
from streamcell import CellConfig

ENDS = ("receiver", "sender")
MOST_BYTES = CellConfig().max_window_bytes + 64 * MIB
# Two lengths take the same if they differ by no more than this part, or by these bytes.
FLAT_PART, FLAT_BYTES = 0.10, 8 * MIB


def run(quick: bool) -> Outcome:
    sizes, rounds = ((GIB, 4 * GIB), 1) if quick else ((GIB, 4 * GIB, 24 * GIB), 5)
    by_size = {size: Rounds((STREAMCELL,)) for size in sizes}
    for _ in range(rounds):
        for size, measured in by_size.items():
            measured.run(1, functools.partial(measure, size), show)
    failures = [line for size, each in by_size.items() for line in each.failures(f"a stream of {size // GIB} GiB")]
    values = {
        size: {end: [growth / MIB for growth in each.values(STREAMCELL.label, end)] for end in ENDS}
        for size, each in by_size.items()
    }
    return Outcome({"growth_mib": values}, rows(values), [section(values)], failures)


def measure(size: int, system: System = STREAMCELL) -> Figures:
    """Return by how much the peak of each end lies above what it took when connected."""
    with pair(system) as ends:
        before = [end.ask("usage")["memory"] for end in ends]
        ends[1].ask("stream", size=size)
        after = [end.ask("usage")["peak"] for end in ends]
    return {end: later - earlier for end, earlier, later in zip(ENDS, before, after, strict=True)}


def show(figures: Figures) -> str:
    return ", ".join(f"{end} {figures[end] / MIB:.1f} MiB" for end in ENDS)


def section(values: dict[int, dict[str, list[float]]]) -> Section:
    lines = [
        [f"{size // GIB} GiB", *(Spread.of(each[end]).text(digits=1) if each[end] else NOT_MEASURED for end in ENDS)]
        for size, each in values.items()
    ]
    return Section("Memory that a stream adds", ["", *(f"{end}, MiB" for end in ENDS)], lines)


def rows(values: dict[int, dict[str, list[float]]]) -> list[Row]:
    return [row for end in ENDS for row in rows_of(end, [each[end] for each in values.values()])]


def rows_of(end: str, by_size: Sequence[list[float]]) -> list[Row]:
    """Return what is demanded of one end; the lists are those of the lengths, in their order."""
    target = f"below {MOST_BYTES // MIB} MiB"
    what = f"memory that a stream adds, {end}"
    if not all(by_size):
        return [Row(what, NOT_MEASURED, target, None)]
    spreads = [Spread.of(each) for each in by_size]
    most = max(spread.high for spread in spreads)
    bound = Row(what, f"{most:.1f} MiB at the most", target, most * MIB < MOST_BYTES)
    return [bound, flatness(end, spreads[0].median, spreads[-1].median)]


def flatness(end: str, short: float, long: float) -> Row:
    flat = abs(long - short) <= max(FLAT_PART * short, FLAT_BYTES / MIB)
    target = f"within {FLAT_PART:.0%} or {FLAT_BYTES // MIB} MiB"
    return Row(f"the longest beside the shortest, {end}", f"{long - short:+.1f} MiB", target, flat)
