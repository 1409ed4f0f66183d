"""A long stream into a reader that discards it, against bare gRPC, in turns: A B A B, each time in fresh processes."""

from __future__ import annotations

from typing import Any

from scripts.bench.processes import pair
from scripts.bench.report import GIB, MIB, Row, Spread
from scripts.bench.workloads.base import Outcome

PEERS = ("streamcell", "grpc.aio")
WARM_UP_BYTES = 128 * MIB
LEAST_RATIO = 0.6


def run(quick: bool) -> Outcome:
    size, rounds = (512 * MIB, 3) if quick else (2 * GIB, 5)
    measured: dict[str, list[dict[str, Any]]] = {peer: [] for peer in PEERS}
    for number in range(rounds):
        for peer in PEERS:
            measured[peer].append(measure(peer, size))
            print(f"  {peer}, round {number + 1}: {measured[peer][-1]['gib_per_s']:.2f} GiB/s", flush=True)
    return Outcome({"size_bytes": size, "rounds": measured}, rows(size, measured))


def measure(peer: str, size: int) -> dict[str, Any]:
    with pair(peer) as (receiver, sender):
        sender.ask("stream", size=WARM_UP_BYTES)
        before = [end.ask("usage")["processor_s"] for end in (sender, receiver)]
        seconds = sender.ask("stream", size=size)["seconds"]
        after = [end.ask("usage")["processor_s"] for end in (sender, receiver)]
    used = [later - earlier for earlier, later in zip(before, after, strict=True)]
    return {
        "seconds": seconds,
        "gib_per_s": size / seconds / GIB,
        "sender_processor_s_per_gib": used[0] / size * GIB,
        "receiver_processor_s_per_gib": used[1] / size * GIB,
    }


def rows(size: int, measured: dict[str, list[dict[str, Any]]]) -> list[Row]:
    def spread(peer: str, name: str) -> Spread:
        return Spread.of([each[name] for each in measured[peer]])

    title = f"stream of {size // MIB} MiB"
    shown = [Row(f"{title}, {peer}", spread(peer, "gib_per_s").text("GiB/s")) for peer in PEERS]
    for end in ("sender", "receiver"):
        for peer in PEERS:
            name = f"{end}_processor_s_per_gib"
            shown.append(Row(f"processor time of the {end} for 1 GiB, {peer}", spread(peer, name).text("s")))
    # Each round against the one beside it, since a machine's speed drifts.
    pairs = zip(*(measured[peer] for peer in PEERS), strict=True)
    ratio = Spread.of([ours["gib_per_s"] / bare["gib_per_s"] for ours, bare in pairs])
    target = f"at least {LEAST_RATIO}"
    return [*shown, Row("streamcell / grpc.aio, by rounds", ratio.text(), target, ratio.median >= LEAST_RATIO)]
