"""A listener that is no cell: it says Hello to one dialler, and then whatever a test wants said."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from concurrent import futures
from typing import Any, Self

from streamcell.transport.grpc.environment import grpc
from streamcell.v1 import cell_pb2
from tests.kit.timing import scaled

LIMIT_S = scaled(20)
INCARNATION = 1 << 60


class Listener:
    """One call of Exchange. A context manager: at its end the call has ended."""

    def __init__(self) -> None:
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pings: queue.SimpleQueue[Any] = queue.SimpleQueue()
        exchange = grpc.stream_stream_rpc_method_handler(
            self._exchange,
            request_deserializer=cell_pb2.ExchangeRequest.FromString,
            response_serializer=lambda data: data,
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        service = grpc.method_handlers_generic_handler("streamcell.v1.CellService", {"Exchange": exchange})
        self._server.add_generic_rpc_handlers((service,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._outgoing.put(None)
        self._server.stop(LIMIT_S).wait(LIMIT_S)

    def say_hello(self) -> cell_pb2.Hello:
        """Wait for the dialler's Hello, answer it, and return it."""
        hello: cell_pb2.Hello = self.hear("hello")
        self.say(
            hello={
                "version_min": 1,
                "version_max": 1,
                "fqcn": "server",
                "incarnation": INCARNATION,
                "link_id": bytes(16),
                "lane_number": 1,
                "lane_role": cell_pb2.LANE_ROLE_CONTROL,
                "limits": {"message_bytes": 6 << 20, "lanes": 2},
                "initial_credit": 262_144,
            }
        )
        return hello

    def say(self, **frame: Any) -> None:
        """Send a frame, given as its kind and its fields."""
        self.say_bytes(cell_pb2.ExchangeResponse(frames=[cell_pb2.Frame(**frame)]).SerializeToString())

    def say_bytes(self, batch: bytes) -> None:
        """Send these bytes as a batch."""
        self._outgoing.put(batch)

    def hear(self, kind: str, seconds: float = LIMIT_S) -> Any:
        """Wait for a frame of a kind, and drop those before it."""
        while (frame := self._heard.get(timeout=seconds)).WhichOneof("kind") != kind:
            pass
        return getattr(frame, kind)

    def hear_all(self) -> list[cell_pb2.Frame]:
        """Return the frames that were sent until the dialler answers a Ping: all that it sends of its own accord."""
        self.say(ping={"nonce": 1})
        frames = []
        while (frame := self._heard.get(timeout=LIMIT_S)).WhichOneof("kind") != "pong":
            frames.append(frame)
        return frames

    def answer_pings(self, most: int | None = None) -> int:
        """Answer so many of the Pings that have come, the oldest first (None: all); return how many."""
        count = 0
        while (most is None or count < most) and not self._pings.empty():
            self.say(pong={"nonce": self._pings.get().nonce})
            count += 1
        return count

    def hear_chunks(self) -> list[cell_pb2.Chunk]:
        """Return the chunks among these frames."""
        return [frame.chunk for frame in self.hear_all() if frame.HasField("chunk")]

    def _exchange(self, requests: Iterator[Any], context: Any) -> Iterator[bytes]:
        # The call has a thread of its own to read: this one waits for what is to be said.
        reader = futures.ThreadPoolExecutor(1)
        reading = reader.submit(self._read, requests)
        reader.shutdown(wait=False)
        while (batch := self._outgoing.get()) is not None:
            yield batch
        reading.result(LIMIT_S)

    def _read(self, requests: Iterator[Any]) -> None:
        with contextlib.suppress(grpc.RpcError):
            for request in requests:
                for frame in request.frames:
                    if frame.HasField("ping"):
                        self._pings.put(frame.ping)
                    self._heard.put(frame)
