"""What a policy costs: ``python -m scripts.policy``. Processor time, on one core.

A policy of a thousand rules decides a hundred thousand times: remembered, and each for the first time. Then requests go
to and fro between two cells of this process through a hub, with such a policy at hub and target and without, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence

from streamcell import CoreCell, Message, Policy
from streamcell.protocol.wire.description import StreamKind
from streamcell.security.policy.rules import PolicyRules

RULES, DECISIONS, NAMES = 1_000, 100_000, 2_000
ECHOES = 300
LINKS = 'version = 1\n[[link]]\ncells = ["*"]\nannounce = ["**"]\n'
ALL = '[[allow]]\nfrom = ["site-*"]\nto = ["server", "hub"]\nchannels = ["echo"]\n'


def text(rules: int) -> str:
    """Return a policy: two thirds allow, by names and by patterns; a third denies."""
    lines = [LINKS]
    for number in range(rules - 2):
        if number % 3 == 2:
            lines.append(f'[[deny]]\nfrom = ["site-{number}-*"]\nchannels = ["secret-{number % 10}"]\n')
        elif number % 3 == 1:
            lines.append(f'[[allow]]\nfrom = ["*-{number}", "site-{number}.**"]\nto = ["server"]\ntopics = ["t*"]\n')
        else:
            lines.append(f'[[allow]]\nfrom = ["site-{number}"]\nto = ["server", "vault-*"]\nkinds = ["blob"]\n')
    return "".join([*lines, ALL])


def decisions_us(rules: PolicyRules, asked: Sequence[tuple[str, str, str, str]]) -> float:
    """Return how many microseconds a decision takes."""
    began = time.process_time()
    for origin, target, channel, topic in asked:
        rules.fault_in_sending(origin, target, channel, topic, StreamKind.STREAM, False)
    return (time.process_time() - began) / len(asked) * 1e6


def decide() -> dict[str, float]:
    """Measure decisions."""
    began = time.process_time()
    policy = Policy.from_text(text(RULES))
    read_ms = (time.process_time() - began) * 1e3
    few = [(f"site-{number}", "server", "train", "t") for number in range(1_000)] * (DECISIONS // 1_000)
    # No name comes twice: neither in a decision, nor in a column of rules.
    fresh = [(f"site-{n}.job-{n}", f"server-{n}", f"c-{n}", f"t-{n}") for n in range(DECISIONS)]
    rules = PolicyRules(policy)
    decisions_us(rules, few)
    known_us = decisions_us(rules, few)
    return {
        "read_ms": round(read_ms, 1),
        "cached_us": round(known_us, 2),
        "uncached_us": round(decisions_us(rules, fresh), 1),
    }


@contextlib.contextmanager
def tree(policy: Policy | None) -> Iterator[CoreCell]:
    """Run a hub and a target with a policy or without; give a cell that may ask the target."""
    with (
        CoreCell("hub", listen="grpc://127.0.0.1:0", policy=policy) as hub,
        CoreCell("server", connect=hub.listen_urls[0], policy=policy) as server,
        CoreCell("site-1", connect=hub.listen_urls[0]) as site,
    ):
        server.register_request_cb("echo", "t", lambda request: Message({}, bytes(request.payload)))
        server.wait_connected(10)
        site.wait_connected(10)
        yield site


def echo_s(site: CoreCell) -> float:
    """Return the processor time of some requests."""
    began = time.process_time()
    for _ in range(ECHOES):
        site.send_request("echo", "t", "server", Message({}, b"x" * 100), timeout=30)
    return time.process_time() - began


def echo(pairs: int) -> dict[str, float]:
    """Measure requests with a policy beside those without, in turns."""
    ratios = []
    with tree(None) as without, tree(Policy.from_text(text(RULES))) as guarded:
        echo_s(without), echo_s(guarded)
        for number in range(pairs):
            turns = (without, guarded) if number % 2 else (guarded, without)
            spent = {site: echo_s(site) for site in turns}
            ratios.append(spent[guarded] / spent[without])
    return {"pairs": pairs, "echo_beside_none": round(statistics.median(ratios), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.policy", description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="of echoes, with a policy and without (%(default)s)")
    arguments = parser.parse_args()
    print(json.dumps({"rules": RULES, "decisions": DECISIONS, **decide(), **echo(arguments.pairs)}))


if __name__ == "__main__":
    main()
