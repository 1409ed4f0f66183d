"""A path that swallows everything without a word: what was under way goes on as soon as there is a way again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamcell import (
    CellConfig,
    CoreCell,
    IterStream,
    Message,
    ReceivedStream,
    StreamCell,
    StreamFuture,
    StreamTargetUnreachable,
    StreamTimeout,
)
from tests.kit.cells import running
from tests.kit.payloads import pattern
from tests.kit.proxy import Proxy, proxy_to
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# Suspicious soon; gives a link up only after longer than any test takes.
CONFIG = CellConfig(
    ping_after_s=0.1,
    control_ping_after_s=0.3,
    suspect_after_s=0.2,
    link_down_s=3 * PATIENCE_S,
    backoff_min_s=0.02,
    backoff_max_s=0.1,
    connect_timeout_s=0.5,
    hello_timeout_s=0.5,
)
DATA = pattern(8_000_000)


class Line:
    """A site connected with a server through a proxy. A stream stands still in the middle until the gate is open."""

    def __init__(self, proxy: Proxy, server: CoreCell, site: CoreCell, gate: Gate) -> None:
        self.proxy = proxy
        self.server = server
        self.site = site
        self.gate = gate
        self.digests: Box[str] = Box()

    def begin_stream(self) -> StreamFuture:
        """Send a stream; when this returns, part of it has arrived and the rest waits at the gate."""

        def source() -> Iterator[bytes]:
            yield DATA[:3_000_000]
            self.gate.pass_through()
            yield DATA[3_000_000:]

        def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            digest = hashlib.sha256()
            for piece in stream.pieces():
                digest.update(piece)
            self.digests.put(digest.hexdigest())

        StreamCell(self.server).register_stream_cb("c", "t", read)
        future = StreamCell(self.site).send_stream("c", "t", "server", Message({}, IterStream(source())))
        eventually(lambda: future.get_progress() == 3_000_000)
        return future

    def check(self, future: StreamFuture) -> None:
        """Check that the stream has arrived, and that the line is as good as ever."""
        assert future.result(PATIENCE_S) == len(DATA)
        assert self.digests.get() == hashlib.sha256(DATA).hexdigest()
        self.server.register_request_cb("c", "t", lambda request: Message({}, request.payload))
        assert bytes(self.site.send_request("c", "t", "server", Message({}, b"1"), PATIENCE_S).payload) == b"1"


@pytest.fixture
def line() -> Iterator[Line]:
    server = CoreCell("server", listen="grpc://127.0.0.1:0", config=CONFIG)
    with running(server), proxy_to(server.listen_urls[0]) as proxy, Gate() as gate:
        site = CoreCell("site", connect=proxy.url, config=CONFIG)
        with running(site):
            site.wait_connected(PATIENCE_S)
            yield Line(proxy, server, site, gate)


def is_suspicious(cell: CoreCell) -> bool:
    return any(lane.state == "suspect" for link in cell.stats().protocol.links for lane in link.lanes)


def test_a_path_that_comes_back(line: Line) -> None:
    future = line.begin_stream()
    line.proxy.stall()
    line.gate.open()
    eventually(lambda: is_suspicious(line.site))
    dialled = line.proxy.connections
    eventually(lambda: line.proxy.connections > dialled)
    assert not future.done()
    line.proxy.release()
    line.check(future)


def test_a_path_that_never_comes_back_beside_a_new_one(line: Line) -> None:
    future = line.begin_stream()
    line.proxy.abandon()
    line.gate.open()
    line.check(future)
    assert line.proxy.connections > 2
    # Nobody has thought for a moment that the other cell was gone.
    assert line.site.is_cell_connected("server")
    assert line.server.is_cell_connected("site")


def test_a_path_that_is_lost_again_and_again(line: Line) -> None:
    future = line.begin_stream()
    line.proxy.abandon()
    line.gate.open()
    for _ in range(3):
        dialled = line.proxy.connections
        eventually(functools.partial(has_dialled, line, future, dialled))
        line.proxy.abandon()
    line.check(future)


def has_dialled(line: Line, future: StreamFuture, before: int) -> bool:
    return line.proxy.connections > before or future.done()


def test_a_transfer_that_is_begun_in_the_dark(line: Line) -> None:
    StreamCell(line.server).register_blob_cb("c", "t", lambda future: line.digests.put("blob"))
    line.server.register_request_cb("c", "r", lambda request: Message({}, b"answer"))
    line.proxy.stall()
    future = StreamCell(line.site).send_blob("c", "t", "server", Message({}, DATA))
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(line.site.send_request, "c", "r", "server", Message(), PATIENCE_S)
        eventually(lambda: is_suspicious(line.site))
        assert not future.done()
        line.proxy.release()
        assert future.result(PATIENCE_S) == len(DATA)
        assert bytes(reply.result(PATIENCE_S).payload) == b"answer"
    assert line.digests.get() == "blob"
    assert line.digests.is_empty()


def test_no_way_back_in_time(line: Line) -> None:
    """Both sides give up by the clock, each truthfully."""
    failed: Box[BaseException | None] = Box()
    with Gate() as gate:

        def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            gate.pass_through()
            failed.put(future.exception(PATIENCE_S))

        StreamCell(line.server).register_stream_cb("c", "t", read)
        streams = StreamCell(line.site)
        begun = streams.send_stream("c", "t", "server", Message({}, DATA), idle_timeout=1.0)
        gate.wait_arrived()
        eventually(lambda: begun.get_progress() > 0)
        line.proxy.stall()
        gate.open()
        unheard = streams.send_blob("c", "t", "server", Message({}, b"1"), unreachable_timeout=0.5)
        assert isinstance(unheard.exception(PATIENCE_S), StreamTargetUnreachable)
        assert isinstance(begun.exception(PATIENCE_S), StreamTimeout)
        assert isinstance(failed.get(), StreamTimeout)
    line.proxy.release()
    line.server.register_request_cb("c", "t", lambda request: None)
    line.site.send_request("c", "t", "server", Message(), PATIENCE_S)
