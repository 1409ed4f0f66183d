"""Streams that pass through cells in the middle: credit, breaks, restarts, fairness, and what is refused."""

from __future__ import annotations

import pytest

from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.events import FrameRefused
from streamcell.protocol.frames import Chunk, LaneRole, Lost, LostReason, Reset, StreamKind
from tests.unit.protocol.harness import LARGE, SMALL, Net, Node, pattern
from tests.unit.protocol.trees import branches, tree

LINE = {"root": "", "relay": "root", "leaf": "relay"}


def line(net: Net, **config: int) -> tuple[Node, Node, Node]:
    nodes = tree(net, LINE, **config)
    return nodes["root"], nodes["relay"], nodes["leaf"]


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
@pytest.mark.parametrize("down", [True, False], ids=["down", "up"])
def test_cut_anywhere_everything_arrives_once(kind: StreamKind, down: bool) -> None:
    """The n-th frame that any cell sends is lost with its lane, for every n."""
    net = Net()
    run_one(net, kind, down=down)
    frames = len(net.carried)
    for cut_at in range(1, frames + 1):
        net = Net()
        net.cut_at = {cut_at}
        run_one(net, kind, down=down)


def run_one(net: Net, kind: StreamKind, *, down: bool) -> None:
    root, relay, leaf = line(net, chunk_bytes=128 * KIB)
    net.advance(1.0)
    origin, target = (root, leaf) if down else (leaf, root)
    data = pattern(600 * KIB)
    stream_id = origin.send(target.fqcn, data, kind=kind)
    net.advance(30.0)
    assert origin.finished(stream_id), f"cut at {net.cut_at}: {origin.outcomes(stream_id)} {origin.core.stats()}"
    assert target.got(origin.key(stream_id)) == data
    assert relay.core.stats().relays == ()


@pytest.mark.parametrize("name", ["root", "relay"])
def test_streams_go_on_through_a_restart_in_the_middle(name: str) -> None:
    net = Net()
    nodes = branches(net)
    origin, target = nodes["left-leaf"], nodes["right-leaf"]
    middle = {"root": "root", "relay": "left"}[name]
    ids = [origin.stream("right-leaf", None) for _ in range(20)]
    blobs = [origin.send("right-leaf", pattern(INITIAL_CREDIT_BYTES * 2 + number)) for number in range(20)]
    for stream_id in ids:
        origin.supply(stream_id, LARGE)
    for _ in range(4):
        net.step()
    net.restart(middle)
    net.advance(10.0)
    for stream_id in ids:
        origin.supply(stream_id, SMALL, end=True)
    net.advance(10.0)
    for stream_id in ids:
        assert target.got(origin.key(stream_id)) == LARGE + SMALL
    assert all(origin.finished(stream_id) for stream_id in [*ids, *blobs])


def test_a_slow_reader_costs_the_relay_a_window_and_holds_up_nobody() -> None:
    net = Net()
    root, relay, leaf = line(net, read_ahead_bytes=10_000 * KIB)
    leaf.auto_read = False
    slow = root.stream("leaf", pattern(8000 * KIB), piece=1000 * KIB)
    net.run()
    (held,) = relay.core.stats().relays
    assert held.held_bytes <= held.window_bytes + 1024 * KIB
    assert held.window_bytes <= 2 * INITIAL_CREDIT_BYTES
    fast = root.send("leaf", LARGE)
    net.run()
    assert root.finished(fast)
    key = root.key(slow)
    for _ in range(100):
        leaf.read(key)
        net.run()
        assert all(stream.held_bytes <= stream.window_bytes + 1024 * KIB for stream in relay.core.stats().relays)
        if root.finished(slow):
            break
    assert leaf.got(key) == pattern(8000 * KIB)


def test_a_full_budget_shrinks_windows_and_drops_nothing() -> None:
    net = Net()
    root, relay, _leaf = line(net, receive_budget_bytes=512 * KIB, read_ahead_bytes=4000 * KIB)
    data = pattern(3000 * KIB)
    ids = [root.stream("leaf", data, piece=500 * KIB) for _ in range(10)]
    most = 0
    while net.step():
        streams = relay.core.stats().relays
        most = max(most, sum(stream.window_bytes - INITIAL_CREDIT_BYTES for stream in streams))
    assert all(root.finished(stream_id) for stream_id in ids)
    assert 0 < most <= 512 * KIB
    assert root.core.stats().bytes_retransmitted == 0


def test_small_streams_go_on_the_control_lane_of_each_hop_and_large_ones_do_not() -> None:
    net = Net()
    root, _relay, _leaf = line(net)
    small, large = root.send("leaf", SMALL), root.send("leaf", LARGE)
    net.run()
    lanes = {
        (frame.key.stream_id, name): net.roles.get((name, lane_id))
        for name, lane_id, frame in net.carried
        if isinstance(frame, Chunk)
    }
    assert lanes[small, "relay"] is LaneRole.CONTROL
    assert lanes[large, "relay"] is LaneRole.BULK


def test_a_relay_says_that_it_lost_the_way() -> None:
    net = Net()
    root, relay, leaf = line(net)
    stream_id = root.stream("leaf", None)
    root.supply(stream_id, SMALL)
    net.run()
    leaf.core.stop(net.now)
    root.supply(stream_id, SMALL)
    net.run()
    assert isinstance(root.error(stream_id), Exception)
    blob = root.send("leaf", LARGE, unreachable_timeout_s=3.0)
    net.advance(4.0)
    assert root.outcomes(blob)
    assert relay.core.stats().relays == ()


def test_a_link_that_goes_down_under_a_stream_is_told_to_its_origin() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    stream_id = root.stream("leaf", None)
    root.supply(stream_id, SMALL)
    net.run()
    net.kill("leaf")
    net.advance(31.0)
    assert relay.core.stats().relays == ()
    assert any(lost.key == root.key(stream_id) for lost in net.sent("relay", Lost))
    assert root.outcomes(stream_id) == []


def test_frames_in_the_name_of_others_are_refused() -> None:
    net = Net()
    nodes = branches(net)
    stream_id = nodes["right-leaf"].stream("root", None)
    nodes["right-leaf"].supply(stream_id, SMALL)
    net.run()
    key = nodes["right-leaf"].key(stream_id)
    lane_id = nodes["left"].lane()
    peer = net.peers["left", lane_id]
    forged = Chunk(key, "root", 1, "c", "t", 0, 0, False, 16, 0, b"forged")
    reset = Reset(key, "root", 1, False, 5, 1, "forged", 16)  # type: ignore[arg-type]
    nodes["root"].core.receive(peer[1], [forged, reset], net.now)
    net.run()
    assert nodes["root"].of(FrameRefused) == [FrameRefused("left", "right-leaf")]
    assert nodes["root"].core.stats().frames_refused == 2
    (lost,) = net.sent("root", Lost)
    assert lost.reason is LostReason.LANE_LOST
    nodes["right-leaf"].supply(stream_id, SMALL, end=True)
    net.run()
    assert nodes["right-leaf"].finished(stream_id)
