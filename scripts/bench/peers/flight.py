"""Arrow Flight: one DoPut of record batches of 1 MiB, of which the reader makes nothing, and its count at the end."""

from __future__ import annotations

import importlib
from typing import Any

from scripts.bench.peers.base import MIB, Client, Pieces, StreamOnlyClient, Tally

arrow: Any = importlib.import_module("pyarrow")
flight: Any = importlib.import_module("pyarrow.flight")


class DiscardingServer:
    """What the server does; the rest is Flight's."""

    tally: Tally

    def do_put(self, context: object, descriptor: object, reader: Any, writer: Any) -> None:
        size = 0
        for chunk in reader:
            size += chunk.data.nbytes
        self.tally.add(size)
        writer.write(size.to_bytes(8, "big"))


class FlightClient(StreamOnlyClient):
    """The sending end."""

    def __init__(self, address: str) -> None:
        self._client = flight.connect(address)
        self._schema = arrow.schema([("data", arrow.uint8())])

    def send_stream(self, pieces: Pieces) -> None:
        writer, reader = self._client.do_put(flight.FlightDescriptor.for_path("stream"), self._schema)
        batches: dict[int, Any] = {}
        while piece := pieces.take(MIB):
            if len(piece) not in batches:
                column = arrow.Array.from_buffers(arrow.uint8(), len(piece), [None, arrow.py_buffer(piece)])
                batches[len(piece)] = arrow.RecordBatch.from_arrays([column], schema=self._schema)
            writer.write_batch(batches[len(piece)])
        writer.done_writing()
        confirmed = int.from_bytes(reader.read().to_pybytes(), "big")
        writer.close()
        if confirmed != pieces.size:
            raise RuntimeError("the other end did not confirm all")


class FlightPeer:
    """A Flight server and a client."""

    def serve(self, tally: Tally) -> str:
        server_class = type("Server", (DiscardingServer, flight.FlightServerBase), {"tally": tally})
        self._server: Any = server_class("grpc://127.0.0.1:0")
        return f"grpc://127.0.0.1:{self._server.port}"

    def connect(self, address: str) -> Client:
        return FlightClient(address)


make = FlightPeer
