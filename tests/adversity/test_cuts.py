"""The connection breaks, at many points of a transfer, over real gRPC: every byte arrives, in order, once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import CellConfig, CoreCell, IterStream, Message, ReceivedStream, StreamCell, StreamFuture
from tests.kit.cells import running
from tests.kit.payloads import pattern
from tests.kit.proxy import Proxy, Way, proxy_to
from tests.kit.waiting import PATIENCE_S, Box

CONFIG = CellConfig(chunk_bytes=64 * 1024, backoff_min_s=0.01, backoff_max_s=0.05, connect_timeout_s=5.0)
SIZE = 1_500_000


def digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


class Line:
    """A site connected with a server through a proxy, and what has arrived at the server."""

    def __init__(self, proxy: Proxy, server: CoreCell, site: CoreCell) -> None:
        self.proxy = proxy
        self.server = server
        self.site = site
        self.streams = StreamCell(site)
        self.arrived: Box[tuple[int, str]] = Box()


@pytest.fixture
def line() -> Iterator[Line]:
    server = CoreCell("server", listen="grpc://127.0.0.1:0", config=CONFIG)
    with running(server), proxy_to(server.listen_urls[0]) as proxy:
        site = CoreCell("site", connect=proxy.url, config=CONFIG)
        line = Line(proxy, server, site)

        def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            found = hashlib.sha256()
            for piece in stream.pieces():
                found.update(piece)
            line.arrived.put((int(stream.headers["n"]), found.hexdigest()))

        def take(future: StreamFuture) -> None:
            line.arrived.put((int(future.get_headers()["n"]), digest(future.result())))

        def answer(request: Message) -> Message:
            line.arrived.put((int(request.headers["n"]), digest(request.payload)))
            return Message({}, bytes(request.payload)[::-1])

        StreamCell(server).register_stream_cb("c", "stream", read)
        StreamCell(server).register_blob_cb("c", "blob", take)
        server.register_request_cb("c", "request", answer)
        with running(site):
            site.wait_connected(PATIENCE_S)
            yield line


def send_stream(line: Line, number: int, data: bytes) -> None:
    pieces = (data[at : at + 30_000] for at in range(0, len(data), 30_000))
    future = line.streams.send_stream("c", "stream", "server", Message({"n": number}, IterStream(pieces)))
    assert future.result(PATIENCE_S) == len(data)


def send_blob(line: Line, number: int, data: bytes) -> None:
    future = line.streams.send_blob("c", "blob", "server", Message({"n": number}, data))
    assert future.result(PATIENCE_S) == len(data)


def send_request(line: Line, number: int, data: bytes) -> None:
    reply = line.site.send_request("c", "request", "server", Message({"n": number}, data), PATIENCE_S)
    assert bytes(reply.payload) == data[::-1]


Send = Callable[[Line, int, bytes], None]
SENDS = pytest.mark.parametrize("send", [send_stream, send_blob, send_request])


def check_once(line: Line, sent: dict[int, bytes]) -> None:
    """Check that each thing has arrived, whole and once."""
    arrived = line.arrived.get_all(len(sent))
    assert sorted(arrived) == sorted((number, digest(data)) for number, data in sent.items())
    # Whatever comes late has come when a stream that is sent now has arrived.
    send_blob(line, -1, b"last")
    assert line.arrived.get()[0] == -1
    assert line.arrived.is_empty()


@SENDS
@pytest.mark.parametrize("size", [100, 60_000, SIZE])
@pytest.mark.parametrize("way", Way)
def test_cut_at_any_point_of_a_transfer(line: Line, send: Send, way: Way, size: int) -> None:
    # A first one in peace, for the number of bytes that one takes.
    sent = {0: pattern(size)}
    before = dict(line.proxy.passed)
    send(line, 0, sent[0])
    takes = line.proxy.passed[way] - before[way]
    # From the open over the first chunk and the middle to the last chunk and what confirms it.
    for number, part in enumerate((0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0), start=1):
        sent[number] = pattern(size, number)
        line.proxy.cut_after(way, max(1, int(takes * part)))
        send(line, number, sent[number])
        line.proxy.disarm()
    assert line.proxy.cuts > 0
    check_once(line, sent)


@SENDS
def test_cut_during_the_handshake(line: Line, send: Send) -> None:
    sent = {}
    # The connection preface and settings of HTTP/2, the call's headers, the Hello, the answer's.
    for number, size in enumerate((1, 10, 24, 40, 80, 150, 250, 350, 450)):
        for way in Way:
            name = 2 * number + (way is Way.DOWN)
            sent[name] = pattern(100_000, name)
            line.proxy.cut_after(way, size)
            line.proxy.cut()
            send(line, name, sent[name])
            line.proxy.disarm()
    check_once(line, sent)


@SENDS
def test_cut_again_and_again(line: Line, send: Send) -> None:
    """No attempt gets further than some batches."""
    data = pattern(5_000_000)
    line.proxy.cut_every(Way.UP, 800_000)
    send(line, 1, data)
    line.proxy.disarm()
    assert line.proxy.cuts >= 5
    check_once(line, {1: data})


def test_only_what_is_unconfirmed_is_sent_again(line: Line) -> None:
    data = pattern(20_000_000)
    line.proxy.cut_after(Way.UP, 15_000_000)
    send_stream(line, 1, data)
    check_once(line, {1: data})
    stats = line.site.stats().protocol
    assert stats.resumes >= 1
    assert stats.bytes_retransmitted < 10_000_000
