"""Cells that reach each other through relays, and by short cuts (CONTRACT section 3, over both networks)."""

from __future__ import annotations

import concurrent.futures
import dataclasses

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
from tests.kit.timing import scaled
from tests.public.contract.test_names import is_refused_its_name
from tests.public.contract.world import (
    MIB,
    QUICK,
    WAIT_S,
    Cells,
    Inbox,
    Peer,
    Reader,
    let_time_pass,
    pattern,
    stream_failure_of,
    wait_until,
)

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
    hub = cells.listen("hub")
    relay = listen_below(cells, hub, "relay")
    return Tree(hub, relay, cells.dial(relay, "leaf"), cells.dial(hub, "other"))


def listen_below(cells: Cells, parent: Peer, fqcn: str) -> Peer:
    peer = cells.make(fqcn, listen=cells.listen_url, connect=parent.cell.listen_urls[0])
    peer.cell.start()
    peer.cell.wait_connected(WAIT_S)
    return peer


@pytest.mark.parametrize("size", [0, 1000, 5 * MIB])
@pytest.mark.parametrize("way", ["up", "down"])
def test_streams_and_blobs_pass_through_relays(tree: Tree, size: int, way: str) -> None:
    sender, receiver = (tree.leaf, tree.other) if way == "up" else (tree.other, tree.leaf)
    received = Inbox[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    reader = Reader()
    receiver.on_stream(reader, topic="stream")
    assert sender.send_blob(receiver, pattern(size)).result(WAIT_S) == size
    assert received.get() == pattern(size)
    assert sender.send_stream(receiver, pattern(size), topic="stream").result(WAIT_S) == size
    assert reader.outcomes.get() == (pattern(size), None)


def test_streams_through_a_relay_survive_cuts_of_any_link(cells: Cells, tree: Tree) -> None:
    reader = Reader()
    tree.leaf.on_stream(reader)
    data = pattern(16 * MIB)
    for size_bytes in (MIB, 9 * MIB, 20 * MIB):
        cells.network.cut_after(size_bytes=size_bytes)
    assert tree.other.send_stream(tree.leaf, data).result(WAIT_S) == len(data)
    assert reader.outcomes.get() == (data, None)


def test_a_relay_that_stops_and_comes_back_is_waited_for(cells: Cells, tree: Tree) -> None:
    reader = Reader()
    tree.leaf.on_stream(reader)
    data = pattern(8 * MIB)
    (url,) = tree.relay.cell.listen_urls
    cells.network.cut_after(size_bytes=4 * MIB)
    future = tree.other.send_stream(tree.leaf, data)
    wait_until(lambda: future.get_progress() > 0)
    tree.relay.cell.stop(grace=0)
    again = cells.make("relay", listen=url, connect=tree.hub.cell.listen_urls[0])
    again.cell.start()
    assert future.result(WAIT_S) == len(data)
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
        assert asked.result(WAIT_S).get_header("late") is True
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
    assert "hub" in str(error)
    error = stream_failure_of(tree.leaf.send_stream("nobody", b"data", unreachable_timeout=SHORT_S))
    assert isinstance(error, StreamTargetUnreachable)


def test_second_cell_of_a_name_in_another_branch_gets_name_in_use_and_gets_in_when_the_first_stops(
    cells: Cells, tree: Tree
) -> None:
    second = cells.make("other", connect=tree.relay.cell.listen_urls[0], network=FaultyNetwork(cells.network))
    second.on_blob(lambda future: None)
    second.cell.start()
    wait_until(lambda: is_refused_its_name(second))
    assert tree.hub.cell.is_cell_connected("other")
    tree.other.cell.stop(grace=0)
    second.cell.wait_connected(WAIT_S)
    assert tree.hub.send_blob("other", b"data").result(WAIT_S) == 4


def test_a_cell_is_everywhere_known_when_it_is_connected(cells: Cells, tree: Tree) -> None:
    late = cells.dial(tree.relay, "late")
    assert tree.hub.cell.is_cell_reachable("late")
    assert tree.hub.send_blob("late", b"data", optional=True).exception(WAIT_S) is not None  # no callback
    assert late.cell.is_cell_reachable("other")
    assert not late.cell.is_cell_connected("other")


def test_every_cell_can_list_all_cells(tree: Tree) -> None:
    for peer in (tree.hub, tree.relay, tree.leaf):
        known: dict[str, KnownCell] = {cell.fqcn: cell for cell in peer.cell.cells(WAIT_S)}
        assert set(known) == {"hub", "relay", "leaf", "other"}
        assert all(cell.software.startswith("streamcell ") for cell in known.values())
        assert known["leaf"].known_for_s >= 0
        assert known["leaf"].address


def test_a_way_can_be_traced(tree: Tree) -> None:
    hops = tree.leaf.cell.trace("other", WAIT_S)
    assert [hop.fqcn for hop in hops] == ["relay", "hub", "other"]
    assert all(hop.round_trip_s > 0 for hop in hops)
    assert tree.leaf.cell.trace("leaf") == []
    with pytest.raises(StreamTargetUnreachable, match="hub"):
        tree.leaf.cell.trace("nobody", WAIT_S)
    with pytest.raises(UsageError):
        tree.leaf.cell.trace("no name!")


def test_a_peer_link_is_taken_and_given_up(cells: Cells, tree: Tree) -> None:
    direct = cells.make("direct", listen=cells.listen_url, connect=tree.hub.cell.listen_urls[0])
    direct.on_blob(lambda future: None)
    direct.cell.start()
    direct.cell.wait_connected(WAIT_S)
    (url,) = direct.cell.listen_urls
    tree.leaf.cell.connect(url)
    wait_until(lambda: tree.leaf.cell.is_cell_connected("direct"))
    relayed = tree.relay.stats().bytes_relayed
    assert tree.leaf.send_blob("direct", pattern(MIB)).result(WAIT_S) == MIB
    assert tree.relay.stats().bytes_relayed == relayed
    assert tree.leaf.cell.disconnect(url)
    assert not tree.leaf.cell.disconnect(url)
    wait_until(lambda: not tree.leaf.cell.is_cell_connected("direct"))
    assert tree.leaf.send_blob("direct", pattern(MIB)).result(WAIT_S) == MIB
    assert tree.relay.stats().bytes_relayed > relayed
    wrongs: tuple[str | list[str], ...] = ("", [], "nonsense")
    for wrong in wrongs:
        with pytest.raises(UsageError):
            tree.leaf.cell.connect(wrong)


def test_a_request_outlives_the_end_of_a_peer_link(cells: Cells, tree: Tree) -> None:
    direct = cells.make("direct", listen=cells.listen_url, connect=tree.hub.cell.listen_urls[0])
    direct.cell.start()
    direct.cell.wait_connected(WAIT_S)
    asked = Inbox[Message]()
    answer: concurrent.futures.Future[Message] = concurrent.futures.Future()

    def defer(request: Message) -> concurrent.futures.Future[Message]:
        asked.put(request)
        return answer

    tree.leaf.cell.register_request_cb("c", "t", defer)
    (url,) = direct.cell.listen_urls
    tree.leaf.cell.connect(url)
    wait_until(lambda: direct.cell.is_cell_connected("leaf"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(direct.cell.send_request, "c", "t", "leaf", Message(), WAIT_S)
        asked.get()
        direct.meet(tree.leaf)
        assert tree.leaf.cell.disconnect(url)
        wait_until(lambda: not direct.cell.is_cell_connected("leaf"))
        answer.set_result(Message({"late": True}))
        assert reply.result(WAIT_S).headers == {"late": True}


def test_of_two_cells_that_connect_to_each_other_one_dial_serves_both_and_the_other_takes_over(cells: Cells) -> None:
    hub = cells.listen()
    first, second = (listen_below(cells, hub, name) for name in ("first", "second"))
    urls = {peer.fqcn: peer.cell.listen_urls[0] for peer in (first, second)}
    first.cell.connect(urls["second"])
    wait_until(lambda: first.cell.is_cell_connected("second"))
    second.cell.connect(urls["first"])
    # The two for the tree, one that is taken, one that is refused.
    wait_until(lambda: cells.network.dials == 4)
    second.meet(first)
    let_time_pass(20 * QUICK.backoff_max_s)
    assert cells.network.dials == 4
    for sender, receiver in ((first, second), (second, first)):
        receiver.on_blob(lambda future: None)
        assert sender.send_blob(receiver, pattern(1000)).result(WAIT_S) == 1000
    assert hub.stats().bytes_relayed == 0
    assert first.cell.disconnect(urls["second"])
    wait_until(lambda: second.cell.is_cell_connected("first") and first.cell.is_cell_connected("second"))
    relayed = hub.stats().bytes_relayed
    assert first.send_blob(second, pattern(1000)).result(WAIT_S) == 1000
    assert hub.stats().bytes_relayed == relayed
    assert cells.network.dials == 5


def test_an_uplink_fails_over_to_the_next_address(cells: Cells, tree: Tree) -> None:
    config = dataclasses.replace(QUICK, link_down_s=0.2)
    urls = [tree.relay.cell.listen_urls[0], tree.hub.cell.listen_urls[0]]
    mobile = cells.make("mobile", listen=cells.listen_url, connect=urls, config=config)
    mobile.on_blob(lambda future: None)
    mobile.cell.start()
    mobile.cell.wait_connected(WAIT_S)
    # A relay of its own with a child, whose lanes must not be taken for the uplink's.
    child = cells.dial(mobile, "child")
    child.on_blob(lambda future: None)
    assert tree.other.send_blob("child", b"data").result(WAIT_S) == 4
    tree.relay.cell.stop(grace=0)
    wait_until(lambda: mobile.cell.is_cell_connected("hub"))
    assert tree.other.send_blob("child", b"data").result(WAIT_S) == 4
    assert tree.other.send_blob("mobile", b"data").result(WAIT_S) == 4
