"""Streams that pass through cells in the middle: breaks, restarts, the lanes of each hop, and what is refused."""

from __future__ import annotations

import pytest

from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.base.events import FrameRefused
from streamcell.protocol.links.greeting import ROUTES_CAPABILITY
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Announce, Chunk, LaneRole, Lost, LostReason, Reset, StreamKey
from tests.core.by_hand import greet, hello
from tests.core.harness import LARGE, SMALL, Net
from tests.core.relays import chunk, line
from tests.core.samples import make_open
from tests.core.trees import branches, receive, tree
from tests.kit.payloads import pattern


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
    assert nodes["root"].of(FrameRefused) == [FrameRefused("left", "right-leaf", False)]
    assert nodes["root"].core.stats().frames_refused == 2
    (lost,) = net.sent("root", Lost)
    assert lost.reason is LostReason.LANE_LOST
    nodes["right-leaf"].supply(stream_id, SMALL, end=True)
    net.run()
    assert nodes["right-leaf"].finished(stream_id)


def test_frames_that_overtake_the_news_of_their_cell_are_nothing_to_worry_about() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root"})
    relay = nodes["relay"]
    net.mute.add("root")
    lane_id, _ = greet(net, relay, hello("left", capabilities=(ROUTES_CAPABILITY,)))
    own, below = (
        Chunk(StreamKey(name, 1, 1), "root", 1, "c", "t", 0, 0, False, 16, 0, b"x") for name in ("left", "leaf")
    )
    news = Announce("left", 1, 1, ("left",)), Announce("leaf", 1, 1, ("leaf", "left"))
    relay.core.receive(lane_id, [own, *news, own, below], net.now)
    assert [type(frame) for frame in relay.core.frames_to_send(lane_id, net.now)] == [Lost, Lost, Lost]
    net.run()
    assert relay.of(FrameRefused) == [FrameRefused("left", name, True) for name in ("left", "left", "leaf")]
    assert relay.core.stats().frames_refused == 0


def test_a_thousand_small_blobs_at_once_lose_nothing() -> None:
    net = Net()
    root, _relay, leaf = line(net)
    ids = [root.send("leaf", SMALL) for _ in range(1000)]
    net.run()
    assert all(root.finished(stream_id) for stream_id in ids)
    assert net.sent("relay", Lost) == net.sent("leaf", Lost) == []
    assert leaf.got(root.key(ids[-1])) == SMALL


def test_a_stream_whose_ends_are_silent_is_forgotten_after_its_time_or_after_an_hour() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    receive(net, relay, "root", chunk(root, "leaf"))
    receive(net, relay, "root", chunk(root, "leaf", stream_id=100, open=make_open(StreamKind.STREAM)))
    net.tamper = lambda name, frame: None if isinstance(frame, Reset | Lost | Ack) else frame
    net.advance(7.0)
    receive(net, relay, "root", chunk(root, "leaf", sequence=1, offset=1000, open=None))
    net.advance(7.0)
    assert [stream.stream_id for stream in relay.core.stats().relays] == [99, 100]
    net.advance(400.0)
    assert [stream.stream_id for stream in relay.core.stats().relays] == [100]
    net.advance(3700.0)
    assert relay.core.stats().relays == ()


def test_a_relay_that_is_restarted_while_the_reader_rests_is_told_of_the_stream_again() -> None:
    """Every byte was confirmed, but the Credit that the origin waits for was the old life's to give."""
    net = Net()
    root, _relay, leaf = line(net)
    leaf.auto_read = False
    data = pattern(INITIAL_CREDIT_BYTES * 3)
    stream_id = root.stream("leaf", data, piece=len(data))
    net.advance(1.0)
    net.restart("relay")
    net.advance(5.0)
    for _ in range(10):
        leaf.read(root.key(stream_id))
        net.advance(1.0)
    assert leaf.got(root.key(stream_id)) == data
    assert root.finished(stream_id)


def test_bulk_wakes_no_writer_but_those_that_take_it() -> None:
    net = Net()
    _, relay, leaf = line(net)
    stream_id = leaf.stream("root", None)
    leaf.supply(stream_id, LARGE)
    net.run()
    leaf.supply(stream_id, LARGE)
    by = leaf.lane(LaneRole.BULK)
    assert leaf.core.take_ready_lanes() == [by]
    chunks = leaf.core.frames_to_send(by, net.now)
    _, arrival = net.peers["leaf", by]
    relay.core.receive(arrival, chunks, net.now)
    (on,) = relay.core.take_ready_lanes()
    assert net.peers["relay", on][0] == "root"
    assert net.roles["relay", on] is LaneRole.BULK
