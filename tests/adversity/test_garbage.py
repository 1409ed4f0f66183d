"""Clients that talk nonsense never harm a cell: others go on, and nothing of the stranger is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Iterator

import grpc
import pytest

from streamcell import Message
from streamcell.v1 import cell_pb2
from tests.adversity.stranger import (
    EXCHANGE,
    INCARNATION,
    MIB,
    address,
    batch,
    call,
    chunk,
    goodbyes,
    hello,
    open_lane,
    stream,
)
from tests.kit.cells import QUICK, Pair, connected_pair, grpc_carrier
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, eventually


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected cells."""
    # What has lost its lanes is forgotten at once.
    config = dataclasses.replace(QUICK, link_down_s=0.05)
    with connected_pair(grpc_carrier(), config=config) as cells:
        cells.at_server.register_blob_cb("c", "t", lambda future: None)
        yield cells
        # After all of it the two are as well as before, and know nobody else.
        check(cells)
        eventually(lambda: [link.fqcn for link in cells.server.stats().protocol.links] == ["site"])


def check(pair: Pair) -> None:
    assert pair.server.is_cell_connected("site")
    for size in (10, 3_000_000):
        sent = pair.at_site.send_blob("c", "t", "server", Message({}, pattern(size)), idle_timeout=PATIENCE_S)
        assert sent.result(PATIENCE_S) == size


# --- what is not even HTTP/2


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"\0" * 1000,
        bytes(range(256)) * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    ],
    ids=["nothing", "zeros", "bytes", "HTTP/1.1", "a preface", "a preface and noise", "TLS"],
)
def test_noise(pair: Pair, noise: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(address(pair)))
            with contextlib.suppress(OSError):
                connection.sendall(noise)
        check(pair)


# --- what is HTTP/2


@pytest.mark.parametrize(
    "method", ["/streamcell.v1.CellService/Other", "/other.Service/Exchange", "/x", EXCHANGE + "x"]
)
def test_another_method(pair: Pair, method: str) -> None:
    code, frames = call(pair, [batch(hello())], method)
    assert (code, frames) == (grpc.StatusCode.UNIMPLEMENTED, [])


BAD_BATCHES = {
    "noise": b"\xff" * 1000,
    "a truncated batch": batch(hello())[:-3],
    "a huge length": b"\x0a\xff\xff\xff\xff\x07",
    "a group": b"\x0b\x0c",
    "nested without end": b"\x0a\x7f" * 500,
}
STRANGE_BATCHES = {
    "no message": b"",
    "an empty frame": batch(cell_pb2.Frame()),
    "an unknown frame": b"\x0a\x04\xa2\x06\x01x",
}
BEFORE_HELLO = {
    "a chunk": chunk(),
    "a ping": cell_pb2.Frame(ping=cell_pb2.Ping(nonce=1)),
    "a goodbye": cell_pb2.Frame(goodbye=cell_pb2.Goodbye()),
    "an ack": cell_pb2.Frame(ack=cell_pb2.Ack(stream=stream(origin="server"))),
    "a reset": cell_pb2.Frame(reset=cell_pb2.Reset(stream=stream(origin="site"))),
}


@pytest.mark.parametrize("name", BAD_BATCHES)
@pytest.mark.parametrize("greeted", [False, True], ids=["at once", "after Hello"])
def test_batches_that_cannot_be_read(pair: Pair, name: str, greeted: bool) -> None:
    first = [batch(hello())] if greeted else []
    for _ in range(5):
        code, _ = call(pair, [*first, BAD_BATCHES[name], batch(chunk())])
        assert code in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}
    check(pair)


def test_who_is_cut_off_is_told_why_and_so_is_the_log(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    endless = chunk(open=cell_pb2.Open(kind=cell_pb2.STREAM_KIND_STREAM, idle_timeout_s=float("inf")), last=False)
    _, frames = call(pair, [batch(hello()), batch(endless)])
    (goodbye,) = goodbyes(frames)
    assert goodbye.code == cell_pb2.ERROR_CODE_PROTOCOL
    assert goodbye.sentence.startswith("server cannot read what stranger sent: idle_timeout_s is inf")
    eventually(lambda: "stranger is cut off" in caplog.text)
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert goodbye.sentence in warning.getMessage()


@pytest.mark.parametrize("name", STRANGE_BATCHES)
def test_batches_from_the_future_are_ignored(pair: Pair, name: str) -> None:
    code, frames = call(pair, [STRANGE_BATCHES[name], batch(hello()), STRANGE_BATCHES[name]])
    assert code is grpc.StatusCode.OK
    assert [frame.hello.fqcn for frame in frames if frame.HasField("hello")] == ["server"]


@pytest.mark.parametrize("name", BEFORE_HELLO)
def test_frames_before_hello(pair: Pair, name: str) -> None:
    _, frames = call(pair, [batch(BEFORE_HELLO[name])])
    assert not any(frame.HasField("hello") for frame in frames)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"version_min": 2, "version_max": 9}, cell_pb2.ERROR_CODE_VERSION),
        ({"version_min": 0, "version_max": 0}, cell_pb2.ERROR_CODE_VERSION),
        ({"fqcn": "server"}, cell_pb2.ERROR_CODE_NAME_IN_USE),
        ({"limits": cell_pb2.Limits(message_bytes=1, lanes=1)}, cell_pb2.ERROR_CODE_PROTOCOL),
    ],
    ids=["another version", "no version", "my own name", "tiny messages"],
)
def test_a_hello_that_is_refused(pair: Pair, fields: dict[str, object], code: int) -> None:
    _, frames = call(pair, [batch(hello(**fields))])
    (goodbye,) = goodbyes(frames)
    assert goodbye.code == code
    assert goodbye.sentence


@pytest.mark.parametrize(
    "fields",
    [
        {"fqcn": ""},
        {"fqcn": "no name!"},
        {"fqcn": "x" * 256},
        {"link_id": b"short"},
        {"lanes_held": list(range(100_000))},
        {"capabilities": ["x" * 1000] * 1000},
        {"lane_role": 77},
        {"lane_number": 2**32 - 1},
        {"incarnation": 2**64 - 1},
        {"initial_credit": 2**64 - 1},
        {"limits": cell_pb2.Limits(message_bytes=2**64 - 1, lanes=2**32 - 1)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_strange_hello(pair: Pair, fields: dict[str, object]) -> None:
    call(pair, [batch(hello(**fields))] * 2)
    check(pair)


BLOB = cell_pb2.STREAM_KIND_BLOB
MANY_HEADERS = [cell_pb2.Header(key=f"{n}", value=cell_pb2.HeaderValue(text="x" * 1000)) for n in range(3000)]
STRANGE_FRAMES = {
    "a wrong checksum": chunk(checksum=1),
    "for another cell": chunk(stream=stream(target="elsewhere")),
    "no channel": chunk(channel=""),
    "stream 0": chunk(stream=stream(stream_id=0)),
    "an offset beyond everything": chunk(offset=2**64 - 1, last=False),
    "no open part": chunk(open=None),
    "a huge declared size": chunk(open=cell_pb2.Open(kind=BLOB, size=2**62), last=False),
    "an unknown kind": chunk(open=cell_pb2.Open(kind=99)),  # type: ignore[arg-type]
    "more than it declared": chunk(open=cell_pb2.Open(kind=BLOB, size=1)),
    "less than it declared": chunk(open=cell_pb2.Open(kind=BLOB, size=99)),
    "a reply to nothing": chunk(open=cell_pb2.Open(kind=cell_pb2.STREAM_KIND_REPLY, reply_to=1)),
    "too many headers": chunk(open=cell_pb2.Open(kind=BLOB, headers=MANY_HEADERS)),
    "a strange timeout": chunk(open=cell_pb2.Open(kind=BLOB, size=99, idle_timeout_s=float("nan"))),
    "an ack of nothing": cell_pb2.Frame(ack=cell_pb2.Ack(stream=stream(origin="server"), complete=True)),
    "a credit for nothing": cell_pb2.Frame(credit=cell_pb2.Credit(stream=stream(origin="server"), offset=2**64 - 1)),
    "a reset of another's stream": cell_pb2.Frame(reset=cell_pb2.Reset(stream=stream(origin="site"))),
    "a loss": cell_pb2.Frame(lost=cell_pb2.Lost(stream=stream(origin="server"))),
    "a query for nobody": cell_pb2.Frame(query=cell_pb2.Query()),
    "an announcement": cell_pb2.Frame(announce=cell_pb2.Announce(fqcn="site", incarnation=INCARNATION)),
    "lanes wanted": cell_pb2.Frame(lanes_wanted=cell_pb2.LanesWanted(bulk_lanes=2**32 - 1)),
    "a second hello": hello(),
    "from another cell": chunk(stream=stream(origin="site")),
    "an answer in the name of another": cell_pb2.Frame(
        query_reply=cell_pb2.QueryReply(query_id=1, asker="server", responder="site")
    ),
    "an ack in the name of another": cell_pb2.Frame(ack=cell_pb2.Ack(stream=stream(origin="server", target="site"))),
    "a query in the name of another": cell_pb2.Frame(query=cell_pb2.Query(asker="site", subject="server")),
    "a way that leads nowhere": cell_pb2.Frame(announce=cell_pb2.Announce(fqcn="x", incarnation=1, path=["y", "x"])),
    "a withdrawal of another": cell_pb2.Frame(withdraw=cell_pb2.Withdraw(fqcn="site", incarnation=1)),
    "a reply to no announcement": cell_pb2.Frame(announce_reply=cell_pb2.AnnounceReply(fqcn="server")),
}


# Strange, but they harm only who sends them.
HARMLESS_FRAMES = {
    "from another life": chunk(stream=stream(origin_incarnation=7)),
    "no attempt": chunk(stream=stream(attempt=0)),
    "a sequence beyond everything": chunk(sequence=2**64 - 1),
}


def test_a_stranger_that_behaves_is_heard(pair: Pair) -> None:
    """So that the other tests are about what is wrong, not about the stranger."""
    arrived: Box[tuple[str, bytes]] = Box()
    pair.at_server.register_blob_cb("c", "strange", lambda future: arrived.put((future.origin, bytes(future.result()))))
    code, frames = call(pair, [batch(hello(), chunk())])
    assert arrived.get() == ("stranger", b"payload")
    assert code is grpc.StatusCode.OK
    assert [frame.hello.fqcn for frame in frames if frame.HasField("hello")] == ["server"]


@pytest.mark.parametrize("name", STRANGE_FRAMES)
def test_strange_frames_after_hello(pair: Pair, name: str) -> None:
    called: Box[str] = Box()
    pair.at_server.register_blob_cb("c", "strange", lambda future: called.put(future.origin))
    for capabilities in ([], ["routes"]):
        call(pair, [batch(hello(capabilities=capabilities)), *[batch(STRANGE_FRAMES[name])] * 3])
        check(pair)
    assert called.is_empty()


@pytest.mark.parametrize("name", HARMLESS_FRAMES)
def test_harmless_frames_after_hello(pair: Pair, name: str) -> None:
    pair.at_server.register_blob_cb("c", "strange", lambda future: None)
    call(pair, [batch(hello()), *[batch(HARMLESS_FRAMES[name])] * 3])
    check(pair)


def test_messages_that_are_too_large(pair: Pair) -> None:
    """A cell accepts 6 MiB and no more; gRPC refuses the rest before it is read."""
    code, _ = call(pair, [batch(hello()), bytes(6 * MIB + 1)])
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    code, _ = call(pair, [batch(hello(), *[chunk(payload=bytes(5 * MIB))])])
    assert code is not grpc.StatusCode.RESOURCE_EXHAUSTED


def test_many_strangers_who_say_nothing(pair: Pair) -> None:
    host, port = address(pair)
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            channel = grpc.insecure_channel(f"{host}:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
            stack.enter_context(channel)
            lane = open_lane(channel)(iter(()), timeout=PATIENCE_S)
            stack.callback(lane.cancel)
        check(pair)
