"""A cell that sends to itself: by the same frames and states as to any other cell, over a link that leads back."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode, StreamCancelled, StreamRejected
from streamcell.limits import KIB
from streamcell.protocol.base.events import LaneDropped, ProtocolBroken
from streamcell.protocol.links.loop import LOOP_LANE
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Hello, Lost, ResumeQuery
from tests.core.harness import LARGE, SMALL, Net, Node, refusing
from tests.kit.payloads import pattern

HUGE = pattern(3000 * KIB + 7)


def alone() -> tuple[Net, Node]:
    net = Net()
    return net, net.node("hub")


@pytest.mark.parametrize("data", [b"", SMALL, LARGE, HUGE], ids=len)
def test_a_cell_sends_streams_blobs_and_requests_to_itself(data: bytes) -> None:
    net, node = alone()
    node.answer = lambda asked: asked
    ids = [node.stream("hub", data), node.send("hub", data)]
    asked = node.request("hub", data)
    net.run()
    assert [node.got(node.key(stream_id)) for stream_id in ids] == [data, data]
    assert all(node.finished(stream_id) for stream_id in ids)
    assert node.replies(asked) == [data]
    assert node.core.open_sends() == 0
    stats = node.core.stats()
    assert (stats.bytes_retransmitted, stats.resumes, stats.receives) == (0, 0, ())


def test_it_goes_by_the_frames_that_go_to_others() -> None:
    net, node = alone()
    node.stream("hub", LARGE)
    net.run()
    assert {type(frame) for _, _, frame in net.carried} >= {Chunk, Credit, Ack}
    assert net.sent("hub", Hello) == []
    chunk = net.sent("hub", Chunk)[0]
    assert (chunk.key.origin, chunk.target, chunk.attempt) == ("hub", "hub", 1)


def test_a_cell_reaches_itself_and_is_not_its_own_neighbour() -> None:
    net, node = alone()
    assert node.core.is_cell_reachable("hub")
    assert not node.core.is_cell_connected("hub")
    node.send("hub", SMALL, optional=True)
    net.run()
    assert node.links == ()
    assert node.finished(1)


def test_a_reader_that_stands_still_holds_the_sender_up() -> None:
    net, node = alone()
    node.auto_read = False
    stream_id = node.stream("hub", HUGE)
    net.run()
    (sent,) = node.core.stats().sends
    (received,) = node.core.stats().receives
    # No chunk begins at or above the credit.
    assert sent.sent == received.received < received.credit + node.config.chunk_bytes
    assert received.credit < len(HUGE)
    node.auto_read = True
    node.read(node.key(stream_id))
    net.run()
    assert node.got(node.key(stream_id)) == HUGE


def test_the_receiving_half_may_refuse() -> None:
    net, node = alone()
    node.on_opened = refusing(ErrorCode.NO_CALLBACK, "nobody takes it", node)
    stream_id = node.send("hub", SMALL)
    net.run()
    assert isinstance(node.error(stream_id), StreamRejected)


@pytest.mark.parametrize("by_origin", [True, False])
def test_either_half_may_cancel(by_origin: bool) -> None:
    net, node = alone()
    node.auto_read = False
    stream_id = node.stream("hub", HUGE)
    net.run()
    key = node.key(stream_id)
    if by_origin:
        node.core.cancel_send(stream_id, "no more", net.now)
    else:
        node.core.cancel_receive(key, "no more", net.now)
    net.run()
    assert isinstance(node.error(stream_id), StreamCancelled)
    assert isinstance(node.receive_error(key), StreamCancelled)
    assert node.core.stats().receives == ()


def test_a_cell_with_neighbours_sends_to_itself_beside_them() -> None:
    net = Net()
    server, client = net.pair()
    for node in (server, client):
        ids = {name: node.stream(name, LARGE) for name in ("server", "client")}
        net.run()
        for name, stream_id in ids.items():
            assert net.nodes[name].got(node.key(stream_id)) == LARGE
        assert not net.sent(node.fqcn, Lost)
        assert not net.sent(node.fqcn, ResumeQuery)
    net.cut_all()
    net.refuse_dials.add("server")
    stream_id = client.stream("client", LARGE)
    net.run()
    assert client.got(client.key(stream_id)) == LARGE


def test_a_cell_that_is_at_rest_says_nothing_to_itself() -> None:
    net, node = alone()
    for _ in range(3):
        node.send("hub", SMALL)
    net.run()
    net.carried.clear()
    net.advance(1000.0)
    assert net.carried == []


def test_what_is_settled_is_told_and_forgotten() -> None:
    net, node = alone()
    for _ in range(600):
        node.send("hub", b"x")
        net.run()
    told = [frame.open.settled_below for frame in net.sent("hub", Chunk) if frame.open is not None]
    assert told[-1] == 600


def test_a_cell_that_stops_ends_what_it_sends_to_itself() -> None:
    net, node = alone()
    node.auto_read = False
    stream_id = node.stream("hub", HUGE)
    net.run()
    node.core.stop(net.now)
    net.run()
    assert node.error(stream_id).code is ErrorCode.STOPPING
    assert node.receive_error(node.key(stream_id)).code is ErrorCode.STOPPING
    node.core.lane_closed(0, "closed here", None, net.now)
    assert node.core.stats().receives == ()


def test_what_it_cannot_read_of_its_own_costs_that_and_no_more() -> None:
    net, node = alone()
    node.core.reject_batch(LOOP_LANE, "the size is odd", net.now)
    node.settle_events()
    (broken,) = node.of(ProtocolBroken)
    assert (broken.fqcn, broken.sentence) == ("hub", "hub cannot read what hub sent: the size is odd")
    assert node.of(LaneDropped) == [LaneDropped(LOOP_LANE, False)]
    stream_id = node.send("hub", SMALL)
    net.run()
    assert node.finished(stream_id)
