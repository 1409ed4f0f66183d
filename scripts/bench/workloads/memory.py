"""How much memory each end takes for a stream, and whether that depends on the stream's length."""

from __future__ import annotations

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, Row, Spread
from scripts.bench.workloads.base import Outcome

ENDS = ("receiver", "sender")
MOST_BYTES = 128 * MIB
# Two lengths take the same if they differ by no more than this part, or by these bytes.
FLAT_PART, FLAT_BYTES = 0.10, 8 * MIB


def run(quick: bool) -> Outcome:
    sizes, rounds = ((GIB // 2, 2 * GIB), 1) if quick else ((GIB, 4 * GIB), 3)
    growth: dict[str, dict[int, list[int]]] = {end: {size: [] for size in sizes} for end in ENDS}
    for number in range(rounds):
        for size in sizes:
            for end, value in measure(size).items():
                growth[end][size].append(value)
        shown = ", ".join(f"{end} {growth[end][sizes[-1]][-1] / MIB:.0f} MiB" for end in ENDS)
        print(f"  round {number + 1}: {shown}", flush=True)
    return Outcome({"growth_bytes": growth}, rows(growth))


def measure(size: int) -> dict[str, int]:
    """Return by how much the peak of each end lies above what it took when connected."""
    with pair("streamcell") as ends:
        before = [end.ask("usage")["memory"] for end in ends]
        ends[1].ask("stream", size=size)
        after = [end.ask("usage")["peak"] for end in ends]
    return {end: later - earlier for end, earlier, later in zip(ENDS, before, after, strict=True)}


def rows(growth: dict[str, dict[int, list[int]]]) -> list[Row]:
    shown = []
    for end, by_size in growth.items():
        spreads = {size: Spread.of([value / MIB for value in values]) for size, values in by_size.items()}
        for size, spread in spreads.items():
            target = f"below {MOST_BYTES // MIB} MiB"
            figure = spread.text("MiB", 1)
            shown.append(Row(f"memory that a stream of {size / GIB:g} GiB adds, {end}", figure, target, met(spread)))
        short, long = (spread.median for spread in spreads.values())
        shown.append(flatness(end, short, long))
    return shown


def met(spread: Spread) -> bool:
    return spread.high * MIB < MOST_BYTES


def flatness(end: str, short: float, long: float) -> Row:
    flat = abs(long - short) <= max(FLAT_PART * short, FLAT_BYTES / MIB)
    target = f"within {FLAT_PART:.0%} or {FLAT_BYTES // MIB} MiB"
    return Row(f"the longer one beside the shorter, {end}", f"{long - short:+.1f} MiB", target, flat)
