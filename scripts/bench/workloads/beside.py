"""Small round trips while a long stream runs to the same cell: on the loopback interface, and on a narrow path."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.bench.processes import pair
from scripts.bench.proxy import NetworkPath
from scripts.bench.report import GIB, KIB, MIB, Row, Section, at_most, median_and_slow
from scripts.bench.systems import NVFLARE_GRPC, NVFLARE_TCP, STREAMCELL, System, tuned
from scripts.bench.workloads.base import SAME_ALLOCATOR, Figures, Outcome, Rounds, same_for_all

SYSTEMS = (STREAMCELL, NVFLARE_GRPC, NVFLARE_TCP)
TUNED = (tuned(NVFLARE_GRPC), tuned(NVFLARE_TCP))
ECHO_BYTES = KIB
NARROW = NetworkPath(bits_per_s=64_000_000)
# How long the stream runs before the first round trip: its window is full by then.
LEAD_S, NARROW_LEAD_S = 0.3, 1.0

MOST_MS, MOST_BEYOND_MS = 10.0, 25.0


def run(quick: bool) -> Outcome:
    size, rounds, for_s = (2 * GIB, 2, 3.0) if quick else (4 * GIB, 5, 10.0)
    same_allocator = () if quick else TUNED
    wide, narrow = Rounds((*SYSTEMS, *same_allocator)), Rounds((STREAMCELL,) if quick else SYSTEMS)
    wide.run(rounds, lambda system: measure(system, size, for_s), show)
    narrow.run(rounds, lambda system: measure(system, size, for_s, NARROW), show)
    path = f"{NARROW.bits_per_s // 10**6} Mbit/s"
    sections = [
        section(f"1 KiB blob and back beside a stream of {size / GIB:g} GiB, loopback", wide, SYSTEMS),
        *same_for_all(lambda systems: section(SAME_ALLOCATOR, wide, systems), same_allocator),
        section(f"1 KiB blob and back through {path}, for {for_s:g} s of the stream", narrow, narrow.systems),
    ]
    figures = {
        "loopback": {"systems": [system.label for system in SYSTEMS], **wide.figures()},
        "narrow": {"systems": [system.label for system in narrow.systems], **narrow.figures()},
    }
    failures = wide.failures("beside a stream") + narrow.failures(f"beside a stream, {path}")
    beyond = narrow.spread(STREAMCELL.label, "slow_beyond_ms")
    rows: list[Row] = [
        at_most("99 of 100 round trips beside a stream", wide.spread(STREAMCELL.label, "slow_ms"), MOST_MS, "ms"),
        at_most(f"the same on {path}, beyond a round trip without a stream", beyond, MOST_BEYOND_MS, "ms"),
    ]
    return Outcome(figures, rows, sections, failures)


def measure(system: System, size: int, for_s: float, path: NetworkPath | None = None) -> Figures:
    lead_s = NARROW_LEAD_S if path else LEAD_S
    with pair(system, path) as (_, sender):
        alone = sender.ask("echo", size=ECHO_BYTES, count=100, outstanding=1)["round_trips"]
        found = sender.ask("beside", size=size, echo_size=ECHO_BYTES, after_s=lead_s, for_s=for_s)
    took = found["round_trips"]
    alone_ms, _ = median_and_slow(alone)
    median_ms, slow_ms = median_and_slow(took)
    return {
        "alone_ms": alone_ms,
        "count": len(took),
        "median_ms": median_ms,
        "slow_ms": slow_ms,
        "slow_beyond_ms": slow_ms - alone_ms,
        "stream_mib_per_s": found["stream_bytes"] / found["seconds"] / MIB,
    }


def show(figures: Figures) -> str:
    return f"{figures['median_ms']:.2f} ms, 99 of 100 below {figures['slow_ms']:.2f} ms ({figures['count']} measured)"


def section(title: str, measured: Rounds, systems: Sequence[System]) -> Section:
    names = ("alone_ms", "median_ms", "slow_ms", "stream_mib_per_s")
    lines = [
        [
            system.label,
            *(measured.text(system.label, name) for name in names),
            measured.text(system.label, "count", digits=0),
        ]
        for system in systems
    ]
    head = ["", "without a stream: median, ms", "beside it: median, ms", "99 of 100 below, ms"]
    head += ["the stream, MiB/s", "round trips measured"]
    return Section(title, head, lines)
