"""Which threads of both ends spend their time on a stream, and how often they give the processor up."""

from __future__ import annotations

from scripts.bench.processes import Worker, pair
from scripts.bench.report import GIB, MIB, Section
from scripts.bench.systems import STREAMCELL, System, bare_grpc, tuned
from scripts.bench.threads import ALL_KINDS, TASKS, Usage
from scripts.bench.workloads.base import Figures, Outcome, Rounds

SYSTEMS = (STREAMCELL, tuned(bare_grpc(1)))
ENDS = ("sender", "receiver")
WARM_UP_BYTES = 128 * MIB

TITLES = {
    "loop": "the loop's thread",
    "grpc": "gRPC's own threads",
    "source": "source",
    "callback": "callback",
    "other": "others",
}


def run(quick: bool) -> Outcome:
    if not TASKS.exists():
        return Outcome({}, failures=["threads: this system does not tell what each thread uses"])
    size, rounds = (512 * MIB, 1) if quick else (2 * GIB, 5)
    measured = Rounds(SYSTEMS)
    measured.run(rounds, lambda system: measure(system, size), show)
    figures = {"size_bytes": size, "systems": [system.label for system in SYSTEMS], **measured.figures()}
    return Outcome(figures, [], sections(size, measured), measured.failures("the threads"))


def measure(system: System, size: int) -> Figures:
    with pair(system) as (receiver, sender):
        sender.ask("stream", size=WARM_UP_BYTES)
        before = [usage_of(end) for end in (sender, receiver)]
        seconds = sender.ask("stream", size=size)["seconds"]
        after = [usage_of(end) for end in (sender, receiver)]
    figures: Figures = {"gib_per_s": size / seconds / GIB}
    for end, earlier, later in zip(ENDS, before, after, strict=True):
        for kind in ALL_KINDS:
            used = {name: (value - earlier[kind][name]) / size * MIB for name, value in later[kind].items()}
            figures[f"{end} {kind} us"] = (used["program_s"] + used["kernel_s"]) * 1e6
            figures[f"{end} {kind} kernel_us"] = used["kernel_s"] * 1e6
            figures[f"{end} {kind} gave_up"] = used["gave_up"]
            figures[f"{end} {kind} lost"] = used["lost"]
    return figures


def usage_of(end: Worker) -> Usage:
    return end.ask("threads")


def show(figures: Figures) -> str:
    return ", ".join(f"{end}'s loop {figures[f'{end} loop us']:.0f} us/MiB" for end in ENDS)


def sections(size: int, measured: Rounds) -> list[Section]:
    of = f"for each MiB of a stream of {size // MIB} MiB"
    times = f"Processor time of threads, µs {of}"
    waits = f"How often they stood still to wait, {of}"
    return [
        section(times, measured, "us", 0, ("of all, in the kernel (median)", "kernel_us")),
        section(waits, measured, "gave_up", 2, ("all, while they had more to do (median)", "lost")),
    ]


def section(title: str, measured: Rounds, name: str, digits: int, last: tuple[str, str]) -> Section:
    """Return the table of a figure for each kind of thread; ``last`` is what is shown of all of them together."""
    last_title, last_name = last
    lines = [
        [
            f"{system.label}: {end}",
            *(measured.text(system.label, f"{end} {kind} {name}", digits=digits) for kind in ALL_KINDS),
            total(measured, system, f"{end} {{}} {last_name}", digits),
        ]
        for system in measured.systems
        for end in ENDS
    ]
    return Section(title, ["", *TITLES.values(), last_title], lines)


def total(measured: Rounds, system: System, name: str, digits: int) -> str:
    """Return the sum of the medians of all kinds of thread."""
    spreads = [measured.spread(system.label, name.format(kind)) for kind in ALL_KINDS]
    return f"{sum(spread.median for spread in spreads if spread):,.{digits}f}"
