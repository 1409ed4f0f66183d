"""Large blobs, one after the other, each until the receiver holds all of it and has dropped the one before."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, Row, Section, at_least
from scripts.bench.systems import NVFLARE_GRPC, NVFLARE_TCP, STREAMCELL, System, cells, tuned
from scripts.bench.workloads.base import SAME_ALLOCATOR, Figures, Outcome, Rounds, same_for_all

INTO = cells("streamcell, into=", into=True)
SYSTEMS = (STREAMCELL, INTO, NVFLARE_GRPC, NVFLARE_TCP)
TUNED = (tuned(NVFLARE_GRPC), tuned(NVFLARE_TCP))
# Opens connections and fills heaps, so that the first blob differs from the later ones by its memory alone.
WARM_UP_BYTES = 64 * MIB

LEAST_OF_NVFLARE_GRPC, LEAST_OF_NVFLARE_TCP, LEAST_OF_FRESH = 6.0, 4.0, 1.5


def run(quick: bool) -> Outcome:
    size, blobs, rounds = (256 * MIB, 3, 1) if quick else (512 * MIB, 8, 5)
    same_allocator = () if quick else TUNED
    measured = Rounds((*SYSTEMS, *same_allocator))
    measured.run(
        rounds,
        lambda system: measure(system, size, blobs),
        lambda figures: f"{figures['first']:.2f}, then {figures['later']:.2f} GiB/s",
    )
    sections = [
        section(f"Blob of {size // MIB} MiB, {blobs} in succession", measured, SYSTEMS),
        *same_for_all(lambda systems: section(SAME_ALLOCATOR, measured, systems), same_allocator),
    ]
    figures = {"size_bytes": size, "systems": [system.label for system in measured.systems], **measured.figures()}
    return Outcome(figures, rows(measured), sections, measured.failures("the blob"))


def measure(system: System, size: int, count: int) -> Figures:
    with pair(system) as (_, sender):
        sender.ask("stream", size=WARM_UP_BYTES)
        seconds = [sender.ask("blob", size=size)["seconds"] for _ in range(count)]
    speeds = [size / each / GIB for each in seconds]
    return {"speeds": speeds, "first": speeds[0], "later": statistics.median(speeds[1:])}


def section(title: str, measured: Rounds, systems: Sequence[System]) -> Section:
    lines = [
        [system.label, measured.text(system.label, "first"), measured.text(system.label, "later")] for system in systems
    ]
    return Section(title, ["", "the first, into fresh memory, GiB/s", "the later ones, GiB/s"], lines)


def rows(measured: Rounds) -> list[Row]:
    ours = STREAMCELL.label
    beside_grpc = measured.ratio(ours, NVFLARE_GRPC.label, "later")
    beside_tcp = measured.ratio(ours, NVFLARE_TCP.label, "later")
    beside_fresh = measured.ratio(INTO.label, ours, "later", "first")
    return [
        at_least("blob, beside NVFlare grpc://", beside_grpc, LEAST_OF_NVFLARE_GRPC),
        at_least("blob, beside NVFlare tcp://", beside_tcp, LEAST_OF_NVFLARE_TCP),
        at_least("blob with into=, beside one into fresh memory", beside_fresh, LEAST_OF_FRESH),
    ]
