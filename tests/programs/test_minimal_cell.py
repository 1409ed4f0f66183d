"""A cell made of nothing but the page "What a minimal cell must do", protobuf and gRPC, talks with a real one."""

import queue
import threading
from collections.abc import Iterator

import pytest

from streamcell import CellConfig, CoreCell, Message, StreamCell
from streamcell.v1 import cell_pb2
from tests.kit.minimal_cell import LIMIT_S, MinimalCell
from tests.kit.payloads import pattern


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
    assert {cell.fqcn for cell in minimal.query().cells} == {"server", "minimal"}


def test_it_leaves_and_the_server_knows(server: CoreCell) -> None:
    left = threading.Event()
    server.set_cell_disconnected_cb(lambda name: left.set())
    MinimalCell("minimal", server.listen_urls[0]).close()
    assert left.wait(LIMIT_S)
