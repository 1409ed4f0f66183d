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
SHARED_LANE_BYTES = 262_144
SMALL_BYTES = 65_536
CHUNK_BYTES = 65_536


class Outgoing:
    """A stream that the minimal cell sends, all of it held in memory."""

    def __init__(self, stream: Any, topic: str, payload: bytes, opening: Any) -> None:
        self.stream = stream
        self.topic = topic
        self.payload = payload
        self.opening = opening
        self.is_bulk = len(payload) > SMALL_BYTES
        self.sequence = self.offset = self.received = 0
        self.credit = INITIAL_CREDIT
        self.has_credit = self.is_all_sent = False

    @property
    def unconfirmed(self) -> int:
        return self.offset - self.received if self.is_bulk else 0

    def next_chunk(self, room: int) -> Any:
        """Return the next chunk, or None if none may go."""
        if self.is_all_sent or self.offset >= self.credit or (self.is_bulk and room <= 0):
            return None
        most = min(CHUNK_BYTES, room) if self.is_bulk else CHUNK_BYTES
        if not self.has_credit:
            most = min(most, self.credit - self.offset)
        payload = self.payload[self.offset : self.offset + most]
        last = self.offset + len(payload) == len(self.payload)
        position = (self.stream.stream_id, self.stream.attempt, self.sequence, self.offset)
        chunk = cell_pb2.Chunk(
            stream=self.stream,
            channel="minimal",
            topic=self.topic,
            sequence=self.sequence,
            offset=self.offset,
            last=last,
            hops_left=16,
            checksum=checksum(payload, *position, last=last),
            open=None if self.sequence else self.opening,
            payload=payload,
        )
        self.sequence += 1
        self.offset += len(payload)
        self.is_all_sent = last
        return chunk


class Incoming:
    """A stream that the minimal cell receives, all of it held in memory."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.attempt = 0
        self.last_word: Any = None

    def answer(self, attempt: int) -> dict[str, Any]:
        """Return the last word as an answer to a frame of that attempt."""
        frame = cell_pb2.Frame()
        frame.CopyFrom(self.last_word)
        kind = str(frame.WhichOneof("kind"))
        getattr(frame, kind).stream.attempt = attempt
        return {kind: getattr(frame, kind)}


class MinimalCell:
    """The steps of the page, one lane, and what the page lets out left out: it gives up what was lost."""

    def __init__(self, fqcn: str, url: str) -> None:
        self.fqcn = fqcn
        self.incarnation = int(time.time() * 1000) << 20
        self.heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.chunks_to_spoil = 0
        self._incoming: dict[tuple[str, int], Incoming] = {}
        self._settled_below: dict[str, int] = {}
        self._sends: dict[int, Outgoing] = {}
        self._lock = threading.Lock()
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

    @property
    def received(self) -> dict[tuple[str, int], bytes]:
        """What came of each stream that is not settled, by origin and id."""
        return {key: bytes(incoming.data) for key, incoming in self._incoming.items()}

    def send(self, kind: cell_pb2.StreamKind, topic: str, payload: bytes) -> int:
        """Send a stream and return its id."""
        with self._lock:
            stream_id = self._next_id
            self._next_id += 1
            opening = cell_pb2.Open(
                kind=kind,
                size=len(payload),
                idle_timeout_s=LIMIT_S,
                settled_below=min((*self._sends, stream_id)),
            )
            stream = self._ref(self.fqcn, self.incarnation, "server", stream_id)
            self._sends[stream_id] = Outgoing(stream, topic, payload, opening)
            self._pump()
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
        handlers: dict[str, Callable[[Any], None]] = {
            "ping": self._on_ping,
            "credit": self._on_credit,
            "ack": self._on_ack,
            "lost": self._on_lost,
            "reset": self._on_reset,
            "chunk": self._on_chunk,
            "resume_query": self._on_resume_query,
        }
        for response in self._call:
            for frame in response.frames:
                kind = frame.WhichOneof("kind")
                if kind in handlers:
                    with self._lock:
                        handlers[kind](getattr(frame, kind))
                self.heard.put(frame)

    def _on_ping(self, ping: Any) -> None:
        self._post(pong=cell_pb2.Pong(nonce=ping.nonce))
        self._forget("server", ping.settled_below)

    # Sending.

    def _pump(self) -> None:
        for send in self._sends.values():
            while chunk := send.next_chunk(SHARED_LANE_BYTES - sum(each.unconfirmed for each in self._sends.values())):
                self._post(chunk=chunk)

    def _on_credit(self, credit: Any) -> None:
        send = self._sends.get(credit.stream.stream_id)
        if send is not None:
            send.credit = max(send.credit, credit.offset)
            send.has_credit = True
            self._pump()

    def _on_ack(self, ack: Any) -> None:
        send = self._sends.get(ack.stream.stream_id)
        if send is None:
            return
        send.received = max(send.received, ack.received)
        if ack.complete and ack.consumed == len(send.payload):
            del self._sends[ack.stream.stream_id]
        self._pump()

    def _on_lost(self, lost: Any) -> None:
        if self._sends.pop(lost.stream.stream_id, None) is not None:
            self._post(reset=cell_pb2.Reset(stream=lost.stream, code=cell_pb2.ERROR_CODE_RESUME, hops_left=16))

    def _on_reset(self, reset: Any) -> None:
        if reset.from_target:
            self._sends.pop(reset.stream.stream_id, None)
        else:
            reset.from_target = True
            self._find(reset.stream).last_word = cell_pb2.Frame(reset=reset)

    # Receiving, in the order of the page's table.

    def _find(self, stream: Any) -> Incoming:
        return self._incoming.setdefault((stream.origin, stream.stream_id), Incoming())

    def _answer_ended(self, stream: Any) -> bool:
        incoming = self._incoming.get((stream.origin, stream.stream_id))
        if incoming is not None and incoming.last_word is not None:
            self._post(**incoming.answer(stream.attempt))
            return True
        if stream.stream_id < self._settled_below.get(stream.origin, 0):
            code = cell_pb2.ERROR_CODE_STALE
            self._post(reset=cell_pb2.Reset(stream=stream, from_target=True, code=code, hops_left=16))
            return True
        return False

    def _on_resume_query(self, query: Any) -> None:
        if query.stream.target != self.fqcn:
            self._post_lost(query.stream, cell_pb2.LOST_REASON_NO_ROUTE)
            return
        if self._answer_ended(query.stream):
            return
        known = self._incoming.get((query.stream.origin, query.stream.stream_id))
        if known is not None and query.stream.attempt < known.attempt:
            return
        if known is not None and not query.probe:
            known.attempt = query.stream.attempt
        self._post(
            resume_reply=cell_pb2.ResumeReply(
                stream=query.stream,
                target_incarnation=self.incarnation,
                unknown=known is None,
                offset=0 if known is None else len(known.data),
                probe=query.probe,
                hops_left=16,
            )
        )

    def _on_chunk(self, chunk: Any) -> None:
        stream = chunk.stream
        if stream.target != self.fqcn:
            self._post_lost(stream, cell_pb2.LOST_REASON_NO_ROUTE)
            return
        if chunk.HasField("open"):
            self._forget(stream.origin, chunk.open.settled_below)
        if self._answer_ended(stream):
            return
        is_new = (stream.origin, stream.stream_id) not in self._incoming
        if is_new and chunk.open.target_incarnation not in (0, self.incarnation):
            self._post_lost(stream, cell_pb2.LOST_REASON_OTHER_LIFE)
            return
        if is_new and (chunk.offset > 0 or not chunk.HasField("open")):
            self._post_lost(stream, cell_pb2.LOST_REASON_UNKNOWN_HERE)
            return
        incoming = self._find(stream)
        if stream.attempt < incoming.attempt:
            return
        incoming.attempt = stream.attempt
        if self.chunks_to_spoil > 0:
            self.chunks_to_spoil -= 1
            chunk.payload = chunk.payload[::-1]
        position = (stream.stream_id, stream.attempt, chunk.sequence, chunk.offset)
        if chunk.checksum != checksum(chunk.payload, *position, last=chunk.last):
            self._post_lost(stream, cell_pb2.LOST_REASON_CORRUPT)
        elif chunk.offset <= len(incoming.data):
            incoming.data += chunk.payload[len(incoming.data) - chunk.offset :]
            self._confirm(incoming, stream, complete=chunk.last)

    def _confirm(self, incoming: Incoming, stream: Any, *, complete: bool) -> None:
        size = len(incoming.data)
        ack = cell_pb2.Ack(
            stream=stream,
            target_incarnation=self.incarnation,
            received=size,
            consumed=size,
            complete=complete,
            hops_left=16,
        )
        if complete:
            incoming.last_word = cell_pb2.Frame(ack=ack)
        else:
            self._post(credit=cell_pb2.Credit(stream=stream, offset=size + INITIAL_CREDIT))
        self._post(ack=ack)

    def _post_lost(self, stream: Any, reason: cell_pb2.LostReason) -> None:
        self._post(lost=cell_pb2.Lost(stream=stream, reason=reason, reporter=self.fqcn, hops_left=16))

    def _forget(self, origin: str, below: int) -> None:
        self._settled_below[origin] = max(below, self._settled_below.get(origin, 0))
        for key in [key for key in self._incoming if key[0] == origin and key[1] < below]:
            del self._incoming[key]


def checksum(payload: bytes, stream_id: int, attempt: int, sequence: int, offset: int, *, last: bool) -> int:
    covered = struct.pack("<QIQQB", stream_id, attempt, sequence, offset, last)
    return crc32c.crc32c(covered, crc32c.crc32c(payload))


def pattern(size: int) -> bytes:
    return bytes(range(250)) * (size // 250) + bytes(size % 250)


@pytest.fixture
def server() -> Iterator[CoreCell]:
    with CoreCell("server", listen="grpc://127.0.0.1:0", config=CellConfig(stop_grace_s=0)) as cell:
        yield cell


@pytest.fixture
def minimal(server: CoreCell) -> Iterator[MinimalCell]:
    cell = MinimalCell("minimal", server.listen_urls[0])
    yield cell
    cell.close()


@pytest.mark.parametrize("size", [0, 9, 100_000, 3_000_000])
def test_it_sends_a_blob(server: CoreCell, minimal: MinimalCell, size: int) -> None:
    blobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    StreamCell(server).register_blob_cb("minimal", "*", lambda future: blobs.put(bytes(future.result())))
    payload = pattern(size)
    stream_id = minimal.send(cell_pb2.STREAM_KIND_BLOB, "blob", payload)
    assert blobs.get(timeout=LIMIT_S) == payload
    while not (ack := minimal.hear("ack")).complete:
        pass
    assert (ack.stream.stream_id, ack.consumed) == (stream_id, size)


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
    payload = pattern(size)
    future = StreamCell(server).send_blob("minimal", "blob", "minimal", Message({"a": 1}, payload))
    assert future.result(LIMIT_S) == size
    assert minimal.received == {("server", 1): payload}


def test_it_gets_again_what_was_corrupt(server: CoreCell, minimal: MinimalCell) -> None:
    payload = pattern(1_000_000)
    minimal.chunks_to_spoil = 1
    future = StreamCell(server).send_blob("minimal", "blob", "minimal", Message(None, payload))
    assert future.result(LIMIT_S) == len(payload)
    assert minimal.received == {("server", 1): payload}
    assert minimal.hear("resume_query").stream.attempt == 2


def test_it_forgets_what_is_settled(server: CoreCell, minimal: MinimalCell) -> None:
    for number in (1, 2):
        StreamCell(server).send_blob("minimal", "blob", "minimal", Message(None, bytes(number))).result(LIMIT_S)
    assert minimal.received == {("server", 2): bytes(2)}


def test_it_learns_who_is_there(minimal: MinimalCell) -> None:
    assert [cell.fqcn for cell in minimal.query().cells] == ["server", "minimal"]


def test_it_leaves_and_the_server_knows(server: CoreCell) -> None:
    left = threading.Event()
    server.set_cell_disconnected_cb(lambda name: left.set())
    MinimalCell("minimal", server.listen_urls[0]).close()
    assert left.wait(LIMIT_S)
