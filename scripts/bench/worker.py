"""One end of a measurement: a process that does what it is told, line by line.

`python -m scripts.bench.worker PEER [ADDRESS]`: without an address it serves and tells its own. Commands and answers
are lines of JSON; the end of the input is the end of the process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.bench.peers import PEERS
from scripts.bench.peers.base import MIB, Client

STATUS = Path("/proc/self/status")


def usage() -> dict[str, Any]:
    """Return memory in bytes, now and at the peak, and processor time in seconds."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    processor_s = times.ru_utime + times.ru_stime
    if not STATUS.exists():
        return {"memory": times.ru_maxrss, "peak": times.ru_maxrss, "processor_s": processor_s}
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines() if ":" in line)
    memory, peak = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return {"memory": memory, "peak": peak, "processor_s": processor_s}


def make_blob(size: int) -> bytearray:
    """Return memory that is really there."""
    blob, piece = bytearray(size), os.urandom(MIB)
    for offset in range(0, size, MIB):
        blob[offset : offset + MIB] = piece
    return blob


def send_stream(client: Client, size: int) -> dict[str, Any]:
    begun = time.perf_counter()
    client.send_stream(size)
    return {"seconds": time.perf_counter() - begun}


def send_blob(client: Client, size: int) -> dict[str, Any]:
    blob = make_blob(size)
    begun = time.perf_counter()
    client.send_blob(blob)
    return {"seconds": time.perf_counter() - begun}


def echo(client: Client, size: int, count: int, outstanding: int) -> dict[str, Any]:
    begun = time.perf_counter()
    took = client.echo(size, count, outstanding)
    return {"seconds": time.perf_counter() - begun, "round_trips": sorted(took)}


CLIENT_COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "stream": send_stream,
    "blob": send_blob,
    "echo": echo,
}


def obey(client: Client | None) -> None:
    """Carry out commands until there are no more."""
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        tell(usage() if what == "usage" or client is None else CLIENT_COMMANDS[what](client, **command))


def tell(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


def main() -> None:
    peer = PEERS[sys.argv[1]]()
    if len(sys.argv) > 2:
        with peer.connect(sys.argv[2]) as client:
            tell({})
            obey(client)
    else:
        with peer.serve() as address:
            tell({"address": address})
            obey(None)


if __name__ == "__main__":
    main()
