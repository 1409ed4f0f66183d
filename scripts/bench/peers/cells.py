"""streamcell as a peer: its public classes, in their default configuration (one bulk lane, chunks of 1 MiB)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

from scripts.bench.peers.base import PIECE, Client
from streamcell import CoreCell, Message, ReceivedStream, Stream, StreamCell, StreamFuture

WAIT_S = 600.0


class Repeated(Stream):
    """The same piece over and over."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._left = size

    def read(self, size: int) -> bytes:
        piece = PIECE if size >= len(PIECE) <= self._left else PIECE[: min(size, self._left)]
        self._left -= len(piece)
        return piece


class CellClient:
    """The sending cell."""

    def __init__(self, cell: CoreCell) -> None:
        self._streams = StreamCell(cell)
        self._echoed = threading.Semaphore(0)
        self._free = threading.Semaphore(0)
        self._sent_at: dict[int, float] = {}
        self._took: list[float] = []
        self._streams.register_blob_cb("bench", "pong", self._on_pong)

    def send_stream(self, size_bytes: int) -> None:
        message = Message(None, Repeated(size_bytes))
        self._streams.send_stream("bench", "stream", "receiver", message).result(WAIT_S)

    def send_blob(self, blob: bytearray) -> None:
        self._streams.send_blob("bench", "blob", "receiver", Message(None, blob)).result(WAIT_S)

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        payload = bytes(size_bytes)
        self._took = []
        self._free = threading.Semaphore(outstanding)
        for number in range(count):
            self._free.acquire()
            self._sent_at[number] = time.perf_counter()
            self._streams.send_blob("bench", "ping", "receiver", Message({"number": number}, payload))
        for _ in range(count):
            if not self._echoed.acquire(timeout=WAIT_S):
                raise TimeoutError("an echo did not come back")
        return self._took

    def _on_pong(self, future: StreamFuture) -> None:
        number = int(future.get_headers()["number"])
        self._took.append(time.perf_counter() - self._sent_at.pop(number))
        self._free.release()
        self._echoed.release()


class CellPeer:
    """Two cells, one of which dials the other."""

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        cell = CoreCell("receiver", listen="grpc://127.0.0.1:0")
        streams = StreamCell(cell)

        def discard(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            for _ in stream.pieces():
                pass

        def forget(future: StreamFuture) -> None:
            pass

        def send_back(future: StreamFuture) -> None:
            streams.send_blob("bench", "pong", future.origin, Message(future.get_headers(), future.result()))

        streams.register_stream_cb("bench", "stream", discard)
        streams.register_blob_cb("bench", "blob", forget)
        streams.register_blob_cb("bench", "ping", send_back)
        with cell:
            yield cell.listen_urls[0]

    @contextlib.contextmanager
    def connect(self, address: str) -> Iterator[Client]:
        cell = CoreCell("sender", connect=address)
        client = CellClient(cell)
        with cell:
            cell.wait_connected(WAIT_S)
            yield client
