"""The other process is killed, or stopped and continued, in the middle of things."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import (
    CellConfig,
    CellError,
    CoreCell,
    IterStream,
    Message,
    RequestTimeout,
    StreamCell,
    StreamFuture,
    StreamTargetUnreachable,
    StreamTimeout,
)
from tests.kit.cells import QUICK, running
from tests.kit.payloads import pattern
from tests.kit.programs import Script
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, eventually

# Says where it listens, that something has arrived, and the digest of each stream and blob.
RECEIVER = """
server = CoreCell("server", listen={url!r}, config=QUICK)

def read(future, stream, resume):
    digest = hashlib.sha256()
    for number, piece in enumerate(stream.pieces()):
        if number == 0:
            say("reading")
        digest.update(piece)
    say(digest.hexdigest())

def take(future):
    say(hashlib.sha256(future.result()).hexdigest())

def block(*_):
    say("reading")
    threading.Event().wait()

streams = StreamCell(server)
streams.register_stream_cb("c", "stream", read)
streams.register_blob_cb("c", "blob", take)
streams.register_stream_cb("c", "blocked", block)
server.register_request_cb("c", "blocked", block)
server.start()
say(server.listen_urls[0])
sys.stdin.readline()
"""
ANYWHERE = "grpc://127.0.0.1:0"


# Gives a neighbour up in the time that a test has.
HASTY = CellConfig(
    backoff_min_s=0.02,
    backoff_max_s=0.2,
    ping_after_s=0.2,
    control_ping_after_s=0.2,
    suspect_after_s=0.2,
    link_down_s=1.0,
)


def connected_site(url: str, config: CellConfig = HASTY) -> CoreCell:
    return CoreCell("site", connect=url, config=config)


def endless() -> IterStream:
    return IterStream(itertools.repeat(bytes(1 << 20)))


def send_endless_stream(site: CoreCell) -> StreamFuture:
    return StreamCell(site).send_stream("c", "stream", "server", Message({}, endless()), idle_timeout=1.0)


def send_to_blocked_reader(site: CoreCell) -> StreamFuture:
    message = Message({}, bytes(3_000_000))
    return StreamCell(site).send_stream("c", "blocked", "server", message, idle_timeout=1.0)


@pytest.mark.parametrize("begin", [send_endless_stream, send_to_blocked_reader])
def test_the_receiver_is_killed(begin: Callable[[CoreCell], StreamFuture]) -> None:
    with Script(RECEIVER.format(url=ANYWHERE)) as program:
        url = program.hear()
        with running(connected_site(url)) as site:
            site.wait_connected(PATIENCE_S)
            future = begin(site)
            assert program.hear() == "reading"
            # From the first acknowledgement on it is the idle timeout that counts.
            eventually(lambda: future.get_progress() > 0)
            program.signal(signal.SIGKILL)
            with pytest.raises(StreamTimeout, match="server"):
                future.result(PATIENCE_S)
            unreachable = StreamCell(site).send_blob("c", "blob", "server", Message({}, b"x"), unreachable_timeout=0.3)
            with pytest.raises(StreamTargetUnreachable, match="server"):
                unreachable.result(PATIENCE_S)
            eventually(lambda: not site.is_cell_reachable("server"))
            # It comes back at the same address, and all is well again.
            with Script(RECEIVER.format(url=url)) as again:
                assert again.hear() == url
                future = StreamCell(site).send_blob("c", "blob", "server", Message({}, b"back"))
                assert again.hear() == hashlib.sha256(b"back").hexdigest()
                assert future.result(PATIENCE_S) == 4


def test_the_receiver_of_a_request_is_killed() -> None:
    with Script(RECEIVER.format(url=ANYWHERE)) as program, running(connected_site(program.hear())) as site:
        site.wait_connected(PATIENCE_S)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            reply = pool.submit(site.send_request, "c", "blocked", "server", Message(), scaled(3.0))
            assert program.hear() == "reading"
            # The target has acknowledged it.
            eventually(lambda: not site.stats().protocol.sends)
            program.signal(signal.SIGKILL)
            with pytest.raises(RequestTimeout, match="server"):
                reply.result(PATIENCE_S)


def test_the_origin_is_killed() -> None:
    server = CoreCell("server", listen=ANYWHERE, config=QUICK)
    outcomes: list[BaseException] = []

    def read(future: StreamFuture, stream: Any, resume: bool) -> None:
        with pytest.raises(CellError) as raised:
            for _ in stream.pieces():
                pass
        outcomes.append(raised.value)

    StreamCell(server).register_stream_cb("c", "t", read)
    with running(server):
        script = f"""
            site = CoreCell("site", connect={server.listen_urls!r}, config=QUICK)
            site.start()
            site.wait_connected(30)
            source = IterStream(itertools.repeat(bytes(1 << 20)))
            future = StreamCell(site).send_stream("c", "t", "server", Message({{}}, source), idle_timeout=1.0)
            while not future.get_progress():
                time.sleep(0.01)
            say("sending")
            sys.stdin.readline()
            """
        with Script(script) as program:
            assert program.hear() == "sending"
            program.signal(signal.SIGKILL)
            eventually(lambda: bool(outcomes))
        assert isinstance(outcomes[0], StreamTimeout)
        eventually(lambda: not server.is_cell_connected("site"))


@pytest.mark.parametrize("kind", ["stream", "blob"])
def test_a_receiver_that_stands_still_for_a_while_costs_nothing(kind: str) -> None:
    config = CellConfig(
        ping_after_s=0.2, control_ping_after_s=0.2, suspect_after_s=2.0, backoff_min_s=0.02, backoff_max_s=0.2
    )
    data = pattern(64 << 20)
    with Script(RECEIVER.format(url=ANYWHERE)) as program, running(connected_site(program.hear(), config)) as site:
        site.wait_connected(PATIENCE_S)
        program.signal(signal.SIGSTOP)
        send = StreamCell(site).send_stream if kind == "stream" else StreamCell(site).send_blob
        future = send("c", kind, "server", Message({}, data))
        # Long enough that this side has become suspicious and dials anew.
        eventually(lambda: is_suspicious(site))
        assert not future.done()
        program.signal(signal.SIGCONT)
        assert future.result(PATIENCE_S) == len(data)
        if kind == "stream":
            assert program.hear() == "reading"
        assert program.hear() == hashlib.sha256(data).hexdigest()
        assert site.stats().protocol.bytes_retransmitted == 0


def is_suspicious(site: CoreCell) -> bool:
    return any(lane.state == "suspect" for link in site.stats().protocol.links for lane in link.lanes)


def test_an_origin_that_stands_still_for_a_while_costs_nothing() -> None:
    config = CellConfig(
        ping_after_s=0.2, control_ping_after_s=0.2, suspect_after_s=0.5, backoff_min_s=0.02, backoff_max_s=0.2
    )
    server = CoreCell("server", listen=ANYWHERE, config=config)
    digests: Box[str] = Box()
    gate = threading.Event()

    def read(future: StreamFuture, stream: Any, resume: bool) -> None:
        digest = hashlib.sha256()
        for piece in stream.pieces():
            digest.update(piece)
            gate.wait(PATIENCE_S)
        digests.put(digest.hexdigest())

    StreamCell(server).register_stream_cb("c", "t", read)
    data = pattern(20_000_000)
    with running(server):
        script = f"""
            from tests.kit.payloads import pattern
            site = CoreCell("site", connect={server.listen_urls!r}, config=QUICK)
            site.start()
            site.wait_connected(30)
            message = Message({{}}, pattern({len(data)}))
            future = StreamCell(site).send_stream("c", "t", "server", message)
            while not future.get_progress():
                time.sleep(0.01)
            say("sending")
            future.result(60)
            say(site.stats().protocol.bytes_retransmitted)
            """
        with Script(script) as program:
            assert program.hear() == "sending"
            program.signal(signal.SIGSTOP)
            eventually(lambda: is_suspicious(server))
            program.signal(signal.SIGCONT)
            gate.set()
            assert digests.get() == hashlib.sha256(data).hexdigest()
            assert program.hear() == "0"
