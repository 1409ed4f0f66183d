"""streamcell alone: lanes, chunk sizes, no checksums, and the allocator as it is installed."""

from __future__ import annotations

from scripts.bench.report import KIB, MIB, Section
from scripts.bench.systems import STREAMCELL, System, cells
from scripts.bench.workloads.base import Outcome, Rounds
from scripts.bench.workloads.throughput import measure

LANES = (1, 2, 4)
CHUNKS = (256 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB)


def run(quick: bool) -> Outcome:
    size, rounds = (256 * MIB, 1) if quick else (1024 * MIB, 5)
    measured = Rounds(systems(quick))
    measured.run(rounds, lambda system: measure(system, size), lambda figures: f"{figures['gib_per_s']:.2f} GiB/s")
    lines = [
        [system.label, measured.text(system.label, "gib_per_s"), measured.text(system.label, "processor_s_per_gib")]
        for system in measured.systems
    ]
    section = Section(
        f"Stream of {size // MIB} MiB, by configuration", ["", "GiB/s", "processor s/GiB, both ends"], lines
    )
    figures = {"size_bytes": size, "systems": [system.label for system in measured.systems], **measured.figures()}
    return Outcome(figures, [], [section], measured.failures("a configuration"))


def systems(quick: bool) -> list[System]:
    chunks = CHUNKS[::2] if quick else CHUNKS
    return [
        STREAMCELL,
        *(cells(f"bulk_lanes={lanes}", bulk_lanes=lanes) for lanes in LANES),
        *(cells(f"chunk_bytes={chunk // KIB} KiB", chunk_bytes=chunk) for chunk in chunks),
        cells("no checksums", checksums=False),
        cells("tune_allocator=False", tune_allocator=False),
        cells("batch_grpc_threads=False", batch_grpc_threads=False),
    ]
