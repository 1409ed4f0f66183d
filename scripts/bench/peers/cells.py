"""streamcell as a peer: its public classes, in their default configuration but for what a system says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from scripts.bench.peers.base import RECEIVER, RELAY, SENDER, SLOW, WAIT_S, EchoClock, Pieces, SlowClient, Tally
from streamcell import CellConfig, CoreCell, Message, ReceivedStream, Stream, StreamCell, StreamFuture
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.cell import life as cell_life

CHANNEL = "bench"


class PieceStream(Stream):
    """Pieces as a source."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__(pieces.size)
        self._pieces = pieces

    def read(self, size: int) -> bytes:
        return self._pieces.take(size)


class CellClient:
    """The sending cell."""

    def __init__(self, cell: CoreCell, blob_topic: str) -> None:
        self._streams = StreamCell(cell)
        self._blob_topic = blob_topic
        self._clock = EchoClock(1)
        self._streams.register_blob_cb(CHANNEL, "pong", self._on_pong)

    def send_stream(self, pieces: Pieces) -> None:
        self._start_stream(pieces, RECEIVER).result(WAIT_S)

    def begin_slow_stream(self, pieces: Pieces) -> Callable[[], object]:
        return self._start_stream(pieces, SLOW).cancel

    def send_blob(self, blob: bytearray) -> None:
        self._streams.send_blob(CHANNEL, self._blob_topic, RECEIVER, Message(None, blob)).result(WAIT_S)

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        payload = bytes(size_bytes)
        self._clock = EchoClock(outstanding)
        for number in range(count):
            self._clock.start(number)
            self._streams.send_blob(CHANNEL, "ping", RECEIVER, Message({"number": number}, payload))
        self._clock.wait_for(count)
        return self._clock.took

    def send_many(self, size_bytes: int, count: int) -> None:
        futures = [self._start_stream(Pieces(size_bytes), RECEIVER) for _ in range(count)]
        for future in futures:
            if future.result(WAIT_S) != size_bytes:
                raise RuntimeError("a stream was confirmed with another size than was sent")

    def _start_stream(self, pieces: Pieces, target: str) -> StreamFuture:
        return self._streams.send_stream(CHANNEL, "stream", target, Message(None, PieceStream(pieces)))

    def _on_pong(self, future: StreamFuture) -> None:
        self._clock.came_back(int(future.get_headers()["number"]))


def no_checksum(data: Payload, value: int = 0) -> int:
    """Stand in for the checksum of chunks."""
    return 0


class CellPeer:
    """Two cells, one of which dials the other, or a relay that dials the other.

    Args:
        into: receive blobs into one and the same buffer of the application.
        checksums: with False chunks are neither given a checksum nor checked, to see what that costs. The library has
            no such switch: both processes get a function that counts nothing.
        config: fields of CellConfig, for both cells.
    """

    def __init__(self, *, into: bool = False, checksums: bool = True, **config: Any) -> None:
        if not checksums:
            # For the rest of the process.
            mock.patch.object(cell_life, "checksum", no_checksum).start()
        self._config = CellConfig(**config)
        self._blob_topic = "into" if into else "blob"

    def serve(self, tally: Tally) -> str:
        cell = CoreCell(RECEIVER, listen="grpc://127.0.0.1:0", config=self._config)
        streams = StreamCell(cell)
        buffers: dict[int, bytearray] = {}

        def discard(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            tally.add(sum(len(piece) for piece in stream.pieces()))

        def forget(future: StreamFuture) -> None:
            tally.add(len(future.result()))

        def into(size: int | None, headers: object) -> bytearray:
            if size is None:
                raise ValueError("the benchmark declares its sizes")
            if size not in buffers:
                buffers[size] = bytearray(size)
            return buffers[size]

        def send_back(future: StreamFuture) -> None:
            streams.send_blob(CHANNEL, "pong", future.origin, Message(future.get_headers(), future.result()))

        streams.register_stream_cb(CHANNEL, "stream", discard)
        streams.register_blob_cb(CHANNEL, "blob", forget)
        streams.register_blob_cb(CHANNEL, "into", forget, into=into)
        streams.register_blob_cb(CHANNEL, "ping", send_back)
        cell.start()
        return cell.listen_urls[0]

    def relay(self, address: str) -> str:
        cell = CoreCell(RELAY, listen="grpc://127.0.0.1:0", connect=address, config=self._config)
        cell.start()
        cell.wait_connected(WAIT_S)
        return cell.listen_urls[0]

    def receive_slowly(self, address: str, tally: Tally, bytes_per_s: float) -> None:
        def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            for piece in stream.pieces():
                tally.add(len(piece))
                time.sleep(len(piece) / bytes_per_s)

        cell = CoreCell(SLOW, connect=address, config=self._config)
        StreamCell(cell).register_stream_cb(CHANNEL, "stream", read)
        cell.start()
        cell.wait_connected(WAIT_S)

    def connect(self, address: str) -> SlowClient:
        cell = CoreCell(SENDER, connect=address, config=self._config)
        client = CellClient(cell, self._blob_topic)
        cell.start()
        cell.wait_connected(WAIT_S)
        return client


make = CellPeer
