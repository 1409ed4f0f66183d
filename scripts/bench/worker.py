"""One end of a measurement: a process that does what it is told, line by line.

`python -m scripts.bench.worker SYSTEM ROLE [ADDRESS]`: a receiver serves and tells its address, a sender connects to
that, or to the one that a relay tells, which is between the two. Commands and answers are lines of JSON. The end of the
input is the end of the process, at once: nothing is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from scripts.bench import threads
from scripts.bench.peers import make_peer
from scripts.bench.peers.base import MIB, Client, Peer, Pieces, RelayPeer, SlowClient, SlowPeer, Tally
from scripts.bench.systems import System

STATUS = Path("/proc/self/status")
# How fast the slow receiver reads.
SLOW_BYTES_PER_S = MIB


def usage() -> dict[str, Any]:
    """Return memory in bytes, now and at the peak, and processor time in seconds."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    processor_s = times.ru_utime + times.ru_stime
    if not STATUS.exists():
        return {"memory": times.ru_maxrss, "peak": times.ru_maxrss, "processor_s": processor_s}
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines() if ":" in line)
    memory, peak = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return {"memory": memory, "peak": peak, "processor_s": processor_s}


class Role:
    """The commands of every role."""

    def usage(self) -> dict[str, Any]:
        return usage()

    def threads(self) -> dict[str, Any]:
        return threads.usage()


class Receiver(Role):
    """The commands of a receiving end."""

    def __init__(self) -> None:
        self.tally = Tally()

    def received(self) -> dict[str, Any]:
        return {"transfers": self.tally.transfers, "bytes": self.tally.bytes}

    def compute(self) -> dict[str, Any]:
        """Start a thread that computes in Python from now on."""
        threading.Thread(target=compute, daemon=True).start()
        return {}


class Sender(Role):
    """The commands of the sending end."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._blobs: dict[int, bytearray] = {}
        self._cancel_slow: Callable[[], object] | None = None

    def stream(self, size: int) -> dict[str, Any]:
        return timed(lambda: self._client.send_stream(Pieces(size)))

    def begin_slow(self, size: int) -> dict[str, Any]:
        """Begin a stream to the slow receiver, which goes on beside everything else."""
        self._cancel_slow = cast("SlowClient", self._client).begin_slow_stream(Pieces(size))
        return {}

    def end_slow(self) -> dict[str, Any]:
        if self._cancel_slow is not None:
            self._cancel_slow()
        return {}

    def blob(self, size: int) -> dict[str, Any]:
        if size not in self._blobs:
            self._blobs[size] = make_blob(size)
        return timed(lambda: self._client.send_blob(self._blobs[size]))

    def echo(self, size: int, count: int, outstanding: int) -> dict[str, Any]:
        begun = time.perf_counter()
        took = self._client.echo(size, count, outstanding)
        return {"seconds": time.perf_counter() - begun, "round_trips": sorted(took)}

    def many(self, size: int, count: int) -> dict[str, Any]:
        return timed(lambda: self._client.send_many(size, count))

    def beside(self, size: int, echo_size: int, after_s: float, for_s: float) -> dict[str, Any]:
        """Send a stream, and from ``after_s`` on one echo after the other, until it has ended or ``for_s`` passed."""
        pieces = Pieces(size)
        stream = threading.Thread(target=self._client.send_stream, args=(pieces,), daemon=True)
        stream.start()
        stream.join(after_s)
        given_before, begun = pieces.given, time.perf_counter()
        took: list[float] = []
        while stream.is_alive() and time.perf_counter() < begun + for_s:
            took += self._client.echo(echo_size, 1, 1)
        if not took:
            raise RuntimeError("the stream has ended too early")
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "round_trips": sorted(took), "stream_bytes": pieces.given - given_before}


def timed(act: Callable[[], None]) -> dict[str, Any]:
    begun = time.perf_counter()
    act()
    return {"seconds": time.perf_counter() - begun}


def make_blob(size: int) -> bytearray:
    """Return memory that is really there."""
    blob, piece = bytearray(size), os.urandom(MIB)
    for offset in range(0, size, MIB):
        blob[offset : offset + MIB] = piece[: size - offset]
    return blob


def compute() -> None:
    number = 0
    while True:
        number = (number * 31 + 7) % 1_000_003


class Output:
    """Where answers go. Whatever else the process prints goes to its standard error."""

    def __init__(self) -> None:
        self._file: IO[str] = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(self, facts: dict[str, Any]) -> None:
        print(json.dumps(facts), file=self._file, flush=True)


def obey(end: Role, output: Output) -> None:
    """Carry out commands until there are no more."""
    for line in sys.stdin:
        command = json.loads(line)
        output.tell(getattr(end, command.pop("do"))(**command))


def main() -> None:
    output = Output()
    system = System.parse(sys.argv[1])
    if system.tuned:
        from streamcell.runtime.engine.allocator import tune_allocator

        tune_allocator()
    if system.batch_threads:
        asyncio.run(start_batch_threads())
    # Kept to the end: a server ends with it.
    peer = make_peer(system.peer, system.options)
    greeting, role = take_role(peer, *sys.argv[2:])
    output.tell(greeting)
    obey(role, output)


# What keeps threads of gRPC, which end with the last channel.
_kept: list[object] = []


async def start_batch_threads() -> None:
    """Have gRPC start its threads as streamcell does."""
    from streamcell.transport.grpc.environment import grpc
    from streamcell.transport.grpc.threads import starting_grpc_threads

    with starting_grpc_threads(batch=True):
        _kept.append(grpc.insecure_channel("127.0.0.1:1"))


def take_role(peer: Peer, name: str, address: str = "") -> tuple[dict[str, Any], Role]:
    """Return what is told once the process is ready, and the role that it has."""
    if name == "sender":
        return {}, Sender(peer.connect(address))
    if name == "relay":
        return {"address": cast("RelayPeer", peer).relay(address)}, Role()
    receiver = Receiver()
    if name == "slow":
        cast("SlowPeer", peer).receive_slowly(address, receiver.tally, SLOW_BYTES_PER_S)
        return {}, receiver
    return {"address": peer.serve(receiver.tally)}, receiver


if __name__ == "__main__":
    status = 0
    try:
        main()
    except Exception:  # noqa: BLE001 - the top of the process: reported, and told by its status
        traceback.print_exc()
        status = 1
    # Threads of peers must not keep a process that has nothing more to do.
    sys.stderr.flush()
    os._exit(status)
