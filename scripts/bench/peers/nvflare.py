"""NVFlare's StreamCell on its CoreCell, as a program uses them, everything sent with ``reliable=True``.

Its futures succeed when all was sent and acknowledged, not when the reader has read; so that the same is timed as
everywhere else, the reader says with a message of its own when it has read all. Nothing is configured but the URL.
"""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Sequence
from typing import Any

from scripts.bench.peers.base import MIB, RECEIVER, SENDER, WAIT_S, Client, EchoClock, Pieces, Tally

core_cell: Any = importlib.import_module("nvflare.fuel.f3.cellnet.core_cell")
message: Any = importlib.import_module("nvflare.fuel.f3.message")
stream_cell: Any = importlib.import_module("nvflare.fuel.f3.stream_cell")
stream_types: Any = importlib.import_module("nvflare.fuel.f3.streaming.stream_types")

CHANNEL = "bench"


class PieceReader:
    """The part of a source that is ours; `PieceStream` is NVFlare's class with it."""

    pieces: Pieces

    def read(self, size: int) -> bytes:
        return self.pieces.take(size)


PieceStream: Any = type("PieceStream", (PieceReader, stream_types.Stream), {})


class NvflareClient:
    """The sending cell."""

    def __init__(self, cell: Any) -> None:
        self._streams = stream_cell.StreamCell(cell)
        self._clock = EchoClock(1)
        self._read = threading.Semaphore(0)
        self._bytes_read: list[int] = []
        cell.register_request_cb(CHANNEL, "read", self._on_read)
        self._streams.register_blob_cb(CHANNEL, "pong", self._on_pong)

    def send_stream(self, pieces: Pieces) -> None:
        self._start_stream(pieces).result(WAIT_S)
        self._wait_until_read([pieces.size])

    def send_blob(self, blob: bytearray) -> None:
        sent = message.Message(None, blob)
        self._streams.send_blob(CHANNEL, "blob", RECEIVER, sent, reliable=True).result(WAIT_S)
        self._wait_until_read([len(blob)])

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        payload = bytes(size_bytes)
        self._clock = EchoClock(outstanding)
        for number in range(count):
            self._clock.start(number)
            sent = message.Message({"number": number}, payload)
            self._streams.send_blob(CHANNEL, "ping", RECEIVER, sent, reliable=True)
        self._clock.wait_for(count)
        return self._clock.took

    def send_many(self, size_bytes: int, count: int) -> None:
        for future in [self._start_stream(Pieces(size_bytes)) for _ in range(count)]:
            future.result(WAIT_S)
        self._wait_until_read([size_bytes] * count)

    def _start_stream(self, pieces: Pieces) -> Any:
        source = PieceStream(pieces.size)
        source.pieces = pieces
        return self._streams.send_stream(CHANNEL, "stream", RECEIVER, message.Message(None, source), reliable=True)

    def _wait_until_read(self, sizes: list[int]) -> None:
        for _ in sizes:
            if not self._read.acquire(timeout=WAIT_S):
                raise TimeoutError("the reader did not confirm")
        if self._bytes_read != sizes:
            raise RuntimeError("the reader has read something else than was sent")
        self._bytes_read = []

    def _on_read(self, request: Any) -> None:
        self._bytes_read.append(request.get_header("bytes"))
        self._read.release()

    def _on_pong(self, future: Any) -> None:
        future.result(WAIT_S)
        self._clock.came_back(future.get_headers()["number"])


class NvflarePeer:
    """Its root server and a client cell, over the driver of that scheme."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def serve(self, tally: Tally) -> str:
        address = f"{self._scheme}://127.0.0.1:{free_port()}"
        cell = core_cell.CoreCell(RECEIVER, address, secure=False, credentials={})
        streams = stream_cell.StreamCell(cell)

        def confirm(size: int) -> None:
            tally.add(size)
            cell.fire_and_forget(CHANNEL, "read", SENDER, message.Message({"bytes": size}))

        def discard(future: Any, stream: Any, resume: bool) -> int:
            size = 0
            while piece := stream.read(MIB):
                size += len(piece)
            confirm(size)
            return 0

        def forget(future: Any) -> None:
            confirm(len(future.result(WAIT_S)))

        def send_back(future: Any) -> None:
            payload = future.result(WAIT_S)
            sent = message.Message({"number": future.get_headers()["number"]}, payload)
            streams.send_blob(CHANNEL, "pong", SENDER, sent, reliable=True)

        streams.register_stream_cb(CHANNEL, "stream", discard)
        streams.register_blob_cb(CHANNEL, "blob", forget)
        streams.register_blob_cb(CHANNEL, "ping", send_back)
        cell.start()
        return address

    def connect(self, address: str) -> Client:
        cell = core_cell.CoreCell(SENDER, address, secure=False, credentials={})
        connected = threading.Event()
        cell.set_cell_connected_cb(lambda agent: connected.set())
        client = NvflareClient(cell)
        cell.start()
        if not connected.wait(WAIT_S):
            raise TimeoutError("the two cells did not connect")
        return client


def free_port() -> int:
    """Return a port that was free a moment ago; NVFlare cannot be told to take any."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


make = NvflarePeer
