"""A cell as a whole: batches, stopping, statistics, and that it is a value machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode, StreamError
from streamcell.limits import BATCH_BYTES, KIB, MESSAGE_BYTES, MIB, WRITTEN_FRAMES
from streamcell.protocol.base.events import LaneDropped, LaneWanted, SendFailed
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Goodbye, LaneRole, Ping, Reset
from tests.core.harness import LARGE, SMALL, Net, Node, read_and_unreleased
from tests.kit.payloads import pattern


def test_a_batch_is_bounded_in_bytes_and_frames() -> None:
    net = Net()
    net.measure = True
    server, client = net.pair(CellConfig(max_streams_per_peer=100_000))
    for _ in range(WRITTEN_FRAMES + 10):
        client.send("server", b"x")
    client.send("server", pattern(MIB))
    batch = client.core.frames_to_send(client.lane(), net.now)
    assert len(batch) <= WRITTEN_FRAMES
    net.run()
    assert net.largest_batch <= BATCH_BYTES + MIB
    assert len(server.ends()) == WRITTEN_FRAMES + 11 - len(batch)


def test_headers_count_in_a_batch() -> None:
    net = Net()
    net.measure = True
    server, client = net.pair()
    headers = (("a", 1), ("b", b"x" * 900 * KIB), ("c", 1.5), ("d", True))
    for _ in range(20):
        client.send("server", SMALL, headers=headers)
    net.run()
    assert len(server.ends()) == 20
    assert net.largest_batch < MESSAGE_BYTES


def test_sentences_count_in_a_batch() -> None:
    net = Net()
    net.measure = True
    _server, client = net.pair(CellConfig(chunk_bytes=4 * MIB, max_streams_per_peer=5000))
    ids = [client.stream("server", None) for _ in range(2500)]
    bulk = client.stream("server", None)
    net.run()
    client.supply(bulk, pattern(8 * MIB))
    for stream_id in ids:
        client.core.cancel_send(stream_id, "s" * 1024, net.now)
    net.run()
    assert net.largest_batch < MESSAGE_BYTES


def test_control_frames_go_before_chunks() -> None:
    net = Net()
    _server, client = net.pair()
    cancelled = client.send("server", SMALL)
    net.run()
    cancelled = client.stream("server", None, size=5)
    net.run()
    client.send("server", SMALL)
    client.core.cancel_send(cancelled, "no", net.now)
    assert isinstance(client.core.frames_to_send(client.lane(), net.now)[0], Reset)


@pytest.mark.parametrize("busy", [False, True])
def test_stopping_ends_everything_with_a_word(busy: bool) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = client.auto_accept = False
    mine = (
        [client.send("server", LARGE), client.stream("server", None), client.request("server", SMALL)] if busy else []
    )
    theirs = server.send("client", SMALL)
    net.run()
    client.core.stop(net.now)
    client.core.stop(net.now)
    net.run()
    assert [client.error(stream_id).code for stream_id in mine] == [ErrorCode.STOPPING] * len(mine)
    assert [server.receive_error(client.key(stream_id)).code for stream_id in mine] == [ErrorCode.STOPPING] * len(mine)
    assert server.error(theirs).code is ErrorCode.STOPPING
    assert client.receive_error(server.key(theirs)).code is ErrorCode.STOPPING
    assert (client.core.open_sends(), client.core.stats().receives) == (0, ())
    assert net.lanes("client") == net.lanes("server") == []
    assert [frame.code for frame in net.sent("client", Goodbye)].count(ErrorCode.STOPPING) == 1
    net.advance(100.0)
    assert client.core.next_deadline() is None


@pytest.mark.parametrize("stopped", ["client", "server"])
@pytest.mark.parametrize("written", [(LaneRole.CONTROL, LaneRole.BULK), (LaneRole.BULK, LaneRole.CONTROL)])
@pytest.mark.parametrize("arriving", [(LaneRole.CONTROL, LaneRole.BULK), (LaneRole.BULK, LaneRole.CONTROL)])
def test_stopping_is_heard_whichever_lane_is_the_faster_one(
    stopped: str, written: tuple[LaneRole, ...], arriving: tuple[LaneRole, ...]
) -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = client.auto_accept = False
    stream_id = client.send("server", LARGE)
    net.run()
    core = net.nodes[stopped].core
    lanes = {role: net.lane_with_role(stopped, role) for role in written}
    core.stop(net.now)
    frames = {role: core.frames_to_send(lanes[role], net.now) for role in written}
    for role in arriving:
        name, lane_id = net.peers[stopped, lanes[role]]
        net.nodes[name].core.receive(lane_id, frames[role], net.now)
    net.run()
    assert client.error(stream_id).code is ErrorCode.STOPPING
    assert server.receive_error(client.key(stream_id)).code is ErrorCode.STOPPING


def test_stopping_waits_for_requests_that_wait_for_a_reply_no_more() -> None:
    net = Net()
    _server, client = net.pair()
    request = client.request("server", SMALL)
    net.run()
    assert client.finished(request)
    assert client.core.open_sends() == 1
    client.core.stop(net.now)
    net.run()
    assert client.request_error(request).code is ErrorCode.STOPPING


def test_stopping_while_dialling_drops_the_dial() -> None:
    net = Net()
    client = net.node("client")
    client.core.add_uplink(net.now)
    client.core.stop(net.now)
    wanted, dropped = client.core.next_event(), client.core.next_event()
    assert isinstance(wanted, LaneWanted)
    assert dropped == LaneDropped(wanted.lane_id, False)
    client.core.lane_closed(wanted.lane_id, "dropped", None, net.now)
    client.core.handle_timeout(net.now + 100.0)
    assert (client.core.next_event(), client.core.next_deadline()) == (None, None)


def test_a_stopped_cell_sends_nothing_more_and_takes_nobody_in() -> None:
    net = Net()
    server, client = net.pair()
    server.core.stop(net.now)
    net.run()
    stream_id = server.send("client", SMALL)
    net.run()
    assert server.error(stream_id).code is ErrorCode.STOPPING
    net.advance(10.0)
    assert not client.core.is_cell_connected("server")
    assert not server.core.is_cell_connected("client")
    assert len(net.sent("server", Goodbye)) > 1


def test_frames_after_ones_own_goodbye_are_ignored() -> None:
    net = Net()
    _server, client = net.pair()
    lane_id = client.lane()
    client.core.stop(net.now)
    client.core.frames_to_send(lane_id, net.now)
    client.core.receive(lane_id, [Ping(1)], net.now)
    assert client.core.frames_to_send(lane_id, net.now) == []


def test_statistics_tell_what_there_is() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stream_id = client.stream("server", LARGE, channel="images", topic="raw")
    net.run()
    (sending,) = client.core.stats().sends
    (receiving,) = server.core.stats().receives
    assert (sending.stream_id, sending.target, sending.channel, sending.topic) == (stream_id, "server", "images", "raw")
    assert (sending.state, sending.attempt, sending.size_bytes) == ("sending", 1, len(LARGE))
    assert (receiving.origin, receiving.state, receiving.received) == ("client", "receiving", sending.received)
    assert receiving.credit == sending.credit
    (link,) = client.links
    assert [(lane.role, lane.state) for lane in link.lanes] == [("control", "ready"), ("bulk", "ready")]
    assert (link.address, link.is_uplink) == ("to-server", True)


def wanted(client: Node) -> list[LaneWanted]:
    """Take what the core of a cell wants to have dialled."""
    events = iter(client.core.next_event, None)
    return [event for event in events if isinstance(event, LaneWanted)]


def test_who_has_no_right_to_a_lane_any_more_loses_it_and_is_told_why() -> None:
    net = Net()
    server, _client = net.pair()
    net.refuse_dials.add("server")
    for lane_id in (server.lane(), 10_000):
        server.core.lane_denied(lane_id, "it has no right to it", net.now)
    net.run()
    assert [goodbye.sentence for goodbye in net.sent("server", Goodbye)][:1] == ["it has no right to it"]
    assert not server.core.stats().links[0].lanes[1:]


def test_addresses_come_and_go() -> None:
    net = Net()
    client = net.node("client")
    core = client.core
    number = core.add_shortcut(net.now, 2)
    (first,) = wanted(client)
    core.remove_place(number, 1, net.now)
    core.lane_closed(first.lane_id, "nobody there", None, net.now)
    core.handle_timeout(net.now + 10.0)
    again = wanted(client)
    assert {each.place for each in [first, *again]} == {0}
    beside = core.add_place(number, 0, net.now + 10.0)
    core.lane_closed(again[-1].lane_id, "nobody there", None, net.now + 10.0)
    core.handle_timeout(net.now + 20.0)
    assert beside in {each.place for each in wanted(client)}


def test_a_dial_may_be_awaited_for_longer_and_put_off() -> None:
    net = Net()
    client = net.node("client")
    core = client.core
    core.add_shortcut(net.now, 1)
    (first,) = wanted(client)
    core.dial_awaited(first.lane_id, 60.0, net.now)
    core.handle_timeout(net.now + 50.0)
    assert wanted(client) == []
    core.dial_deferred(first.lane_id, 40.0, net.now + 50.0)
    core.lane_closed(first.lane_id, "come again later", None, net.now + 50.0)
    at: float | None = None
    while not wanted(client):
        at = core.next_deadline()
        assert at is not None
        core.handle_timeout(at)
    assert at is not None
    assert at >= net.now + 90.0


def test_statistics_count_what_was_done() -> None:
    net = Net()
    server, client = net.pair()
    for _ in range(3):
        client.send("server", SMALL)
    net.run()
    client.core.cancel_send(client.stream("server", None), "no", net.now)
    net.run()
    sent, received = client.core.stats(), server.core.stats()
    assert (sent.streams_opened, sent.sends_finished, sent.sends_failed) == (4, 3, 1)
    assert (received.streams_accepted, received.receives_finished) == (3, 3)
    assert (sent.bytes_sent, received.bytes_received) == (3 * len(SMALL), 3 * len(SMALL))


@given(st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from([StreamKind.STREAM, StreamKind.BLOB])), max_size=6))
def test_any_mix_of_streams_arrives_in_both_directions(wanted: list[tuple[int, StreamKind]]) -> None:
    net = Net()
    server, client = net.pair()
    sent: list[tuple[Node, Node, int, bytes]] = []
    for number, (size, kind) in enumerate(wanted):
        origin, target = (client, server) if number % 2 else (server, client)
        sent.append((origin, target, origin.send(target.fqcn, pattern(size), kind=kind, piece=7000), pattern(size)))
    net.run()
    for origin, target, stream_id, data in sent:
        assert target.got(origin.key(stream_id)) == data
        assert origin.finished(stream_id)
    assert [node.core.stats().sends for node in (server, client)] == [(), ()]


def test_the_same_inputs_give_the_same_outputs() -> None:
    histories = []
    for _ in range(2):
        net = Net()
        _server, client = net.pair()
        client.send("server", LARGE)
        for _ in range(4):
            net.step()
        net.cut_all()
        net.advance(60.0)
        histories.append([(name, lane_id, repr(frame)[:100]) for name, lane_id, frame in net.carried])
    assert histories[0] == histories[1]


def test_times_that_do_not_add_up_exactly_do_no_harm() -> None:
    """A deadline is a sum of floats; reaching it must not depend on a difference of the same floats."""
    for step in range(200):
        net = Net()
        net.now = 0.1 * step
        client = net.node("client")
        stream_id = client.send("server", SMALL, unreachable_timeout_s=0.7 + step / 7)
        net.advance(200.0)
        assert isinstance(client.outcomes(stream_id)[0], SendFailed)


def test_errors_of_a_cell_that_stops_are_stream_errors() -> None:
    net = Net()
    client = net.node("client")
    stream_id = client.send("server", SMALL)
    client.core.stop(net.now)
    net.run()
    assert type(client.error(stream_id)) is StreamError


def test_a_lane_that_says_goodbye_takes_no_queries_with_it() -> None:
    """What the link still has to say goes by a lane that lives."""
    net, server, client, stream_id = read_and_unreleased(LARGE)
    bulk = client.lane(LaneRole.BULK)
    net.hold.add(net.peers["client", bulk])
    net.advance(client.config.idle_lane_s + 20.0)
    server.core.release(client.key(stream_id), net.now)
    net.advance(20.0)
    assert client.finished(stream_id)
