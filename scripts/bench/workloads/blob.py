"""A large blob, until the receiver holds all of it."""

from __future__ import annotations

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, Row, Spread
from scripts.bench.workloads.base import Outcome


def run(quick: bool) -> Outcome:
    size, rounds = (512 * MIB, 2 if quick else 5)
    first, again = [], []
    for number in range(rounds):
        with pair("streamcell") as (_, sender):
            first.append(size / sender.ask("blob", size=size)["seconds"] / GIB)
            again.append(size / sender.ask("blob", size=size)["seconds"] / GIB)
        print(f"  round {number + 1}: {first[-1]:.2f}, then {again[-1]:.2f} GiB/s", flush=True)
    rows = [
        Row(f"blob of {size // MIB} MiB, the first in new processes", Spread.of(first).text("GiB/s")),
        Row(f"blob of {size // MIB} MiB, the second", Spread.of(again).text("GiB/s")),
    ]
    return Outcome({"size_bytes": size, "first_gib_per_s": first, "second_gib_per_s": again}, rows)
