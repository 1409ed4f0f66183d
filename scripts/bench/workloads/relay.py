"""A long stream through a third process that only passes it on: speed, and the processor time of all three."""

from __future__ import annotations

from scripts.bench.processes import chain
from scripts.bench.report import GIB, MIB, Row, Section, at_least
from scripts.bench.systems import LANES, STREAMCELL, System, bare_grpc, tuned, with_batch_threads
from scripts.bench.workloads.base import Figures, Outcome, Rounds

BARE = tuned(bare_grpc(max(1, LANES)))
SYSTEMS = (STREAMCELL, BARE, with_batch_threads(BARE))
WARM_UP_BYTES = 128 * MIB
PROCESSES = ("receiver", "relay", "sender")

LEAST_OF_BARE_GRPC = 0.75


def run(quick: bool) -> Outcome:
    size, rounds = (256 * MIB, 1) if quick else (2 * GIB, 5)
    measured = Rounds(SYSTEMS)
    measured.run(rounds, lambda system: measure(system, size), lambda figures: f"{figures['gib_per_s']:.2f} GiB/s")
    figures = {"size_bytes": size, "systems": [system.label for system in SYSTEMS], **measured.figures()}
    return Outcome(figures, rows(measured), [section(size, measured)], measured.failures("a stream through a relay"))


def measure(system: System, size: int) -> Figures:
    with chain(system) as processes:
        sender = processes[-1]
        sender.ask("stream", size=WARM_UP_BYTES)
        before = [process.ask("usage")["processor_s"] for process in processes]
        seconds = sender.ask("stream", size=size)["seconds"]
        after = [process.ask("usage")["processor_s"] for process in processes]
    figures: Figures = {"seconds": seconds, "gib_per_s": size / seconds / GIB}
    for name, earlier, later in zip(PROCESSES, before, after, strict=True):
        figures[f"{name}_processor_s_per_gib"] = (later - earlier) / size * GIB
    return figures


def section(size: int, measured: Rounds) -> Section:
    names = ("gib_per_s", *(f"{name}_processor_s_per_gib" for name in ("relay", "sender", "receiver")))
    lines = [[system.label, *(measured.text(system.label, name) for name in names)] for system in SYSTEMS]
    head = ["", "GiB/s", "processor s/GiB, relay", "sender", "receiver"]
    return Section(f"Stream of {size // MIB} MiB through a relay", head, lines)


def rows(measured: Rounds) -> list[Row]:
    ratio = measured.ratio(STREAMCELL.label, BARE.label, "gib_per_s")
    return [at_least(f"stream through a relay, beside {BARE.label}", ratio, LEAST_OF_BARE_GRPC)]
