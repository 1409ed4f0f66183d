"""A cell made of nothing but the page "What a minimal cell must do", protobuf and gRPC, talks with a real one."""

import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import crc32c
import pytest

from streamcell import CellConfig, CoreCell, Message, StreamCell
from streamcell.transport.environment import grpc
from streamcell.v1 import cell_pb2
from tests.timing import scaled

LIMIT_S = scaled(20)
INITIAL_CREDIT = 262_144


class MinimalCell:
    """One lane, one link, no resuming: it resets what it cannot do."""

    def __init__(self, fqcn: str, url: str) -> None:
        self.fqcn = fqcn
        self.incarnation = int(time.time() * 1000) << 20
        self.heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.received: dict[tuple[str, int], bytearray] = {}
        self._last_words: dict[tuple[str, int], Any] = {}
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._next_id = 1
        self._channel = grpc.insecure_channel(url.removeprefix("grpc://"))
        exchange = self._channel.stream_stream(
            "/streamcell.v1.CellService/Exchange",
            request_serializer=cell_pb2.ExchangeRequest.SerializeToString,
            response_deserializer=cell_pb2.ExchangeResponse.FromString,
        )
        self._call = exchange(self._requests())
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._post(
            hello=cell_pb2.Hello(
                version_min=1,
                version_max=1,
                fqcn=fqcn,
                incarnation=self.incarnation,
                lane_number=1,
                lane_role=cell_pb2.LANE_ROLE_CONTROL,
                lanes_held=[1],
                limits=cell_pb2.Limits(message_bytes=6 * 2**20, lanes=1),
                initial_credit=INITIAL_CREDIT,
            )
        )
        assert self.hear("hello").fqcn == "server"

    def hear(self, kind: str) -> Any:
        """Wait for a frame of a kind, and drop those before it."""
        while True:
            frame = self.heard.get(timeout=LIMIT_S)
            if frame.WhichOneof("kind") == kind:
                return getattr(frame, kind)

    def send(self, kind: cell_pb2.StreamKind, topic: str, payload: bytes) -> int:
        """Send a stream of one chunk and return its id."""
        stream_id = self._next_id
        self._next_id += 1
        self._post(
            chunk=cell_pb2.Chunk(
                stream=self._ref(self.fqcn, self.incarnation, "server", stream_id),
                channel="minimal",
                topic=topic,
                last=True,
                hops_left=16,
                checksum=checksum(payload, stream_id, 1, 0, 0, last=True),
                open=cell_pb2.Open(kind=kind, size=len(payload), idle_timeout_s=LIMIT_S, settled_below=stream_id),
                payload=payload,
            )
        )
        return stream_id

    def query(self) -> Any:
        self._post(query=cell_pb2.Query(query_id=5, asker=self.fqcn, hops_left=16))
        return self.hear("query_reply")

    def close(self) -> None:
        self._post(goodbye=cell_pb2.Goodbye(code=cell_pb2.ERROR_CODE_STOPPING, sentence="done"))
        self._outgoing.put(None)
        self._reader.join(LIMIT_S)
        self._channel.close()

    def _requests(self) -> Iterator[Any]:
        while (request := self._outgoing.get()) is not None:
            yield request

    def _post(self, **frame: Any) -> None:
        self._outgoing.put(cell_pb2.ExchangeRequest(frames=[cell_pb2.Frame(**frame)]))

    def _ref(self, origin: str, incarnation: int, target: str, stream_id: int) -> Any:
        return cell_pb2.StreamRef(
            origin=origin, origin_incarnation=incarnation, target=target, stream_id=stream_id, attempt=1
        )

    def _read(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {"chunk": self._on_chunk, "ping": self._on_ping}
        for response in self._call:
            for frame in response.frames:
                kind = frame.WhichOneof("kind")
                if kind in handlers:
                    handlers[kind](getattr(frame, kind))
                self.heard.put(frame)

    def _on_ping(self, ping: Any) -> None:
        self._post(pong=cell_pb2.Pong(nonce=ping.nonce))

    def _on_chunk(self, chunk: Any) -> None:
        stream = chunk.stream
        key = (stream.origin, stream.stream_id)
        if key in self._last_words:
            self._post(ack=self._last_words[key])
            return
        position = (stream.stream_id, stream.attempt, chunk.sequence, chunk.offset)
        assert chunk.checksum == checksum(chunk.payload, *position, last=chunk.last)
        data = self.received.setdefault(key, bytearray())
        assert chunk.offset == len(data), "there is one lane, so all comes in order"
        data += chunk.payload
        ack = cell_pb2.Ack(
            stream=stream,
            target_incarnation=self.incarnation,
            received=len(data),
            consumed=len(data),
            complete=chunk.last,
            hops_left=16,
        )
        if chunk.last:
            self._last_words[key] = ack
        else:
            self._post(credit=cell_pb2.Credit(stream=stream, offset=len(data) + INITIAL_CREDIT))
        self._post(ack=ack)


def checksum(payload: bytes, stream_id: int, attempt: int, sequence: int, offset: int, *, last: bool) -> int:
    covered = struct.pack("<QIQQB", stream_id, attempt, sequence, offset, last)
    return crc32c.crc32c(covered, crc32c.crc32c(payload))


@pytest.fixture
def server() -> Iterator[CoreCell]:
    with CoreCell("server", listen="grpc://127.0.0.1:0", config=CellConfig(stop_grace_s=0)) as cell:
        yield cell


@pytest.fixture
def minimal(server: CoreCell) -> Iterator[MinimalCell]:
    cell = MinimalCell("minimal", server.listen_urls[0])
    yield cell
    cell.close()


def test_it_sends_a_blob(server: CoreCell, minimal: MinimalCell) -> None:
    blobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    StreamCell(server).register_blob_cb("minimal", "*", lambda future: blobs.put(bytes(future.result())))
    stream_id = minimal.send(cell_pb2.STREAM_KIND_BLOB, "blob", b"from afar")
    assert blobs.get(timeout=LIMIT_S) == b"from afar"
    while not (ack := minimal.hear("ack")).complete:
        pass
    assert (ack.stream.stream_id, ack.consumed) == (stream_id, 9)


def test_it_sends_a_stream(server: CoreCell, minimal: MinimalCell) -> None:
    streams: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    StreamCell(server).register_stream_cb("minimal", "lines", lambda f, stream, r: streams.put(stream.read()))
    minimal.send(cell_pb2.STREAM_KIND_STREAM, "lines", b"one\ntwo\n")
    assert streams.get(timeout=LIMIT_S) == b"one\ntwo\n"
    while not minimal.hear("ack").complete:
        pass


def test_it_is_told_that_nobody_wants_it(minimal: MinimalCell) -> None:
    minimal.send(cell_pb2.STREAM_KIND_BLOB, "unknown", b"x")
    reset = minimal.hear("reset")
    assert reset.code == cell_pb2.ERROR_CODE_NO_CALLBACK
    assert reset.from_target


def test_it_asks_and_gets_a_reply(server: CoreCell, minimal: MinimalCell) -> None:
    server.register_request_cb("minimal", "ask", lambda request: Message(None, bytes(request.payload)[::-1]))
    stream_id = minimal.send(cell_pb2.STREAM_KIND_REQUEST, "ask", b"abc")
    reply = minimal.hear("chunk")
    assert (reply.open.kind, reply.open.reply_to) == (cell_pb2.STREAM_KIND_REPLY, stream_id)
    assert reply.open.reply_to_incarnation == minimal.incarnation
    assert reply.payload == b"cba"


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
def test_it_receives(server: CoreCell, minimal: MinimalCell, size: int) -> None:
    payload = bytes(range(250)) * (size // 250) + bytes(size % 250)
    future = StreamCell(server).send_blob("minimal", "blob", "minimal", Message({"a": 1}, payload))
    assert future.result(LIMIT_S) == size
    assert minimal.received == {("server", 1): payload}


def test_it_learns_who_is_there(minimal: MinimalCell) -> None:
    assert [cell.fqcn for cell in minimal.query().cells] == ["server", "minimal"]


def test_it_leaves_and_the_server_knows(server: CoreCell) -> None:
    left = threading.Event()
    server.set_cell_disconnected_cb(lambda name: left.set())
    MinimalCell("minimal", server.listen_urls[0]).close()
    assert left.wait(LIMIT_S)
