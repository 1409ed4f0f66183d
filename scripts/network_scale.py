#!/usr/bin/env python3
"""Measures a hub with many cells and many streams at a time, all on this machine.

Starts a hub in this process and the cells in others; tells how long it takes until all are connected and have echoed a
request through the hub, how long as many concurrent streams take as were asked for, each between two cells and so
relayed by the hub, and what a cell costs the hub at rest. The digest of every stream is checked.

    .venv/bin/python scripts/network_scale.py [--cells 200] [--processes 10] [--streams 1000] [--kib 256] [--tls]

With ``--storm`` the hub is killed under the cells and started again, and it is told how they come back:

    .venv/bin/python scripts/network_scale.py --storm [--cells 1500] [--processes 8] [--busy]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime as dt
import hashlib
import multiprocessing
import multiprocessing.connection
import random
import resource
import time
from collections.abc import Sequence
from typing import Any

from scripts import network_storm
from streamcell import CoreCell, Message, ReceivedStream, StreamCell, StreamFuture, TLSConfig
from streamcell.security.authority import Authority, make_authority

PATIENCE_S = 300.0
REST_S = 5.0
Digests = dict[tuple[str, int], str]


def cell_name(number: int) -> str:
    return f"cell-{number}"


def run_cells(
    url: str,
    first: int,
    count: int,
    cells: int,
    certificates: dict[str, TLSConfig],
    orders: multiprocessing.connection.Connection,
) -> None:
    """Run some cells in this process, and do what the hub's process says."""
    received: Digests = {}

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        received[future.origin, int(future.get_headers()["number"])] = hashlib.sha256(stream.read(-1)).hexdigest()

    made = []
    for number in range(first, first + count):
        cell = CoreCell(cell_name(number), connect=url, tls=certificates.get(cell_name(number)))
        cell.register_request_cb("scale", "echo", lambda request: Message(None, bytes(request.payload)))
        StreamCell(cell).register_stream_cb("scale", "stream", read)
        cell.start()
        made.append(cell)
    for cell in made:
        cell.wait_connected(PATIENCE_S)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        others = [cell_name((first + index + cells // 2) % cells) for index in range(count)]
        list(pool.map(lambda pair: echo(*pair), zip(made, others, strict=True)))
    orders.send("ready")
    streams, size = orders.recv()
    futures = []
    for number in streams:
        cell = made[number % count]
        target = cell_name((number * 7 + first + 1) % cells)
        target = target if target != cell.fqcn else cell_name((first + number + 2) % cells)
        message = Message({"number": number}, random.Random(number).randbytes(size))
        futures.append(StreamCell(cell).send_stream("scale", "stream", target, message))
    for future in futures:
        future.result(PATIENCE_S)
    orders.send("sent")
    orders.recv()
    orders.send(dict(received))
    orders.recv()
    for cell in made:
        cell.stop(0)


def echo(cell: CoreCell, target: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    reply = cell.send_request("scale", "echo", target, Message(None, b"hello"), deadline - time.monotonic())
    if bytes(reply.payload) != b"hello":
        raise RuntimeError(f"{target} echoed something else")


def used() -> tuple[float, float]:
    """Return seconds of processor time and MiB of memory at most, of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def issue(names: Sequence[str]) -> dict[str, TLSConfig]:
    """Return certificates of cells, by name."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    made = make_authority("scale", now, 365)
    authority = Authority(made.certificate, made.key)
    issued = {name: authority.issue(name, now, hosts=["127.0.0.1"], days=90) for name in names}
    return {name: TLSConfig(ca=made.certificate, cert=each.certificate, key=each.key) for name, each in issued.items()}


def measure(cells: int, processes: int, streams: int, size: int, *, tls: bool) -> None:
    each = cells // processes
    certificates = issue(["hub", *map(cell_name, range(each * processes))]) if tls else {}
    hub = CoreCell("hub", listen=f"{'grpcs' if tls else 'grpc'}://127.0.0.1:0", tls=certificates.get("hub"))
    hub.start()
    _, memory_before = used()
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    pipes, workers = [], []
    for process in range(processes):
        here, there = context.Pipe()
        worker = context.Process(
            target=run_cells,
            args=(hub.listen_urls[0], process * each, each, each * processes, certificates, there),
            daemon=True,
        )
        worker.start()
        pipes.append(here)
        workers.append(worker)
    collect(pipes)
    _, memory = used()
    print(f"{each * processes} cells in {processes} processes: connected and echoed after {elapsed(began)}")
    print(f"memory of the hub: {(memory - memory_before) * 1024 / (each * processes):.0f} KiB for each cell")
    busy, _ = used()
    time.sleep(REST_S)
    print(f"hub at rest: {100 * (used()[0] - busy) / REST_S:.1f} % of a core")
    began = time.monotonic()
    for index, pipe in enumerate(pipes):
        pipe.send((list(range(index, streams, processes)), size))
    collect(pipes)
    print(f"{streams} streams of {size // 1024} KiB at a time through the hub: {elapsed(began)}")
    for pipe in pipes:
        pipe.send("tell")
    digests: Digests = {}
    for told in collect(pipes):
        digests |= told
    wanted = {number: hashlib.sha256(random.Random(number).randbytes(size)).hexdigest() for number in range(streams)}
    if {number: digest for (_, number), digest in digests.items()} != wanted:
        raise SystemExit("streams are missing or have other bytes")
    print(f"all {streams} arrived whole; relayed by the hub: {hub.stats().protocol.bytes_relayed:,} bytes")
    for pipe in pipes:
        pipe.send("end")
    for worker in workers:
        worker.join(PATIENCE_S)
    hub.stop(0)


def collect(pipes: Sequence[multiprocessing.connection.Connection]) -> list[Any]:
    answers = []
    for pipe in pipes:
        if not pipe.poll(PATIENCE_S):
            raise SystemExit("a process of cells does not answer")
        answers.append(pipe.recv())
    return answers


def elapsed(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--kib", type=int, default=256)
    parser.add_argument("--tls", action="store_true", help="each with a certificate of its own")
    parser.add_argument("--storm", action="store_true", help="kill the hub under the cells, and start it again")
    parser.add_argument("--busy", action="store_true", help="with --storm: beside a process that uses all processors")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="with --storm: seconds to come back in")
    given = parser.parse_args()
    if given.storm:
        network_storm.measure(
            network_storm.Scale(
                cells=given.cells, processes=given.processes, busy=given.busy, patience_s=given.patience
            )
        )
        return
    measure(given.cells, given.processes, given.streams, given.kib * 1024, tls=given.tls)


if __name__ == "__main__":
    main()
