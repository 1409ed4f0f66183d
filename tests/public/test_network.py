"""Cells that reach each other through relays, and by short cuts."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import Any

import pytest

from streamcell import (
    KnownCell,
    Message,
    RequestFailed,
    RequestTimeout,
    StreamTargetUnreachable,
    UsageError,
)
from streamcell.testing import FaultyNetwork
from tests.kit.cells import QUICK, Cells, Peer, is_refused_its_name
from tests.kit.payloads import MIB, pattern
from tests.kit.timing import scaled
from tests.kit.transfers import Reader, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, eventually, let_time_pass

SHORT_S = scaled(0.5)


@dataclasses.dataclass(frozen=True)
class Tree:
    """A hub, a relay below it, a leaf below each."""

    hub: Peer
    relay: Peer
    leaf: Peer
    other: Peer


@pytest.fixture
def tree(cells: Cells) -> Tree:
    hub = cells.listen("server")
    relay = listen_below(cells, hub, "relay")
    return Tree(hub, relay, cells.dial(relay, "leaf"), cells.dial(hub, "other"))


def listen_below(cells: Cells, parent: Peer, fqcn: str) -> Peer:
    peer = cells.make(fqcn, listen=cells.listen_url, connect=parent.listen_urls[0])
    peer.start()
    peer.wait_connected(PATIENCE_S)
    return peer


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB])
@pytest.mark.parametrize("way", ["up", "down"])
def test_streams_and_blobs_pass_through_relays(tree: Tree, size: int, way: str) -> None:
    sender, receiver = (tree.leaf, tree.other) if way == "up" else (tree.other, tree.leaf)
    received = Box[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    reader = Reader()
    receiver.on_stream(reader, topic="stream")
    assert sender.send_blob(receiver, pattern(size)).result(PATIENCE_S) == size
    assert received.get() == pattern(size)
    assert sender.send_stream(receiver, pattern(size), topic="stream").result(PATIENCE_S) == size
    assert reader.outcomes.get() == (pattern(size), None)


def test_streams_through_a_relay_survive_cuts_of_any_link(cells: Cells, tree: Tree) -> None:
    reader = Reader()
    tree.leaf.on_stream(reader)
    data = pattern(16 * MIB)
    for size_bytes in (MIB, 9 * MIB, 20 * MIB):
        cells.network.cut_after(size_bytes=size_bytes)
    assert tree.other.send_stream(tree.leaf, data).result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)


def test_a_relay_that_stops_and_comes_back_is_waited_for(cells: Cells, tree: Tree) -> None:
    reader = Reader()
    tree.leaf.on_stream(reader)
    data = pattern(8 * MIB)
    (url,) = tree.relay.listen_urls
    cells.network.cut_after(size_bytes=4 * MIB)
    future = tree.other.send_stream(tree.leaf, data)
    eventually(lambda: future.get_progress() > 0)
    tree.relay.stop(grace=0)
    again = cells.make("relay", listen=url, connect=tree.hub.listen_urls[0])
    again.start()
    assert future.result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)


def test_requests_pass_through_relays_and_their_failures_are_told_apart(tree: Tree) -> None:
    answer: concurrent.futures.Future[Message] = concurrent.futures.Future()
    never: concurrent.futures.Future[Message] = concurrent.futures.Future()

    def fail(_request: Message) -> None:
        raise ValueError("no")

    tree.leaf.on_request(lambda request: Message(None, bytes(request.payload)[::-1]))
    tree.leaf.on_request(lambda request: answer, topic="deferred")
    tree.leaf.on_request(lambda request: never, topic="never")
    tree.leaf.on_request(fail, topic="fails")
    data = pattern(3 * MIB)
    assert bytes(tree.other.request(tree.leaf, data).payload) == data[::-1]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(tree.other.request, tree.leaf, topic="deferred")
        answer.set_result(Message({"late": True}))
        assert asked.result(PATIENCE_S).get_header("late") is True
    with pytest.raises(RequestFailed, match="no"):
        tree.other.request(tree.leaf, topic="fails")
    with pytest.raises(RequestTimeout):
        tree.other.request(tree.leaf, topic="never", timeout=SHORT_S)
    with pytest.raises(StreamTargetUnreachable):
        tree.other.request("nobody", timeout=SHORT_S)
    never.set_result(Message())


def test_a_target_that_a_relay_does_not_know_is_unreachable_at_once_where_that_is_optional(tree: Tree) -> None:
    error = stream_failure_of(tree.leaf.send_blob("nobody", b"data", optional=True))
    assert isinstance(error, StreamTargetUnreachable)
    assert "server" in str(error)
    error = stream_failure_of(tree.leaf.send_stream("nobody", b"data", unreachable_timeout=SHORT_S))
    assert isinstance(error, StreamTargetUnreachable)


def test_second_cell_of_a_name_in_another_branch_gets_name_in_use_and_gets_in_when_the_first_stops(
    cells: Cells, tree: Tree
) -> None:
    second = cells.make("other", connect=tree.relay.listen_urls[0], network=FaultyNetwork(cells.network))
    second.on_blob(lambda future: None)
    second.start()
    eventually(lambda: is_refused_its_name(second))
    assert tree.hub.is_cell_connected("other")
    tree.other.stop(grace=0)
    second.wait_connected(PATIENCE_S)
    assert tree.hub.send_blob("other", b"data").result(PATIENCE_S) == 4


def test_a_cell_is_everywhere_known_when_it_is_connected(cells: Cells, tree: Tree) -> None:
    late = cells.dial(tree.relay, "late")
    assert tree.hub.is_cell_reachable("late")
    assert tree.hub.send_blob("late", b"data", optional=True).exception(PATIENCE_S) is not None  # no callback
    assert late.is_cell_reachable("other")
    assert not late.is_cell_connected("other")


def test_every_cell_can_list_all_cells(tree: Tree) -> None:
    for peer in (tree.hub, tree.relay, tree.leaf):
        known: dict[str, KnownCell] = {cell.fqcn: cell for cell in peer.cells(PATIENCE_S)}
        assert set(known) == {"server", "relay", "leaf", "other"}
        assert all(cell.software.startswith("streamcell ") for cell in known.values())
        assert known["leaf"].known_for_s >= 0
        assert known["leaf"].address


def test_cells_can_be_listed_in_parts(tree: Tree) -> None:
    for peer in (tree.hub, tree.leaf):
        page = peer.cells(PATIENCE_S, limit=2)
        assert ([cell.fqcn for cell in page], page.total, page.told_by) == (["leaf", "other"], 4, "server")
        page = peer.cells(PATIENCE_S, limit=2, after="other")
        assert [cell.fqcn for cell in page] == ["relay", "server"]
        page = peer.cells(PATIENCE_S, prefix="re")
        assert ([cell.fqcn for cell in page], page.total) == (["relay"], 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"prefix": 3}, "prefix"),
        ({"prefix": "é"}, "prefix"),
        ({"after": "a" * 300}, "after"),
    ],
)
def test_parts_of_the_list_that_cannot_be_are_refused(tree: Tree, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tree.hub.cells(PATIENCE_S, **asked)


def test_a_way_can_be_traced(tree: Tree) -> None:
    hops = tree.leaf.trace("other", PATIENCE_S)
    assert [hop.fqcn for hop in hops] == ["relay", "server", "other"]
    assert all(hop.round_trip_s > 0 for hop in hops)
    assert tree.leaf.trace("leaf") == []
    with pytest.raises(StreamTargetUnreachable, match="server"):
        tree.leaf.trace("nobody", PATIENCE_S)
    with pytest.raises(UsageError):
        tree.leaf.trace("no name!")


def test_a_peer_link_is_taken_and_given_up(cells: Cells, tree: Tree) -> None:
    direct = cells.make("direct", listen=cells.listen_url, connect=tree.hub.listen_urls[0])
    direct.on_blob(lambda future: None)
    direct.start()
    direct.wait_connected(PATIENCE_S)
    (url,) = direct.listen_urls
    tree.leaf.connect(url)
    eventually(lambda: tree.leaf.is_cell_connected("direct"))
    relayed = tree.relay.stats().protocol.bytes_relayed
    assert tree.leaf.send_blob("direct", pattern(MIB)).result(PATIENCE_S) == MIB
    assert tree.relay.stats().protocol.bytes_relayed == relayed
    assert tree.leaf.disconnect(url)
    assert not tree.leaf.disconnect(url)
    eventually(lambda: not tree.leaf.is_cell_connected("direct"))
    assert tree.leaf.send_blob("direct", pattern(MIB)).result(PATIENCE_S) == MIB
    assert tree.relay.stats().protocol.bytes_relayed > relayed
    wrongs: tuple[str | list[str], ...] = ("", [], "nonsense")
    for wrong in wrongs:
        with pytest.raises(UsageError):
            tree.leaf.connect(wrong)


def test_a_request_outlives_the_end_of_a_peer_link(cells: Cells, tree: Tree) -> None:
    direct = cells.make("direct", listen=cells.listen_url, connect=tree.hub.listen_urls[0])
    direct.start()
    direct.wait_connected(PATIENCE_S)
    asked = Box[Message]()
    answer: concurrent.futures.Future[Message] = concurrent.futures.Future()

    def defer(request: Message) -> concurrent.futures.Future[Message]:
        asked.put(request)
        return answer

    tree.leaf.register_request_cb("c", "t", defer)
    (url,) = direct.listen_urls
    tree.leaf.connect(url)
    eventually(lambda: direct.is_cell_connected("leaf"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(direct.send_request, "c", "t", "leaf", Message(), PATIENCE_S)
        asked.get()
        direct.meet(tree.leaf)
        assert tree.leaf.disconnect(url)
        eventually(lambda: not direct.is_cell_connected("leaf"))
        answer.set_result(Message({"late": True}))
        assert reply.result(PATIENCE_S).headers == {"late": True}


def test_of_two_cells_that_connect_to_each_other_one_dial_serves_both_and_the_other_takes_over(cells: Cells) -> None:
    hub = cells.listen()
    first, second = (listen_below(cells, hub, name) for name in ("first", "second"))
    urls = {peer.fqcn: peer.listen_urls[0] for peer in (first, second)}
    first.connect(urls["second"])
    eventually(lambda: first.is_cell_connected("second"))
    second.connect(urls["first"])
    # The two for the tree, one that is taken, one that is refused.
    eventually(lambda: cells.network.dials == 4)
    second.meet(first)
    let_time_pass(20 * QUICK.backoff_max_s)
    assert cells.network.dials == 4
    for sender, receiver in ((first, second), (second, first)):
        receiver.on_blob(lambda future: None)
        assert sender.send_blob(receiver, pattern(1000)).result(PATIENCE_S) == 1000
    assert hub.stats().protocol.bytes_relayed == 0
    assert first.disconnect(urls["second"])
    eventually(lambda: second.is_cell_connected("first") and first.is_cell_connected("second"))
    relayed = hub.stats().protocol.bytes_relayed
    assert first.send_blob(second, pattern(1000)).result(PATIENCE_S) == 1000
    assert hub.stats().protocol.bytes_relayed == relayed
    assert cells.network.dials == 5


def test_an_uplink_fails_over_to_the_next_address(cells: Cells, tree: Tree) -> None:
    config = dataclasses.replace(QUICK, link_down_s=0.2)
    urls = [tree.relay.listen_urls[0], tree.hub.listen_urls[0]]
    mobile = cells.make("mobile", listen=cells.listen_url, connect=urls, config=config)
    mobile.on_blob(lambda future: None)
    mobile.start()
    mobile.wait_connected(PATIENCE_S)
    # A relay of its own with a child, whose lanes must not be taken for the uplink's.
    child = cells.dial(mobile, "child")
    child.on_blob(lambda future: None)
    assert tree.other.send_blob("child", b"data").result(PATIENCE_S) == 4
    tree.relay.stop(grace=0)
    eventually(lambda: mobile.is_cell_connected("server"))
    assert tree.other.send_blob("child", b"data").result(PATIENCE_S) == 4
    assert tree.other.send_blob("mobile", b"data").result(PATIENCE_S) == 4
