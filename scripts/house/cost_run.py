"""One workload of the benchmark in the checkout that is the working folder, as often as it is asked for.

`python scripts/house/cost_run.py stream|relay|echo`, started by `cost`: for each line of input it does the work once
and prints the processor time of all its processes, user and system, in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from scripts.bench.processes import Worker, chain, pair
from scripts.bench.systems import STREAMCELL

MIB = 1024 * 1024
STREAM_BYTES, RELAY_BYTES = 256 * MIB, 128 * MIB
ECHOES, ECHO_BYTES, OUTSTANDING = 1500, 1024, 16


def stream(sender: Worker) -> None:
    sender.ask("stream", size=STREAM_BYTES)


def relay(sender: Worker) -> None:
    sender.ask("stream", size=RELAY_BYTES)


def echo(sender: Worker) -> None:
    sender.ask("echo", size=ECHO_BYTES, count=ECHOES, outstanding=OUTSTANDING)


def answer(processes: Sequence[Worker], work: Callable[[Worker], None]) -> None:
    """Do the work once to warm up, and then for each line."""

    def used() -> float:
        return sum(float(process.ask("usage")["processor_s"]) for process in processes)

    work(processes[-1])
    print("ready", flush=True)
    for _ in sys.stdin:
        before = used()
        work(processes[-1])
        print(used() - before, flush=True)


def main(name: str) -> None:
    if name == "relay":
        with chain(STREAMCELL) as three:
            answer(three, relay)
    else:
        with pair(STREAMCELL) as two:
            answer(two, echo if name == "echo" else stream)


if __name__ == "__main__":
    main(sys.argv[1])
