"""The ways that streams take, seen from their origin: which lane, which link, and while there is none."""

from __future__ import annotations

import random

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ProtocolError
from streamcell.limits import KIB, MIB, SHARED_LANE_IN_FLIGHT_BYTES, SMALL_STREAM_BYTES
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, LaneRole
from tests.core.by_hand import lost
from tests.core.harness import LARGE, SMALL, Net, Node, read_and_unreleased, sending_states
from tests.kit.payloads import pattern

# Lanes.


def test_small_streams_take_the_control_lane_and_larger_ones_a_bulk_lane() -> None:
    net = Net()
    _server, client = net.pair()
    client.send("server", pattern(SMALL_STREAM_BYTES))
    net.run()
    assert len(client.links[0].lanes) == 1
    client.send("server", pattern(SMALL_STREAM_BYTES + 1))
    client.send("server", b"", size=None)
    net.run()
    assert [lane.role for lane in client.links[0].lanes] == ["control", "bulk"]
    roles = [net.roles[name, lane] for name, lane, frame in net.carried if isinstance(frame, Chunk)]
    assert roles == [LaneRole.CONTROL, LaneRole.BULK, LaneRole.BULK]


@pytest.mark.parametrize("without", ["client", "server"])
@pytest.mark.parametrize("chunk_bytes", [16 * KIB, MIB])
@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_with_one_lane_bulk_shares_it_with_little_in_flight(without: str, chunk_bytes: int, sender_name: str) -> None:
    net = Net()
    config = CellConfig(chunk_bytes=chunk_bytes)
    alone = CellConfig(chunk_bytes=chunk_bytes, bulk_lanes=0)
    server, client = net.pair(alone if without == "server" else config, alone if without == "client" else config)
    origin, target = (client, server) if sender_name == "client" else (server, client)
    first = origin.stream(target.fqcn, pattern(3 * MIB))
    second = origin.send(target.fqcn, pattern(2 * MIB))
    most = 0
    while net.step():
        most = max(most, sum(send.sent - send.received for send in origin.core.stats().sends))
    assert target.got(origin.key(first)) == pattern(3 * MIB)
    assert target.got(origin.key(second)) == pattern(2 * MIB)
    assert [len(node.links[0].lanes) for node in (server, client)] == [1, 1]
    assert 0 < most <= SHARED_LANE_IN_FLIGHT_BYTES


def test_small_streams_go_before_bulk_on_a_shared_lane() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(bulk_lanes=0))
    client.send("server", LARGE)
    small = client.send("server", SMALL)
    net.run()
    chunks = net.sent("client", Chunk)
    assert chunks[0].key.stream_id == small


def test_streams_on_one_lane_take_turns() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(chunk_bytes=256 * KIB))
    ids = [client.send("server", pattern(8 * MIB)) for _ in range(3)]
    net.run()
    order = [chunk.key.stream_id for chunk in net.sent("client", Chunk)]
    ends = [max(at for at, stream_id in enumerate(order) if stream_id == wanted) for wanted in ids]
    assert max(ends) - min(ends) < 16


def test_bulk_goes_by_the_control_lane_while_no_bulk_lane_can_be_had() -> None:
    net = Net()
    net.refuse_roles.add(LaneRole.BULK)
    server, client = net.pair()
    stream_id = client.send("server", LARGE)
    net.advance(1.0)
    assert server.got(client.key(stream_id)) == LARGE
    net.refuse_roles.clear()
    net.advance(20.0)
    assert [lane.role for lane in client.links[0].lanes] == ["control", "bulk"]


@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_a_bulk_lane_that_breaks_is_replaced(sender_name: str) -> None:
    net = Net()
    server, client = net.pair()
    origin, target = (client, server) if sender_name == "client" else (server, client)
    target.auto_read = False
    stream_id = origin.stream(target.fqcn, LARGE)
    net.run()
    net.cut("client", client.lane(LaneRole.BULK))
    target.auto_read = True
    key = origin.key(stream_id)
    target.core.callback_started(key, net.now)
    target.read(key)
    net.advance(10.0)
    assert target.got(key) == LARGE
    assert origin.finished(stream_id)


def test_an_attempt_stays_on_one_lane_until_its_first_credit() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None)
    client.supply(stream_id, pattern(100 * KIB))
    net.run()
    first = client.lane(LaneRole.BULK)
    # The bulk lane falls silent, and one is dialled beside it; the old one is heard again just in time.
    net.hold.update({("client", first), net.peers["client", first]})
    net.advance(8.5)
    assert client.lane(LaneRole.BULK) != first
    net.hold.clear()
    net.run()
    client.supply(stream_id, pattern(100 * KIB), end=True)
    net.run()
    used = {lane for name, lane, frame in net.carried if isinstance(frame, Chunk) and name == "client"}
    assert used == {first}
    server.accept(client.key(stream_id))
    net.run()
    assert server.got(client.key(stream_id)) == pattern(100 * KIB) * 2


def test_a_stream_that_waits_for_its_old_lane_goes_on_with_its_first_credit() -> None:
    """A small stream of which a part was sent must not be left behind on a control lane that was replaced."""
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    stream_id = client.stream("server", None, size=10)
    client.supply(stream_id, b"hello")
    net.run()
    first = client.lane()
    net.hold.update({("client", first), net.peers["client", first]})
    net.advance(16.0)
    net.advance(3.0)
    assert client.lane() != first
    net.hold.clear()
    net.run()
    client.supply(stream_id, b"world", end=True)
    net.run()
    server.accept(client.key(stream_id))
    net.run()
    assert server.got(client.key(stream_id)) == b"helloworld"


def test_a_peer_that_overshoots_its_credit_is_cut_off() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    client.core.receive(client.lane(), [Credit(client.key(stream_id), "server", 1, 64 * MIB)], net.now)
    client.supply(stream_id, pattern(8 * MIB))
    net.run()
    assert isinstance(client.refusals()[0].error, ProtocolError)
    assert isinstance(server.receive_error(client.key(stream_id)), ProtocolError)


# Several bulk lanes.


def test_frames_of_two_bulk_lanes_may_arrive_in_any_order() -> None:
    for seed in range(30):
        shuffler = random.Random(seed)
        net = Net()
        server, client = net.pair(CellConfig(bulk_lanes=2, chunk_bytes=16 * KIB))
        stream_id = client.stream("server", pattern(2 * MIB))
        first_credit = len(net.carried)
        while not net.sent("server", Credit):
            net.step()
            first_credit = len(net.carried)
        ends = [net.peers["client", lane] for lane in net.lanes("client")]
        for _ in range(400):
            net.hold = {end for end in ends if shuffler.random() < 0.6}
            net.step()
        net.hold.clear()
        net.run()
        assert server.got(client.key(stream_id)) == pattern(2 * MIB)
        lanes = [
            [lane for name, lane, frame in part if isinstance(frame, Chunk)]
            for part in (net.carried[:first_credit], net.carried[first_credit:])
        ]
        assert (len(set(lanes[0])), len(set(lanes[1]))) == (1, 2)
        assert client.core.stats().resumes == 0


def test_tiny_pieces_that_pile_up_beyond_a_slow_lane_are_sent_again() -> None:
    net = Net()
    server, client = net.pair(CellConfig(bulk_lanes=2))
    stream_id = client.stream("server", None)
    net.run()
    slow = net.peers["client", client.lane(LaneRole.BULK)]
    net.hold.add(slow)
    data = pattern(5000)
    for at in range(len(data)):
        client.supply(stream_id, data[at : at + 1])
        net.step()
    net.hold.clear()
    client.supply(stream_id, b"", end=True)
    net.advance(10.0)
    assert server.got(client.key(stream_id)) == data
    assert client.finished(stream_id)
    assert client.refusals() == []


# Several links, and none.


def triangle() -> tuple[Net, Node, Node, Node]:
    net = Net()
    server, client = net.pair()
    other = net.node("other")
    client.connect_peer("other")
    net.run()
    return net, server, client, other


def test_what_happens_to_one_link_does_not_concern_streams_on_another() -> None:
    net, server, client, _other = triangle()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    mine = server.stream("client", None)
    net.advance(1.0)
    before = client.core.stats().sends
    net.kill("other")
    net.advance(31.0)
    assert client.core.stats().sends == before
    server.core.release(client.key(stream_id), net.now)
    server.supply(mine, SMALL, end=True)
    net.run()
    assert client.finished(stream_id)
    assert server.finished(mine)


def test_a_stream_that_waits_for_a_slot_is_not_concerned_by_a_break() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_streams_per_peer=1))
    server.auto_release = False
    first, second = (client.send("server", SMALL) for _ in range(2))
    net.run()
    net.cut_all()
    net.advance(1.0)
    assert sending_states(client) == [("finishing", 2), ("queued", 1)]
    server.auto_release = True
    server.core.release(client.key(first), net.now)
    net.run()
    assert client.finished(second)


@pytest.mark.parametrize("data", [b"", SMALL], ids=["unsent", "confirmed"])
def test_a_stream_with_nothing_to_confirm_outlives_its_link(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.stream("server", None)
    client.supply(stream_id, data)
    net.advance(1.0)
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(40.0)
    assert client.links == ()
    net.refuse_dials.clear()
    net.advance(35.0)
    client.supply(stream_id, SMALL, end=True)
    net.run()
    assert server.got(client.key(stream_id)) == data + SMALL


def test_a_stream_that_was_resuming_outlives_its_link() -> None:
    net, server, client, stream_id = read_and_unreleased(LARGE)
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(40.0)
    assert client.links == ()
    net.refuse_dials.clear()
    net.advance(35.0)
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


def test_a_wait_that_ends_without_a_link_is_followed_by_the_question_later() -> None:
    net = Net()
    server, client = net.pair(CellConfig(link_down_s=0.05))
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Ack) else frame
    for attempt in (1, 2):
        client.core.receive(client.lane(), [lost(client, stream_id, attempt)], net.now)
        net.run()
    # What comes while it waits changes nothing.
    client.core.receive(client.lane(), [lost(client, stream_id, 2)], net.now)
    assert sending_states(client) == [("backing_off", 2)]
    net.tamper = None
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(2.0)
    assert (client.links, sending_states(client)) == ((), [("resuming", 3)])
    net.refuse_dials.clear()
    net.advance(5.0)
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)
