"""Lanes whose connections are about to end: the next one is dialled, everything moves, and nothing is sent twice."""

from __future__ import annotations

from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.limits import KIB
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.states import (
    LaneState,
)
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.wire.frames import Chunk, Goodbye, Hello, LaneRole, Lost, ResumeQuery
from tests.core.harness import LARGE, SMALL, Net, Node, make_context
from tests.core.samples import Told
from tests.core.trees import tree
from tests.kit.payloads import pattern

# More than a first lane takes before the first of it is credited, and than what one step moves.
HUGE = pattern(3000 * KIB + 7)
BOTH = (LaneRole.CONTROL, LaneRole.BULK)


def announce_end(net: Net, node: Node, role: LaneRole = LaneRole.CONTROL) -> int:
    """Tell a dialler that a lane is about to end; returns the lane."""
    lane_id = node.lane(role)
    node.core.lane_leaving(lane_id, net.now)
    return lane_id


def states(node: Node, role: str = "control") -> list[str]:
    return [lane.state for link in node.links for lane in link.lanes if lane.role == role]


def numbers(node: Node) -> list[int]:
    return sorted(lane.number for link in node.links for lane in link.lanes)


def check_nothing_was_lost(net: Net) -> None:
    for node in net.nodes.values():
        stats = node.core.stats()
        assert (stats.bytes_retransmitted, stats.resumes, stats.reconnects) == (0, 0, 0)
        assert net.sent(node.fqcn, ResumeQuery) == []
        assert net.sent(node.fqcn, Lost) == []


def long_ago(net: Net) -> None:
    """Let so much time go by that a lane has not only just come up."""
    net.advance(1.0)


def test_a_lane_that_is_about_to_end_is_replaced_before_it_does() -> None:
    net = Net()
    server, client = net.pair()
    long_ago(net)
    left = announce_end(net, client)
    client.core.lane_leaving(left, net.now)
    assert states(client) == ["leaving"]
    net.run()
    assert left not in net.lanes("client")
    assert (numbers(client), numbers(server)) == ([2], [2])
    assert (states(client), states(server)) == (["ready"], ["ready"])
    said = net.sent("client", Hello)[-1]
    assert (said.lane_number, said.lanes_held, said.lanes_replaced) == (2, (1, 2), (1,))
    assert net.sent("server", Hello)[-1].lanes_replaced == ()
    assert [frame.code for frame in net.sent("client", Goodbye)] == [ErrorCode.UNSPECIFIED]
    assert (client.core.stats().handovers, server.core.stats().handovers) == (1, 0)
    check_nothing_was_lost(net)


@pytest.mark.parametrize("role", BOTH)
@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_streams_under_way_move_over_without_a_byte_sent_twice(role: LaneRole, upwards: bool, steps: int) -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    long_ago(net)
    origin, target = (client, server) if upwards else (server, client)
    ids = [origin.send(target.fqcn, data) for data in (HUGE, SMALL, LARGE)]
    asked = origin.request(target.fqcn, SMALL)
    target.answer = lambda data: data
    for _ in range(steps):
        net.step()
    announce_end(net, client, role)
    net.run()
    assert [target.got(origin.key(stream_id)) for stream_id in ids] == [HUGE, SMALL, LARGE]
    assert all(origin.finished(stream_id) for stream_id in ids)
    assert origin.replies(asked) == [SMALL]
    assert client.core.stats().handovers == 1
    assert states(client, role.name.lower()) == states(server, role.name.lower()) == ["ready"]
    check_nothing_was_lost(net)


def test_all_lanes_of_a_link_may_be_about_to_end() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = server.send("client", HUGE)
    for _ in range(12):
        net.step()
    long_ago_numbers = numbers(client)
    for role in BOTH:
        announce_end(net, client, role)
    net.advance(1.0)
    assert client.got(server.key(stream_id)) == HUGE
    assert set(numbers(client)).isdisjoint(long_ago_numbers)
    assert client.core.stats().handovers == 2
    check_nothing_was_lost(net)


def hold_back_credit(sender: str, frame: Any) -> Any:
    return None if sender == "server" and type(frame).__name__ == "Credit" else frame


def bound_stream() -> tuple[Net, Node, Node, int]:
    """Return a listener, a cell, and its stream that has begun on the bulk lane and got no Credit."""
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    long_ago(net)
    net.tamper = hold_back_credit
    stream_id = client.stream("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    return net, server, client, stream_id


def test_a_stream_that_is_bound_to_the_lane_goes_on_by_the_next() -> None:
    """Without a Credit its chunks must not overtake its first one, which has arrived when the Pong comes."""
    net, server, client, stream_id = bound_stream()
    left = announce_end(net, client, LaneRole.BULK)
    net.run()
    client.supply(stream_id, SMALL, end=True)
    net.run()
    assert server.got(client.key(stream_id)) == SMALL + SMALL
    by = {lane_id for name, lane_id, frame in net.carried if isinstance(frame, Chunk) and frame.key.stream_id == 2}
    assert by == {left, client.lane(LaneRole.BULK)}
    check_nothing_was_lost(net)


def test_a_bound_stream_waits_while_the_lane_is_drained() -> None:
    net, server, client, stream_id = bound_stream()
    left = announce_end(net, client, LaneRole.BULK)
    server_end = net.peers["client", left]
    net.hold.add(server_end)
    client.supply(stream_id, SMALL, end=True)
    net.run()
    assert sorted(states(client, "bulk")) == ["draining", "ready"]
    assert server.got(client.key(stream_id)) is None
    net.hold.clear()
    net.run()
    assert server.got(client.key(stream_id)) == SMALL + SMALL
    check_nothing_was_lost(net)


def test_a_stream_that_passes_through_moves_over() -> None:
    net = Net()
    nodes = tree(net, {"server": "", "relay": "server", "leaf": "relay"})
    nodes["leaf"].send("server", LARGE)
    net.run()
    long_ago(net)
    net.carried.clear()
    net.tamper = hold_back_credit
    stream_id = nodes["leaf"].stream("server", None)
    nodes["leaf"].supply(stream_id, SMALL)
    # One that is bound to another lane is not concerned.
    small = nodes["leaf"].stream("server", None, size=2 * len(SMALL))
    nodes["leaf"].supply(small, SMALL)
    net.run()
    relay = nodes["relay"]
    (up,) = [link for link in relay.links if link.fqcn == "server"]
    assert [lane.role for lane in up.lanes] == ["control", "bulk"]
    lane_id = next(lane for lane in net.lanes("relay") if is_bulk_lane_to(net, "server", lane))
    relay.core.lane_leaving(lane_id, net.now)
    net.run()
    nodes["leaf"].supply(stream_id, SMALL, end=True)
    net.run()
    assert nodes["server"].got(nodes["leaf"].key(stream_id)) == SMALL + SMALL
    assert relay.core.stats().handovers == 1
    check_nothing_was_lost(net)


def is_bulk_lane_to(net: Net, listener: str, lane_id: int) -> bool:
    return net.peers["relay", lane_id][0] == listener and net.roles["relay", lane_id] is LaneRole.BULK


def test_a_lane_that_ends_before_the_next_is_up_is_a_lane_that_broke() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", HUGE)
    for _ in range(12):
        net.step()
    net.refuse_dials.add("server")
    left = [announce_end(net, client, role) for role in BOTH]
    for _ in range(3):
        net.step()
    for lane_id in left:
        net.cut("client", lane_id)
    net.advance(1.0)
    net.refuse_dials.clear()
    net.advance(10.0)
    assert server.got(client.key(stream_id)) == HUGE
    assert (client.core.stats().handovers, client.core.stats().reconnects) == (0, 1)


def test_a_lane_that_ends_while_it_is_drained_is_a_lane_that_broke() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", HUGE)
    for _ in range(12):
        net.step()
    long_ago(net)
    stream_id = client.send("server", HUGE)
    for _ in range(6):
        net.step()
    left = announce_end(net, client, LaneRole.BULK)
    net.hold.add(net.peers["client", left])
    net.run_until(lambda: "draining" in states(client, "bulk"))
    net.cut("client", left)
    net.advance(5.0)
    assert server.got(client.key(stream_id)) == HUGE
    assert client.core.stats().handovers == 0


def test_a_lane_that_is_not_emptied_is_given_up_in_the_end() -> None:
    net = Net()
    _, client = net.pair()
    long_ago(net)
    left = announce_end(net, client)
    net.hold.add(net.peers["client", left])
    net.advance(25.0)
    assert states(client) == ["draining", "ready"]
    net.advance(6.0)
    assert states(client) == ["ready"]


def test_a_next_lane_that_cannot_be_dialled_is_tried_again_with_the_old_one_in_use() -> None:
    net = Net()
    server, client = net.pair()
    long_ago(net)
    net.refuse_dials.add("server")
    announce_end(net, client)
    net.advance(10.0)
    assert states(client) == ["leaving"]
    stream_id = client.send("server", SMALL)
    net.run()
    assert server.got(client.key(stream_id)) == SMALL
    net.refuse_dials.clear()
    net.advance(20.0)
    assert states(client) == ["ready"]
    check_nothing_was_lost(net)


@pytest.mark.parametrize("role", BOTH)
def test_lanes_that_are_to_end_as_soon_as_they_are_up_are_not_dialled_without_a_pause(role: LaneRole) -> None:
    net = Net()
    _, client = net.pair(CellConfig(backoff_min_s=0.5))
    client.send("server", LARGE)
    net.run()
    announce_end(net, client, role)
    net.advance(0.4)
    assert states(client, role.name.lower()) == ["leaving"]
    net.advance(0.2)
    assert states(client, role.name.lower()) == ["ready"]


def test_a_suspect_lane_may_be_about_to_end() -> None:
    net = Net()
    _, client = net.pair()
    net.mute.add("server")
    client.send("server", SMALL)
    net.run_until(lambda: states(client)[0] == "suspect")
    net.mute.clear()
    announce_end(net, client)
    net.run()
    assert states(client) == ["ready"]
    assert client.core.stats().handovers == 1


def test_a_lane_whose_hello_was_said_before_takes_no_other_ones_place() -> None:
    net = Net()
    _, client = net.pair()
    net.mute.add("server")
    client.send("server", SMALL)
    first = client.lane()
    net.run_until(lambda: len(net.sent("client", Hello)) == 2)
    client.core.lane_leaving(first, net.now)
    net.mute.clear()
    net.run()
    assert "leaving" in states(client)
    assert (net.sent("client", Hello)[1].lanes_replaced, client.core.stats().handovers) == ((), 0)
    assert client.core.is_cell_connected("server")


def test_what_is_settled_is_not_told_while_a_lane_is_drained() -> None:
    """It would overtake the Resets that may still be on it."""
    net = Net()
    _, client = net.pair()
    long_ago(net)
    left = announce_end(net, client)
    net.hold.add(net.peers["client", left])
    net.run()
    for _ in range(300):
        client.send("server", SMALL)
        net.run()
    told = [frame.open.settled_below for frame in net.sent("client", Chunk) if frame.open is not None]
    assert set(told) == {0}
    net.hold.clear()
    net.run()
    client.send("server", SMALL)
    net.run()
    opening = net.sent("client", Chunk)[-1].open
    assert opening is not None
    assert opening.settled_below == 301


def test_a_notice_about_a_lane_that_is_gone_or_was_not_dialled_is_ignored() -> None:
    net = Net()
    server, client = net.pair()
    server.core.lane_leaving(server.lane(), net.now)
    client.core.lane_leaving(99, net.now)
    client.core.stop(net.now)
    announced = client.lane()
    client.core.lane_leaving(announced, net.now)
    assert states(server) == states(client) == ["ready"]


def listen_to(table: LinkTable, hello: Hello) -> Lane:
    lane = table.lanes.by_id.get(table.lane_accepted(CarrierInfo("test", "somewhere"), 0.0))
    assert lane is not None
    table.handle_hello(lane, hello, 0.0)
    return lane


def greeting(number: int, role: LaneRole, link_id: bytes, replaced: tuple[int, ...]) -> Hello:
    held = tuple(range(1, number + 1))
    return Hello("site", 1, 1, 1, number, role, link_id, held, (), 6 << 20, 2, 1 << 18, lanes_replaced=replaced)


def test_a_listener_leaves_what_the_hello_names_if_it_is_of_the_same_role() -> None:
    table = LinkTable(make_context(), Told())
    control = listen_to(table, greeting(1, LaneRole.CONTROL, b"", (1, 7)))
    link_id = table.links["site"].link_id
    bulk = listen_to(table, greeting(2, LaneRole.BULK, link_id, (1, 2, 9)))
    assert (control.state, bulk.state) == (LaneState.READY, LaneState.READY)
    ending = listen_to(table, greeting(3, LaneRole.BULK, link_id, ()))
    ending.say_goodbye(ErrorCode.UNSPECIFIED, "idle")
    later = listen_to(table, greeting(4, LaneRole.BULK, link_id, (1, 2, 3)))
    again = listen_to(table, greeting(5, LaneRole.BULK, link_id, (2, 4)))
    assert (control.state, ending.state, again.state) == (LaneState.READY, LaneState.READY, LaneState.READY)
    assert (bulk.state, later.state) == (LaneState.DRAINING, LaneState.DRAINING)
    assert len(bulk.take_own_frames()[1]) == 1


def test_only_the_pong_to_the_last_ping_says_that_a_lane_is_empty() -> None:
    told = Told()
    table = LinkTable(make_context(), told)
    old = listen_to(table, greeting(1, LaneRole.CONTROL, b"", ()))
    old.on_pong(1, 0.0)
    listen_to(table, greeting(2, LaneRole.CONTROL, table.links["site"].link_id, (1,)))
    (ping,) = old.take_own_frames()[1]
    told.told.clear()
    old.on_pong(ping.nonce ^ 1, 0.0)
    assert (told.told, old.state) == ([], LaneState.DRAINING)
    old.on_pong(ping.nonce, 0.0)
    old.on_pong(ping.nonce, 0.0)
    assert (told.told, old.state) == ([("lane emptied", old.lane_id)], LaneState.EMPTY)
    # The listener leaves the end to the dialler, and loses nothing with it.
    assert old.goodbye is None
    table.lane_closed(old.lane_id, "closed", None, 0.0)
    assert told.told == [("lane emptied", old.lane_id)]
    assert list(table.links["site"].lanes) == [2]


def test_the_last_lane_of_a_link_may_be_an_empty_one() -> None:
    net = Net()
    server, client = net.pair()
    long_ago(net)
    left = announce_end(net, client)
    net.hold.add(("client", left))
    net.run_until(lambda: "draining" in states(client) and "draining" in states(server))
    net.hold.clear()
    net.refuse_dials.add("server")
    net.run()
    net.cut_all()
    net.advance(20.0)
    assert not server.core.is_cell_connected("client")
    net.advance(15.0)
    assert server.links == client.links == ()
