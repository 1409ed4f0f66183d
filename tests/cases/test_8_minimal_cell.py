"""A cell that was written from the wire's document alone, through breaks, silence, restarts and a relay."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator

import pytest

from streamcell import CellConfig, CoreCell, Message, StreamCell
from streamcell.v1 import cell_pb2
from tests.kit.minimal_cell import MinimalCell
from tests.kit.payloads import pattern
from tests.kit.proxy import Proxy, Way, proxy_to
from tests.kit.waiting import PATIENCE_S, eventually

KIB = 1024
DATA = pattern(2_000_000)
BLOB = cell_pb2.STREAM_KIND_BLOB
STREAM = cell_pb2.STREAM_KIND_STREAM
CONFIG = CellConfig(stop_grace_s=0, backoff_min_s=0.02, backoff_max_s=0.2)


class Tree:
    """A hub, a cell below it in Python, and a path to the hub that a test can break."""

    def __init__(self, proxy: Proxy, hub: CoreCell, site: CoreCell) -> None:
        self.proxy = proxy
        self.hub = hub
        self.site = site
        self.arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for cell in (hub, site):
            streams = StreamCell(cell)
            streams.register_blob_cb("minimal", "*", lambda future: self.arrived.put(bytes(future.result())))
            streams.register_stream_cb("minimal", "*", lambda future, stream, _: self.arrived.put(stream.read()))

    def cell(self, name: str) -> CoreCell:
        return self.hub if name == "hub" else self.site


@pytest.fixture
def tree() -> Iterator[Tree]:
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(CoreCell("hub", listen="grpc://127.0.0.1:0", config=CONFIG))
        site = stack.enter_context(CoreCell("site", connect=hub.listen_urls[0], config=CONFIG))
        site.wait_connected(PATIENCE_S)
        yield Tree(stack.enter_context(proxy_to(hub.listen_urls[0])), hub, site)


@pytest.fixture
def minimal(tree: Tree) -> Iterator[MinimalCell]:
    cell = MinimalCell("minimal", tree.proxy.url)
    yield cell
    cell.close()


@pytest.mark.parametrize("kind", [BLOB, STREAM], ids=["blob", "stream"])
@pytest.mark.parametrize("target", ["hub", "site"])
def test_case_8_1_it_sends_through_breaks(
    tree: Tree, minimal: MinimalCell, kind: cell_pb2.StreamKind, target: str
) -> None:
    """The first break comes before the first Credit can have gone far: each attempt needs one of its own."""
    tree.proxy.cut_after(Way.UP, 100 * KIB)
    number = minimal.send(kind, "data", DATA, target)
    assert minimal.ended.get(timeout=PATIENCE_S) == (number, None)
    tree.proxy.cut_every(Way.UP, 700 * KIB)
    number = minimal.send(kind, "data", DATA, target)
    assert minimal.ended.get(timeout=PATIENCE_S) == (number, None)
    assert [tree.arrived.get(timeout=PATIENCE_S) for _ in range(2)] == [DATA, DATA]
    assert tree.arrived.empty()
    assert tree.proxy.cuts > 1


@pytest.mark.parametrize("origin", ["hub", "site"])
def test_case_8_1_it_receives_through_breaks(tree: Tree, minimal: MinimalCell, origin: str) -> None:
    tree.proxy.cut_after(Way.DOWN, 100 * KIB)
    streams = StreamCell(tree.cell(origin))
    assert streams.send_blob("minimal", "data", "minimal", Message(None, DATA)).result(PATIENCE_S) == len(DATA)
    tree.proxy.cut_every(Way.DOWN, 700 * KIB)
    assert streams.send_blob("minimal", "data", "minimal", Message(None, DATA)).result(PATIENCE_S) == len(DATA)
    assert DATA in minimal.received.values()
    assert tree.proxy.cuts > 1


@pytest.mark.parametrize("target", ["hub", "site"])
def test_case_8_3_it_notices_a_path_that_swallows_everything(tree: Tree, target: str) -> None:
    minimal = MinimalCell("minimal", tree.proxy.url, ping_s=0.1, idle_ping_s=0.2, answer_s=0.5)
    try:
        tree.proxy.strike(Way.UP, 500 * KIB, Proxy.abandon_now)
        number = minimal.send(BLOB, "data", DATA, target)
        assert minimal.ended.get(timeout=PATIENCE_S) == (number, None)
        assert tree.arrived.get(timeout=PATIENCE_S) == DATA
        assert minimal.hear("hello").lane_number > 1
        tree.proxy.abandon()
        assert minimal.hear("hello").lane_number > 2, "an idle lane is watched as well"
    finally:
        minimal.close()


@pytest.mark.parametrize("target", ["hub", "site"])
def test_case_8_4_what_must_not_arrive_twice_names_the_life_that_it_is_for(
    tree: Tree, minimal: MinimalCell, target: str
) -> None:
    """Behind the hub the life is asked for; of the neighbour its Hello has said it."""
    number = minimal.send(BLOB, "data", b"once", target)
    assert minimal.ended.get(timeout=PATIENCE_S) == (number, None)
    assert tree.arrived.get(timeout=PATIENCE_S) == b"once"


@pytest.mark.parametrize("target", ["hub", "site"])
def test_case_8_4_it_asks_and_gets_a_reply(tree: Tree, minimal: MinimalCell, target: str) -> None:
    answer = Message(None, DATA[::-1])
    tree.cell(target).register_request_cb("minimal", "ask", lambda request: answer if request.payload == DATA else None)
    tree.proxy.cut_every(Way.DOWN, 700 * KIB)
    number = minimal.send(cell_pb2.STREAM_KIND_REQUEST, "ask", DATA, target)
    assert minimal.ended.get(timeout=PATIENCE_S) == (number, None)
    eventually(lambda: DATA[::-1] in minimal.received.values(), "the reply has come")


def test_case_8_4_the_next_life_is_heard_behind_a_relay(tree: Tree) -> None:
    """Its target asks which life of it is there, and says Lost meanwhile."""
    for _ in range(3):
        minimal = MinimalCell("minimal", tree.proxy.url)
        number = minimal.send(BLOB, "data", DATA, "site")
        assert minimal.ended.get(timeout=PATIENCE_S) == (number, None)
        assert tree.arrived.get(timeout=PATIENCE_S) == DATA
        minimal.kill()
    assert tree.arrived.empty()


def test_case_8_4_a_target_that_was_restarted_may_have_had_it(tree: Tree, minimal: MinimalCell) -> None:
    """The answer that it was delivered is swallowed, and its target is another life: that is said, not sent again."""
    tree.proxy.strike_at_once(lambda proxy: proxy.abandon_now(Way.DOWN))
    minimal.send(BLOB, "data", b"once", "hub")
    assert tree.arrived.get(timeout=PATIENCE_S) == b"once"
    url = tree.hub.listen_urls[0]
    tree.hub.stop(grace=0)
    with CoreCell("hub", listen=url, config=CONFIG) as again:
        StreamCell(again).register_blob_cb("minimal", "*", lambda future: tree.arrived.put(b"twice"))
        tree.proxy.cut()
        assert minimal.ended.get(timeout=PATIENCE_S) == (1, cell_pb2.ERROR_CODE_OUTCOME_UNKNOWN)
    assert tree.arrived.empty()
