"""A long stream to a cell that is far away: how much of the path is used, with nothing configured for it."""

from __future__ import annotations

from scripts.bench.processes import pair
from scripts.bench.proxy import NetworkPath
from scripts.bench.report import MIB, Section
from scripts.bench.systems import NVFLARE_GRPC, NVFLARE_TCP, SOCKETS, STREAMCELL, System, bare_grpc
from scripts.bench.workloads.base import Figures, Outcome, Rounds

FAR = NetworkPath(round_trip_s=0.1)
# Sockets have only the kernel's windows, which a proxy on this machine answers: they show what the proxy can carry.
SYSTEMS = (STREAMCELL, bare_grpc(1), NVFLARE_GRPC, NVFLARE_TCP, SOCKETS)
QUICK_SYSTEMS = (STREAMCELL, bare_grpc(1), NVFLARE_GRPC)


def run(quick: bool) -> Outcome:
    size, rounds = (64 * MIB, 1) if quick else (256 * MIB, 5)
    measured = Rounds(QUICK_SYSTEMS if quick else SYSTEMS)
    measured.run(rounds, lambda system: measure(system, size), lambda figures: f"{figures['mib_per_s']:.1f} MiB/s")
    lines = [
        [system.label, measured.text(system.label, "mib_per_s"), measured.text(system.label, "again_mib_per_s")]
        for system in measured.systems
    ]
    title = f"Stream of {size // MIB} MiB over a round trip of {FAR.round_trip_s * 1000:g} ms"
    section = Section(title, ["", "the first on the connection, MiB/s", "the second, MiB/s"], lines)
    figures = {"size_bytes": size, "systems": [system.label for system in measured.systems], **measured.figures()}
    return Outcome(figures, [], [section], measured.failures("the distance"))


def measure(system: System, size: int, path: NetworkPath = FAR) -> Figures:
    """Return the rate of a stream on a fresh connection, which has to find out about the path, and of another one."""
    with pair(system, path) as (_, sender):
        first, again = (sender.ask("stream", size=size)["seconds"] for _ in range(2))
    return {"mib_per_s": size / first / MIB, "again_mib_per_s": size / again / MIB}
