"""What checksums, copies and digests cost by themselves, in one process and without any network."""

from __future__ import annotations

from scripts.bench.processes import MeasurementError, Process
from scripts.bench.report import Section, Spread
from scripts.bench.workloads.base import Figures, Outcome

TITLES = {
    "checksum": "CRC32C, once at each end",
    "join": "joining a chunk into a message, at the sender (one copy)",
    "take apart": "taking a message apart, at the receiver (no copy)",
    "copy": "copying into a buffer that was used before (a blob, at the receiver)",
    "copy into fresh memory": "copying into memory that was never touched",
    "sha256": "SHA-256, only with digest=",
}


def run(quick: bool) -> Outcome:
    try:
        figures = measure(*((32, 3) if quick else (128, 9)))
    except MeasurementError as error:
        return Outcome({}, failures=[f"costs: {error}"])
    spreads = {name: Spread.of([each * 1e6 for each in figures[name]]) for name in TITLES}
    for name, spread in spreads.items():
        print(f"  {name}: {spread.text('us/MiB', 1)}", flush=True)
    lines = [[TITLES[name], spread.text(digits=1)] for name, spread in spreads.items()]
    return Outcome(figures, [], [Section("What is done with each chunk, by itself", ["", "µs/MiB"], lines)])


def measure(chunks: int, rounds: int) -> Figures:
    """Return the seconds for each chunk of 1 MiB, of each round, of each thing that is done."""
    process = Process("costs", str(chunks), str(rounds))
    process.end()
    return process.greeting
