#!/usr/bin/env python3
"""A server and three sites, each a process: rounds of federated training, with a site that is killed and comes back.

In each round the server sends a model to all sites as a blob, and each site streams back what it made of it. In the
second round one site is killed in the middle of its answer and started again: it gets the model once more, and the
round is complete all the same. What arrived is compared byte for byte.

    python examples/federated_round.py [--mib 64] [--rounds 3]
"""

import argparse
import hashlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from streamcell import CellError, CoreCell, Message, ReceivedStream, StreamCell, StreamFuture

CHANNEL = "training"
SITES = ["site-1", "site-2", "site-3"]
VICTIM, FATAL_ROUND = "site-2", 2
PIECE = 1024 * 1024
PATIENCE_S = 60.0


def learned_by(site: str) -> bytes:
    """Return what a site makes of each of the 256 bytes: its way to train."""
    step = SITES.index(site) + 1
    return bytes((value + step) % 256 for value in range(256))


class Server:
    """Sends the models, and gathers what the sites make of them."""

    def __init__(self) -> None:
        self.cell = CoreCell("server", listen="grpc://127.0.0.1:0")
        self.streams = StreamCell(self.cell)
        self.streams.register_stream_cb(CHANNEL, "result", self.on_result)
        self.cell.set_cell_connected_cb(self.on_connected)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.results: queue.SimpleQueue[tuple[str, int, str]] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.connected: set[str] = set()
        self.owing: set[str] = set()
        self.model, self.round = b"", 0
        self.killed = False

    def start_site(self, name: str) -> None:
        command = [sys.executable, __file__, "--site", name, "--connect", self.cell.listen_urls[0]]
        self.processes[name] = subprocess.Popen(command)

    def on_connected(self, name: str) -> None:
        """A site is there, perhaps for the second time: if it owes a result, the model it got is gone."""
        with self.lock:
            self.connected.add(name)
            owes = name in self.owing
        if owes:
            print(f"{name} is back and gets the model again", flush=True)
            self.send_model([name])

    def send_model(self, names: list[str]) -> None:
        message = Message({"round": self.round}, self.model)
        for name, future in self.streams.send_blob(CHANNEL, "model", names, message).items():
            future.add_done_callback(self.on_model_sent, name)

    def on_model_sent(self, future: StreamFuture, name: str) -> None:
        error = future.exception()
        print(f"the model did not get to {name}: {error}" if error else f"{name} has the model", flush=True)

    def on_result(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        """Read what a site streams back. It is not kept: its digest is."""
        digest = hashlib.sha256()
        number = int(stream.headers["round"])
        try:
            for piece in stream.pieces():
                digest.update(piece)
                if (stream.origin, number) == (VICTIM, FATAL_ROUND) and not self.killed:
                    self.kill(VICTIM)
        except CellError as error:
            print(f"the result of {stream.origin} broke off at byte {stream.get_pos():,}: {error}", flush=True)
            return
        self.results.put((stream.origin, number, digest.hexdigest()))

    def kill(self, name: str) -> None:
        self.killed = True
        self.processes[name].kill()
        self.processes[name].wait()
        print(f"{name} was killed in the middle of its answer; starting it again", flush=True)
        self.start_site(name)

    def run_round(self, number: int, size: int) -> None:
        with self.lock:
            self.round, self.model = number, bytes([number]) * size
            self.owing = set(SITES)
        self.send_model(SITES)
        while self.owing:
            name, of_round, digest = self.results.get(timeout=PATIENCE_S)
            if of_round != number or name not in self.owing:
                continue  # of an earlier life
            if digest != hashlib.sha256(self.model.translate(learned_by(name))).hexdigest():
                raise SystemExit(f"the result of {name} is not what it should be")
            with self.lock:
                self.owing.discard(name)
        print(f"round {number}: {len(SITES)} results of {size:,} bytes, all as they should be", flush=True)

    def run(self, rounds: int, size: int) -> None:
        with self.cell:
            for name in SITES:
                self.start_site(name)
            try:
                deadline = time.monotonic() + PATIENCE_S
                while len(self.connected) < len(SITES) and time.monotonic() < deadline:
                    time.sleep(0.05)
                for number in range(1, rounds + 1):
                    self.run_round(number, size)
                self.cell.fire_and_forget(CHANNEL, "end", SITES, Message())
                for process in self.processes.values():
                    process.wait(PATIENCE_S)
            finally:
                for process in self.processes.values():
                    process.kill()
        print("all rounds are complete", flush=True)


class Site:
    """Gets models, and streams back what it makes of them."""

    def __init__(self, name: str, url: str) -> None:
        self.cell = CoreCell(name, connect=url)
        self.streams = StreamCell(self.cell)
        self.streams.register_blob_cb(CHANNEL, "model", self.on_model)
        self.cell.register_request_cb(CHANNEL, "end", self.on_end)
        self.ended = threading.Event()

    def on_model(self, future: StreamFuture) -> None:
        source = self.train(future.result())
        self.streams.send_stream(CHANNEL, "result", "server", Message(future.get_headers(), source))

    def train(self, model: memoryview) -> Iterator[bytes]:
        table = learned_by(self.cell.fqcn)
        for start in range(0, len(model), PIECE):
            yield bytes(model[start : start + PIECE]).translate(table)

    def on_end(self, request: Message) -> None:
        self.ended.set()

    def run(self) -> None:
        with self.cell:
            self.ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Rounds of federated training between processes of this machine.")
    parser.add_argument("--mib", type=int, default=64, help="size of the model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--site", help=argparse.SUPPRESS)
    parser.add_argument("--connect", help=argparse.SUPPRESS)
    arguments: Any = parser.parse_args()
    if arguments.site:
        Site(arguments.site, arguments.connect).run()
    else:
        Server().run(arguments.rounds, arguments.mib * 1024 * 1024)


if __name__ == "__main__":
    main()
