"""A long stream into a reader that discards it: speed, and the processor time of both ends."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, Row, Section, Spread, at_least, at_most
from scripts.bench.systems import (
    FLIGHT,
    LANES,
    NVFLARE_GRPC,
    NVFLARE_TCP,
    SOCKETS,
    STREAMCELL,
    System,
    bare_grpc,
    tuned,
    with_batch_threads,
)
from scripts.bench.workloads.base import SAME_ALLOCATOR, Figures, Outcome, Rounds, same_for_all

CALLS = sorted({1, 2, 4, max(1, LANES)})
INSTALLED = (STREAMCELL, NVFLARE_GRPC, NVFLARE_TCP, FLIGHT, *(bare_grpc(calls) for calls in CALLS), SOCKETS)
SAME_SETTINGS = with_batch_threads(tuned(bare_grpc(max(1, LANES))))
TUNED = (*(tuned(system) for system in INSTALLED[1:]), SAME_SETTINGS)
WARM_UP_BYTES = 128 * MIB

LEAST_OF_NVFLARE_GRPC, LEAST_OF_NVFLARE_TCP = 3.0, 1.1
LEAST_OF_BARE_GRPC, LEAST_OF_FLIGHT = 0.75, 0.8
MOST_PROCESSOR_OF_NVFLARE_GRPC = 0.5


def run(quick: bool) -> Outcome:
    size, rounds = (512 * MIB, 2) if quick else (2 * GIB, 5)
    same_allocator = [system for system in TUNED if not quick or system.peer in {"nvflare", "bare_grpc"}]
    measured = Rounds((*INSTALLED, *same_allocator))
    measured.run(rounds, lambda system: measure(system, size), lambda figures: f"{figures['gib_per_s']:.2f} GiB/s")
    figures = {
        "size_bytes": size,
        "installed": [system.label for system in INSTALLED],
        "tuned": [STREAMCELL.label, *(system.label for system in same_allocator)],
        **measured.figures(),
    }
    sections = [
        section(f"Stream of {size // MIB} MiB, everything as it is installed", measured, INSTALLED),
        *same_for_all(lambda systems: section(SAME_ALLOCATOR, measured, systems), same_allocator),
    ]
    return Outcome(figures, rows(measured), sections, measured.failures("the stream"))


def measure(system: System, size: int) -> Figures:
    with pair(system) as (receiver, sender):
        sender.ask("stream", size=WARM_UP_BYTES)
        before = [end.ask("usage")["processor_s"] for end in (sender, receiver)]
        seconds = sender.ask("stream", size=size)["seconds"]
        after = [end.ask("usage")["processor_s"] for end in (sender, receiver)]
    used = [(later - earlier) / size * GIB for earlier, later in zip(before, after, strict=True)]
    return {
        "seconds": seconds,
        "gib_per_s": size / seconds / GIB,
        "sender_processor_s_per_gib": used[0],
        "receiver_processor_s_per_gib": used[1],
        "processor_s_per_gib": sum(used),
    }


def section(title: str, measured: Rounds, systems: Sequence[System]) -> Section:
    lines = [
        [
            system.label,
            measured.text(system.label, "gib_per_s"),
            measured.text(system.label, "sender_processor_s_per_gib"),
            measured.text(system.label, "receiver_processor_s_per_gib"),
        ]
        for system in systems
    ]
    return Section(title, ["", "GiB/s", "processor s/GiB, sender", "receiver"], lines)


def rows(measured: Rounds) -> list[Row]:
    def faster(label: str) -> Spread | None:
        return measured.ratio(STREAMCELL.label, label, "gib_per_s")

    bare = next(system.label for system in TUNED if system.options.get("calls") == max(1, LANES))
    processor = measured.ratio(STREAMCELL.label, NVFLARE_GRPC.label, "processor_s_per_gib")
    return [
        at_least("stream, beside NVFlare grpc://", faster(NVFLARE_GRPC.label), LEAST_OF_NVFLARE_GRPC),
        at_least("stream, beside NVFlare tcp://", faster(NVFLARE_TCP.label), LEAST_OF_NVFLARE_TCP),
        at_least(f"stream, beside {bare}", faster(bare), LEAST_OF_BARE_GRPC),
        at_least("stream, beside Arrow Flight", faster(FLIGHT.label), LEAST_OF_FLIGHT),
        at_most("processor time of both ends, beside NVFlare grpc://", processor, MOST_PROCESSOR_OF_NVFLARE_GRPC),
    ]
