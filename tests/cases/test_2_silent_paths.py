"""The path of a link swallows everything: another address is taken before the link is given up. Case 2.3."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamcell import CellConfig, CoreCell, Message, ReceivedStream, StreamCell
from tests.kit.cells import running
from tests.kit.payloads import pattern
from tests.kit.proxy import proxy_to
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# Suspicious soon; gives a link up only after longer than any test takes.
CONFIG = CellConfig(
    ping_after_s=0.1,
    control_ping_after_s=0.2,
    suspect_after_s=scaled(0.2),
    connect_timeout_s=scaled(0.3),
    hello_timeout_s=scaled(0.6),
    connect_in_order=True,
    backoff_min_s=0.02,
    backoff_max_s=0.2,
    link_down_s=4 * PATIENCE_S,
)
DATA = pattern(4 << 20)


@pytest.fixture
def hub() -> Iterator[CoreCell]:
    with running(CoreCell("hub", listen="grpc://127.0.0.1:0", config=CONFIG)) as cell:
        yield cell


@pytest.mark.parametrize("bulk_lanes", [0, 1])
def test_case_2_3_the_path_of_a_link_goes_silent(hub: CoreCell, bulk_lanes: int) -> None:
    """What is under way goes on by the other address. The cell at its end is the same, so the link lasts."""
    arrived: Box[bytes] = Box()
    gone: Box[str] = Box()

    def read(_future: object, stream: ReceivedStream, _resume: bool) -> None:
        head = stream.read(1)
        gate.pass_through()
        arrived.put(head + stream.read(-1))

    StreamCell(hub).register_stream_cb("c", "t", read)
    config = dataclasses.replace(CONFIG, bulk_lanes=bulk_lanes)
    with (
        Gate() as gate,
        proxy_to(hub.listen_urls[0]) as first,
        proxy_to(hub.listen_urls[0]) as second,
        running(CoreCell("site", connect=[first.url, second.url], config=config)) as site,
    ):
        site.set_cell_disconnected_cb(gone.put)
        site.wait_connected(PATIENCE_S)
        sent = StreamCell(site).send_stream("c", "t", "hub", Message({}, DATA))
        gate.wait_arrived()
        first.stall()
        gate.open()
        assert sent.result(PATIENCE_S) == len(DATA)
        assert arrived.get() == DATA
        # And back.
        first.release()
        second.stall()
        assert StreamCell(site).send_stream("c", "t", "hub", Message({}, DATA)).result(PATIENCE_S) == len(DATA)
        assert gone.is_empty()


def test_case_2_3_a_path_that_is_silent_for_a_moment_is_kept(hub: CoreCell) -> None:
    """A fresh lane by the same address is tried first: at another one there may be another cell."""
    hub.register_request_cb("c", "t", lambda request: Message({}, b"here"))
    with (
        proxy_to(hub.listen_urls[0]) as first,
        proxy_to(hub.listen_urls[0]) as second,
        running(CoreCell("site", connect=[first.url, second.url], config=CONFIG)) as site,
    ):
        site.wait_connected(PATIENCE_S)
        dialled = first.connections
        first.abandon()
        eventually(lambda: first.connections > dialled)
        assert site.send_request("c", "t", "hub", Message(), PATIENCE_S).payload == b"here"
        assert second.connections == 0


LISTENER = """
import sys
from streamcell import CoreCell
with CoreCell(sys.argv[1], listen="grpc://127.0.0.1:0") as cell:
    print(*cell.listen_urls, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("other", ["a", "b"], ids=["another life", "another cell"])
def test_case_2_3_the_process_at_the_other_end_is_stopped(other: str) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", LISTENER, "a"], stdin=-1, stdout=-1, text=True) as a,
        running(CoreCell(other, listen="grpc://127.0.0.1:0", config=CONFIG)) as b,
    ):
        try:
            assert a.stdout is not None
            urls = [a.stdout.readline().strip(), *b.listen_urls]
            with running(CoreCell("site", connect=urls, config=CONFIG)) as site:
                site.wait_connected(PATIENCE_S)
                a.send_signal(signal.SIGSTOP)
                eventually(lambda: b.is_cell_connected("site"))
        finally:
            a.kill()
