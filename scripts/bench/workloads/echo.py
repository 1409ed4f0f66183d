"""Small blobs that come back: how long one takes, and how many a second."""

from __future__ import annotations

from scripts.bench.processes import pair
from scripts.bench.report import Row, Spread
from scripts.bench.workloads.base import Outcome

SIZE = 1024
OUTSTANDING = 256


def run(quick: bool) -> Outcome:
    single, many, rounds = (500, 5_000, 2) if quick else (2_000, 20_000, 5)
    medians, slow, rates = [], [], []
    for number in range(rounds):
        with pair("streamcell") as (_, sender):
            sender.ask("echo", size=SIZE, count=200, outstanding=8)
            took = sender.ask("echo", size=SIZE, count=single, outstanding=1)["round_trips"]
            medians.append(took[len(took) // 2] * 1000)
            slow.append(took[len(took) * 99 // 100] * 1000)
            rates.append(many / sender.ask("echo", size=SIZE, count=many, outstanding=OUTSTANDING)["seconds"])
        print(f"  round {number + 1}: {medians[-1]:.2f} ms, {rates[-1]:,.0f} a second", flush=True)
    rows = [
        Row("1 KiB blob and back, one at a time: median", Spread.of(medians).text("ms")),
        Row("1 KiB blob and back, one at a time: 99 of 100 are below", Spread.of(slow).text("ms")),
        Row(f"1 KiB blobs and back, {OUTSTANDING} under way", Spread.of(rates).text("a second", 0)),
    ]
    figures = {"round_trip_ms": medians, "round_trip_99_ms": slow, "echoes_per_s": rates}
    return Outcome(figures, rows)
