"""The lanes of a link between two cells: how further ones join, which are closed, and silence on them."""

from __future__ import annotations

from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.protocol.base.events import CellDisconnected, LaneDropped, LaneWanted
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.states import (
    LaneState,
)
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.wire.frames import Goodbye, LaneRole, LanesWanted, Ping, Pong
from tests.core.by_hand import changing, greet, hello, link_id_of
from tests.core.harness import LARGE, SMALL, Net, Node, make_context, read_and_unreleased, roles
from tests.core.samples import Told

# Further lanes.


def test_a_further_lane_joins_with_the_same_link_id() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, hello())
    link_id = link_id_of(said)
    assert len(link_id) == 16
    _, said = greet(net, server, hello(lane_number=2, lane_role=LaneRole.BULK, link_id=link_id, lanes_held=(1, 2)))
    assert link_id_of(said) == link_id
    assert roles(server) == ["control", "bulk"]


@pytest.mark.parametrize(
    "fields", [{"link_id": b"x" * 16}, {"link_id": b""}, {"incarnation": 2}], ids=["other id", "no id", "other life"]
)
def test_a_bulk_lane_of_an_unknown_link_is_turned_away(fields: dict[str, Any]) -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, hello())
    given = {"lane_number": 2, "lane_role": LaneRole.BULK, "link_id": link_id_of(said), "lanes_held": (1, 2), **fields}
    _, said = greet(net, server, hello(**given))
    assert [getattr(word, "code", None) for word in said] == [ErrorCode.UNSPECIFIED]
    assert roles(server) == ["control"]


def test_a_bulk_lane_of_another_identity_is_turned_away() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, hello(), identity="client")
    bulk = hello(lane_number=2, lane_role=LaneRole.BULK, link_id=link_id_of(said), lanes_held=(1, 2))
    _, said = greet(net, server, bulk, identity="")
    assert isinstance(said[0], Goodbye)


def test_a_lane_number_is_used_once() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, hello())
    _, said = greet(net, server, hello(link_id=link_id_of(said), lanes_held=(1,)))
    assert isinstance(said[0], Goodbye)
    assert said[0].code is ErrorCode.PROTOCOL


def test_lanes_that_the_newest_hello_does_not_list_are_closed() -> None:
    net = Net()
    server = net.node("server")
    first, said = greet(net, server, hello())
    link_id = link_id_of(said)
    greet(net, server, hello(lane_number=2, lane_role=LaneRole.BULK, link_id=link_id, lanes_held=(1, 2)))
    greet(net, server, hello(lane_number=4, link_id=link_id, lanes_held=(2, 4)))
    # One that is late with its Hello says nothing of later ones.
    greet(net, server, hello(lane_number=3, lane_role=LaneRole.BULK, link_id=link_id, lanes_held=(1, 2, 3)))
    assert sorted(lane.number for lane in server.links[0].lanes) == [2, 3, 4]
    net.run()
    assert [event.lane_id for event in server.of(LaneDropped)] == [first]


def test_an_unknown_role_counts_as_control() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(lane_role=LaneRole.UNSPECIFIED))
    assert roles(server) == ["control"]


def test_a_lane_that_answers_for_another_link_is_dropped_by_the_dialler() -> None:
    net = Net()
    _server, client = net.pair()
    net.tamper = changing("server", link_id=b"y" * 16)
    client.send("server", LARGE)
    net.run()
    assert roles(client) == ["control"]
    net.tamper = None
    net.advance(5.0)
    assert roles(client) == ["control", "bulk"]


def test_the_listener_asks_for_bulk_lanes_once() -> None:
    net = Net()
    server, client = net.pair(CellConfig(bulk_lanes=2))
    for _ in range(3):
        server.send("client", LARGE)
    net.run()
    assert [frame.bulk_lanes for frame in net.sent("server", LanesWanted)] == [2]
    assert roles(client) == ["control", "bulk", "bulk"]


@pytest.mark.parametrize("count", [0, 1])
def test_lanes_wanted_by_the_dialler_or_of_none_is_nothing(count: int) -> None:
    net = Net()
    server, client = net.pair()
    server.core.receive(net.peers["client", client.lane()][1], [LanesWanted(1)], net.now)
    client.core.receive(client.lane(), [LanesWanted(0)], net.now)
    net.run()
    assert roles(client) == ["control"]


def test_a_listener_that_gets_no_bulk_lane_in_time_uses_the_control_lane() -> None:
    net = Net()
    net.refuse_roles.add(LaneRole.BULK)
    server, _client = net.pair()
    stream_id = server.send("client", LARGE)
    net.advance(2.9)
    assert server.outcomes(stream_id) == []
    net.advance(0.2)
    assert server.finished(stream_id)
    net.refuse_roles.clear()
    net.advance(10.0)
    assert roles(server) == ["control", "bulk"]
    net.refuse_roles.add(LaneRole.BULK)
    server.send("client", LARGE)
    net.run()
    assert len(net.sent("server", LanesWanted)) == 1


def test_a_bulk_lane_that_only_the_dialler_has_is_found_out_when_the_listener_asks() -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    old = client.lane(LaneRole.BULK)
    net.cut_half(*net.peers["client", old])
    for _ in range(2):
        # The second request finds the Ping under way already.
        client.core.receive(client.lane(), [LanesWanted(1)], net.now)
    stream_id = server.send("client", LARGE)
    net.advance(7.0)
    assert server.finished(stream_id)
    assert client.lane(LaneRole.BULK) != old
    assert roles(server) == ["control", "bulk"]


def test_bulk_lanes_that_break_at_once_are_not_dialled_in_circles() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_accept = False
    client.send("server", LARGE)
    net.run()
    for _ in range(20):
        net.cut("client", client.lane(LaneRole.BULK))
        net.run()
        assert roles(client) == ["control"]
        net.advance(0.25)
        assert roles(client) == ["control", "bulk"]


def test_a_bulk_lane_that_nothing_uses_is_closed_and_comes_back() -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    net.advance(client.config.idle_lane_s + 20.0)
    assert roles(client) == roles(server) == ["control"]
    stream_id = client.send("server", LARGE)
    net.run()
    assert client.finished(stream_id)
    assert roles(client) == ["control", "bulk"]


def stuck_bulk(sender_name: str) -> tuple[Net, Node, Node, int]:
    """Return the origin and the target of bulk for which there is a lane that writes no more."""
    net = Net()
    server, client = net.pair()
    origin, target = (client, server) if sender_name == "client" else (server, client)
    origin.send(target.fqcn, LARGE)
    net.advance(client.config.idle_lane_s / 2)
    net.stuck.add((origin.fqcn, origin.lane(LaneRole.BULK)))
    return net, origin, target, origin.send(target.fqcn, LARGE)


@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_bulk_that_waits_for_a_lane_which_is_closed_goes_by_the_next_one(sender_name: str) -> None:
    net, origin, target, stream_id = stuck_bulk(sender_name)
    net.advance(origin.config.idle_lane_s)
    assert target.got(origin.key(stream_id)) == LARGE
    assert origin.finished(stream_id)


@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_bulk_that_was_given_up_meanwhile_asks_for_no_lane(sender_name: str) -> None:
    net, origin, target, stream_id = stuck_bulk(sender_name)
    origin.core.cancel_send(stream_id, "not wanted any more", net.now)
    net.advance(origin.config.idle_lane_s)
    assert roles(origin) == roles(target) == ["control"]
    client = net.nodes["client"]
    assert len([event for event in client.of(LaneWanted) if event.role is LaneRole.BULK]) == 1


def test_a_bulk_lane_that_is_used_stays() -> None:
    net = Net()
    _server, client = net.pair()
    for _ in range(10):
        client.send("server", LARGE)
        net.advance(client.config.idle_lane_s / 2)
    assert len([event for event in client.of(LaneWanted) if event.role is LaneRole.BULK]) == 1


def test_an_idle_lane_that_the_other_side_dialled_is_its_to_close() -> None:
    table = LinkTable(make_context(), Told())
    control, bulk = (table.lanes.accept(CarrierInfo("test", "somewhere"), 0.0) for _ in range(2))
    table.handle_hello(control, hello(), 0.0)
    said = hello(lane_number=2, lane_role=LaneRole.BULK, link_id=table.links["client"].link_id, lanes_held=(1, 2))
    table.handle_hello(bulk, said, 0.0)
    idle_at = CellConfig().idle_lane_s
    bulk.on_heard(idle_at - 1.0, bulk=False)
    bulk.handle_timer(idle_at)
    assert bulk.state is LaneState.READY


# Heartbeats.


def test_an_idle_link_is_pinged_every_15_seconds_and_no_more() -> None:
    net = Net()
    _server, _client = net.pair()
    net.advance(10.0)
    before = len(net.carried)
    net.advance(151.0)
    spoken = [type(frame) for _, _, frame in net.carried[before:]]
    assert set(spoken) == {Ping, Pong}
    assert 10 <= spoken.count(Ping) <= 21


def test_a_lane_that_owes_an_answer_is_pinged_after_5_seconds() -> None:
    net = Net()
    _server, client = net.pair()
    net.mute.add("server")
    client.send("server", SMALL)
    net.run()
    net.advance(4.9)
    assert net.sent("client", Ping) == []
    net.advance(0.2)
    assert len(net.sent("client", Ping)) == 1


def test_pings_are_answered_on_the_same_lane_with_the_same_number() -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    for role in (LaneRole.CONTROL, LaneRole.BULK):
        lane_id = client.lane(role)
        server_lane = net.peers["client", lane_id][1]
        server.core.receive(server_lane, [Ping(4711)], net.now)
        assert Pong(4711) in server.core.frames_to_send(server_lane, net.now)


def hold_lane(net: Net, client: Node) -> int:
    """Let a lane fall silent in both directions, without breaking."""
    lane_id = client.lane()
    net.hold.update({("client", lane_id), net.peers["client", lane_id]})
    return lane_id


def test_a_silent_lane_is_suspect_and_a_fresh_one_is_dialled_beside_it() -> None:
    net = Net()
    _server, client = net.pair()
    hold_lane(net, client)
    net.advance(17.9)
    assert [lane.state for lane in client.links[0].lanes] == ["ready"]
    net.advance(0.2)
    assert [lane.state for lane in client.links[0].lanes] == ["suspect", "ready"]
    # Nothing is asked of the suspect one meanwhile.
    stream_id = client.send("server", SMALL)
    net.run()
    assert client.finished(stream_id)
    assert client.of(CellDisconnected) == []


def test_a_suspect_lane_that_is_not_heard_of_is_broken() -> None:
    net = Net()
    _server, client = net.pair()
    hold_lane(net, client)
    net.advance(21.5)
    assert [lane.number for lane in client.links[0].lanes] == [2]
    assert client.core.is_cell_connected("server")


def test_a_suspect_lane_that_is_heard_of_in_time_stays() -> None:
    net = Net()
    _server, client = net.pair()
    hold_lane(net, client)
    net.advance(18.5)
    net.hold.clear()
    net.advance(60.0)
    assert [lane.state for lane in client.links[0].lanes] == ["ready", "ready"]


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_link_is_down_after_30_silent_seconds(side: str) -> None:
    net = Net()
    _server, _client = net.pair()
    net.mute.update({"server", "client"})
    node = net.nodes[side]
    net.advance(29.0)
    assert node.of(CellDisconnected) == []
    net.advance(2.0)
    assert len(node.of(CellDisconnected)) == 1
    assert not node.core.is_cell_reachable("server" if side == "client" else "client")


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_broken_link_is_down_after_30_seconds(side: str) -> None:
    net = Net()
    _server, _client = net.pair()
    net.refuse_dials.add("server")
    net.cut_all()
    node = net.nodes[side]
    net.advance(29.9)
    assert node.of(CellDisconnected) == []
    assert not node.core.is_cell_connected("server" if side == "client" else "client")
    assert node.core.is_cell_reachable("server" if side == "client" else "client")
    net.advance(0.2)
    assert len(node.of(CellDisconnected)) == 1


def test_a_half_open_lane_is_replaced() -> None:
    """One end knows that the lane broke, the other does not."""
    net, server, client, stream_id = read_and_unreleased(SMALL)
    old = net.peers["client", client.lane()][1]
    net.cut_half("client", client.lane())
    net.advance(1.0)
    assert ("server", old) not in net.peers
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


def test_a_listener_that_suspects_a_bulk_lane_has_a_fresh_one_opened() -> None:
    """The dialler awaits nothing on it, and so would not notice that nothing comes."""
    net = Net()
    server, client = net.pair()
    server.send("client", LARGE)
    net.run()
    net.hold.add(("client", client.lane(LaneRole.BULK)))
    stream_id = server.send("client", LARGE)
    # Ping and suspicion at the listener, the same at the dialler, and the trust that is left beside a fresh lane.
    net.advance(8.0 + 8.0 + 3.0)
    assert client.got(server.key(stream_id)) == LARGE
    assert server.finished(stream_id)


def test_a_listener_asks_again_when_the_lane_that_it_asked_on_is_replaced() -> None:
    net = Net()
    server, client = net.pair()
    server.send("client", LARGE)
    net.run()
    net.hold |= {("client", client.lane(LaneRole.BULK)), ("client", client.lane())}
    stream_id = server.send("client", LARGE)
    # The dialler misses nothing on its control lane before 15 s are over.
    net.advance(15.0 + 3.0 + 3.0 + 3.0 + 1.0)
    assert client.got(server.key(stream_id)) == LARGE
    assert server.finished(stream_id)
