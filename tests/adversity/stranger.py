"""A client that is no cell: it says on the wire whatever a test wants said."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from urllib.parse import urlsplit

import grpc

from streamcell.protocol.wire.frames import StreamKey
from streamcell.protocol.wire.integrity import checksum_fields
from streamcell.transport.checksum import checksum
from streamcell.v1 import cell_pb2
from tests.kit.cells import Pair
from tests.kit.waiting import PATIENCE_S

EXCHANGE = "/streamcell.v1.CellService/Exchange"
MIB = 1 << 20
INCARNATION = 1 << 40


def address(pair: Pair) -> tuple[str, int]:
    url = urlsplit(pair.server.listen_urls[0])
    return str(url.hostname), int(url.port or 0)


def batch(*frames: cell_pb2.Frame) -> bytes:
    return cell_pb2.ExchangeRequest(frames=frames).SerializeToString()


def hello(**fields: object) -> cell_pb2.Frame:
    """Return a good Hello, except for the given fields."""
    good: dict[str, object] = {
        "version_min": 1,
        "version_max": 1,
        "fqcn": "stranger",
        "incarnation": INCARNATION,
        "lane_number": 1,
        "lane_role": cell_pb2.LANE_ROLE_CONTROL,
        "lanes_held": [1],
        "limits": cell_pb2.Limits(message_bytes=6 * MIB, lanes=2),
        "initial_credit": 256 * 1024,
    }
    return cell_pb2.Frame(hello=cell_pb2.Hello(**{**good, **fields}))  # type: ignore[arg-type]


def stream(**fields: object) -> cell_pb2.StreamRef:
    """Return the name of a stream of the stranger to the server, except for the given fields."""
    good: dict[str, object] = {
        "origin": "stranger",
        "origin_incarnation": INCARNATION,
        "target": "server",
        "stream_id": 1,
        "attempt": 1,
    }
    return cell_pb2.StreamRef(**{**good, **fields})  # type: ignore[arg-type]


def chunk(**fields: object) -> cell_pb2.Frame:
    """Return the only chunk of a blob, except for the given fields. Its checksum is right."""
    good: dict[str, object] = {
        "stream": stream(),
        "channel": "c",
        "topic": "strange",
        "last": True,
        "hops_left": 16,
        "payload": b"payload",
        "open": cell_pb2.Open(kind=cell_pb2.STREAM_KIND_BLOB, size=7, idle_timeout_s=30),
    }
    made = cell_pb2.Chunk(**{**good, **fields})  # type: ignore[arg-type]
    if "checksum" not in fields:
        key = StreamKey(made.stream.origin, made.stream.origin_incarnation, made.stream.stream_id)
        checked = checksum_fields(key, made.stream.attempt, made.sequence, made.offset, last=made.last)
        made.checksum = checksum(checked, checksum(made.payload, 0))
    return cell_pb2.Frame(chunk=made)


def call(pair: Pair, batches: Iterable[bytes], method: str = EXCHANGE) -> tuple[grpc.StatusCode, list[cell_pb2.Frame]]:
    """Send batches on a call and then no more; return its status and what came back."""
    host, port = address(pair)
    frames: list[cell_pb2.Frame] = []
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"{host}:{port}", options=options) as channel:
        answers = open_lane(channel, method)(iter(batches), timeout=PATIENCE_S)
        with contextlib.suppress(grpc.RpcError):
            for answer in answers:
                frames += cell_pb2.ExchangeResponse.FromString(answer).frames
        code: grpc.StatusCode = answers.code()
    return code, frames


def goodbyes(frames: list[cell_pb2.Frame]) -> list[cell_pb2.Goodbye]:
    return [frame.goodbye for frame in frames if frame.HasField("goodbye")]


def open_lane(channel: grpc.Channel, method: str = EXCHANGE) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
    """Return what opens a call that carries bytes as they are."""
    return channel.stream_stream(method, request_serializer=bytes, response_deserializer=bytes)
