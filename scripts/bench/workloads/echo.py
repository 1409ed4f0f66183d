"""Small blobs that come back: how long one takes, and how many a second."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.bench.processes import pair
from scripts.bench.report import Row, Section, at_least, at_most, median_and_slow
from scripts.bench.systems import NVFLARE_GRPC, NVFLARE_TCP, STREAMCELL, System, tuned
from scripts.bench.workloads.base import SAME_ALLOCATOR, Figures, Outcome, Rounds, same_for_all

SYSTEMS = (STREAMCELL, NVFLARE_GRPC, NVFLARE_TCP)
TUNED = (tuned(NVFLARE_GRPC), tuned(NVFLARE_TCP))
SIZE = 1024
OUTSTANDING = 256
WARM_UP = 100

MOST_OF_ROUND_TRIP, LEAST_OF_RATE = 1 / 3, 25.0


def run(quick: bool) -> Outcome:
    single, many, rounds = (300, 4_000, 2) if quick else (2_000, 20_000, 5)
    same_allocator = () if quick else TUNED
    measured = Rounds((*SYSTEMS, *same_allocator))
    measured.run(
        rounds,
        # Where it takes long, fewer are enough.
        lambda system: measure(system, single, many if system is STREAMCELL else many // 20),
        lambda figures: f"{figures['median_ms']:.2f} ms, {figures['per_s']:,.0f} a second",
    )
    sections = [
        section("1 KiB blob and back", measured, SYSTEMS),
        *same_for_all(lambda systems: section(SAME_ALLOCATOR, measured, systems), same_allocator),
    ]
    figures = {"systems": [system.label for system in SYSTEMS], **measured.figures()}
    return Outcome(figures, rows(measured), sections, measured.failures("the echo"))


def measure(system: System, single: int, many: int) -> Figures:
    with pair(system) as (_, sender):
        sender.ask("echo", size=SIZE, count=WARM_UP, outstanding=8)
        took = sender.ask("echo", size=SIZE, count=single, outstanding=1)["round_trips"]
        seconds = sender.ask("echo", size=SIZE, count=many, outstanding=OUTSTANDING)["seconds"]
    median_ms, slow_ms = median_and_slow(took)
    return {"median_ms": median_ms, "slow_ms": slow_ms, "per_s": many / seconds}


def section(title: str, measured: Rounds, systems: Sequence[System]) -> Section:
    lines = [
        [
            system.label,
            measured.text(system.label, "median_ms"),
            measured.text(system.label, "slow_ms"),
            measured.text(system.label, "per_s", digits=0),
        ]
        for system in systems
    ]
    head = ["", "one at a time: median, ms", "99 of 100 below, ms", f"{OUTSTANDING} under way: a second"]
    return Section(title, head, lines)


def rows(measured: Rounds) -> list[Row]:
    ours, theirs = STREAMCELL.label, NVFLARE_GRPC.label
    round_trip = measured.ratio(ours, theirs, "median_ms")
    rate = measured.ratio(ours, theirs, "per_s")
    return [
        at_most("round trip of a 1 KiB blob, beside NVFlare grpc://", round_trip, MOST_OF_ROUND_TRIP),
        at_least("1 KiB blobs and back a second, beside NVFlare grpc://", rate, LEAST_OF_RATE),
    ]
