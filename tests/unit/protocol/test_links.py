"""Links between two cells: greeting, joining, silence, breaks, claims of a held name, and ends."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import (
    AuthenticationError,
    CellError,
    ErrorCode,
    LinkError,
    NameInUse,
    ProtocolError,
)
from streamcell.limits import MESSAGE_BYTES
from streamcell.protocol.events import CellConnected, CellDisconnected, LaneDropped, LaneWanted
from streamcell.protocol.frames import (
    Announce,
    AnnounceReply,
    Frame,
    Goodbye,
    Hello,
    LaneRole,
    LanesWanted,
    Ping,
    Pong,
    Query,
    QueryReply,
)
from streamcell.protocol.link import Link
from streamcell.protocol.links import ROUTES_CAPABILITY, LinkTable
from streamcell.protocol.states import LaneState
from tests.unit.protocol.harness import LARGE, SMALL, Net, Node, make_context


def roles(node: Node) -> list[str]:
    return [lane.role for link in node.links for lane in link.lanes]


def hello(fqcn: str = "client", **fields: Any) -> Hello:
    given: dict[str, Any] = {
        "incarnation": 1,
        "version_min": 1,
        "version_max": 1,
        "lane_number": 1,
        "lane_role": LaneRole.CONTROL,
        "message_bytes": MESSAGE_BYTES,
        "lanes": 2,
        "initial_credit": 256 * 1024,
    }
    given.update(fields)
    return Hello(fqcn, **given)


def greet(net: Net, node: Node, *frames: Frame, identity: str = "") -> tuple[int, list[Frame]]:
    """Play a dialler by hand; returns the listener's number for the lane and what it says on it."""
    lane_id = node.core.lane_accepted("stranger", identity, net.now)
    node.core.receive(lane_id, frames, net.now)
    said: list[Frame] = []
    while batch := node.core.frames_to_send(lane_id, net.now):
        said += batch
    return lane_id, said


def changing(name: str, **fields: Any) -> Callable[[str, Frame], Frame]:
    def tamper(sender: str, frame: Frame) -> Frame:
        return dataclasses.replace(frame, **fields) if isinstance(frame, Hello) and sender == name else frame

    return tamper


# Greeting.


def test_both_ends_know_each_other_after_the_hellos() -> None:
    net = Net()
    server, client = net.pair()
    for node, other in ((server, client), (client, server)):
        (link,) = node.links
        assert (link.fqcn, link.incarnation) == (other.fqcn, other.incarnation)
        assert node.core.is_cell_connected(other.fqcn)
        assert node.core.is_cell_reachable(other.fqcn)
        assert [event.fqcn for event in node.of(CellConnected)] == [other.fqcn]
    assert [client.of(CellConnected)[0].uplink, server.of(CellConnected)[0].uplink] == [0, None]
    assert (client.links[0].is_uplink, server.links[0].is_uplink) == (True, False)
    assert not client.core.is_cell_connected("nobody")


def test_the_dialler_speaks_first() -> None:
    net = Net()
    net.pair()
    assert [name for name, _, frame in net.carried if isinstance(frame, Hello)] == ["client", "server"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"version_min": 2, "version_max": 3}, ProtocolError),
        ({"version_min": 0, "version_max": 0}, ProtocolError),
        ({"message_bytes": MESSAGE_BYTES - 1}, ProtocolError),
        ({"fqcn": "server"}, NameInUse),
    ],
    ids=["too new", "too old", "small messages", "own name"],
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_faulty_hello_is_refused(side: str, fields: dict[str, Any], error: type[CellError]) -> None:
    net = Net()
    if "fqcn" in fields and side == "server":
        fields = {"fqcn": "client"}
    net.tamper = changing(side, **fields)
    server, client = net.pair()
    refusal = client.refusals()[0]
    assert type(refusal.error) is error
    assert (server.links, client.links) == ((), ())
    if refusal.final:
        before = len(client.of(LaneWanted))
        net.advance(100.0)
        assert len(client.of(LaneWanted)) == before


def test_a_wider_range_of_versions_is_fine() -> None:
    net = Net()
    net.tamper = changing("client", version_min=0, version_max=9)
    server, _ = net.pair()
    assert server.core.is_cell_connected("client")


@pytest.mark.parametrize("frame", [Ping(1), Query(1, "x", "", False, 16)])
def test_the_first_frame_must_be_a_hello(frame: Frame) -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, frame)
    assert [type(word) for word in said] == [Goodbye]


def test_a_second_hello_breaks_the_rules() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, hello(), hello())
    assert isinstance(said[-1], Goodbye)
    assert said[-1].code is ErrorCode.PROTOCOL
    assert not server.core.is_cell_connected("client")


def test_a_goodbye_instead_of_a_hello_ends_the_lane() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, Goodbye(ErrorCode.STOPPING, "oh well"))
    assert said == []
    assert [event.flush for event in server.of(LaneDropped)] == []
    net.run()
    assert len(server.of(LaneDropped)) == 1


def test_a_listener_waits_for_a_hello_no_longer_than_the_dial_timeout() -> None:
    net = Net()
    server = net.node("server", CellConfig(dial_timeout_s=2.0))
    server.core.lane_accepted("silent", "", net.now)
    net.advance(1.9)
    assert server.of(LaneDropped) == []
    net.advance(0.2)
    assert len(server.of(LaneDropped)) == 1


def test_a_dialler_waits_for_a_hello_no_longer_either() -> None:
    net = Net()
    net.mute.add("server")
    _, client = net.pair(CellConfig(dial_timeout_s=2.0))
    net.advance(1.9)
    assert len(client.of(LaneWanted)) == 1
    net.advance(0.5)
    assert len(client.of(LaneWanted)) == 2
    net.mute.clear()
    net.advance(3.0)
    assert client.core.is_cell_connected("server")


def test_frames_that_are_not_known_are_ignored() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, hello(), Announce("x", 1, 1, ()))
    assert [type(word) for word in said] == [Hello]


def test_a_listener_keeps_no_more_links_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.links.LINKS", 2)
    net = Net()
    server = net.node("server")
    said = [greet(net, server, hello(name))[1][-1] for name in ("a", "b", "c")]
    assert isinstance(said[2], Goodbye)
    assert said[2].code is ErrorCode.LIMIT
    assert len(server.links) == 2
    greet(net, server, hello("a", incarnation=1, lane_number=2))
    assert len(server.links) == 2


# Further lanes.


def link_id_of(said: list[Frame]) -> bytes:
    (answer,) = [word for word in said if isinstance(word, Hello)]
    return answer.link_id


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
    _, said = greet(net, server, hello(), identity="good")
    bulk = hello(lane_number=2, lane_role=LaneRole.BULK, link_id=link_id_of(said), lanes_held=(1, 2))
    _, said = greet(net, server, bulk, identity="evil")
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


@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_bulk_that_waits_for_a_lane_which_is_closed_goes_by_the_next_one(sender_name: str) -> None:
    net = Net()
    server, client = net.pair()
    origin, target = (client, server) if sender_name == "client" else (server, client)
    origin.send(target.fqcn, LARGE)
    net.advance(client.config.idle_lane_s / 2)
    net.stuck.add((origin.fqcn, origin.lane(LaneRole.BULK)))
    stream_id = origin.send(target.fqcn, LARGE)
    net.advance(client.config.idle_lane_s)
    assert target.got(origin.key(stream_id)) == LARGE
    assert origin.finished(stream_id)


@pytest.mark.parametrize("sender_name", ["client", "server"])
def test_bulk_that_was_given_up_meanwhile_asks_for_no_lane(sender_name: str) -> None:
    net = Net()
    server, client = net.pair()
    origin, target = (client, server) if sender_name == "client" else (server, client)
    origin.send(target.fqcn, LARGE)
    net.advance(client.config.idle_lane_s / 2)
    net.stuck.add((origin.fqcn, origin.lane(LaneRole.BULK)))
    stream_id = origin.send(target.fqcn, LARGE)
    origin.core.cancel_send(stream_id, "not wanted any more", net.now)
    net.advance(client.config.idle_lane_s)
    assert roles(client) == roles(server) == ["control"]
    assert len([event for event in client.of(LaneWanted) if event.role is LaneRole.BULK]) == 1


def test_a_bulk_lane_that_is_used_stays() -> None:
    net = Net()
    _server, client = net.pair()
    for _ in range(10):
        client.send("server", LARGE)
        net.advance(client.config.idle_lane_s / 2)
    assert len([event for event in client.of(LaneWanted) if event.role is LaneRole.BULK]) == 1


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
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", SMALL)
    net.run()
    old = net.peers["client", client.lane()][1]
    net.cut_half("client", client.lane())
    net.advance(1.0)
    assert ("server", old) not in net.peers
    server.core.release(client.key(stream_id), net.now)
    net.run()
    assert client.finished(stream_id)


# Breaks.


def test_a_link_survives_its_lanes() -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    for _ in range(5):
        net.cut_all()
        net.advance(1.0)
    assert server.core.is_cell_connected("client")
    for node in (server, client):
        assert len(node.of(CellConnected)) == 1
        assert node.of(CellDisconnected) == []
    assert client.core.stats().reconnects == 5
    assert client.links[0].last_break == "cut"


def test_the_first_retry_comes_within_200_ms_and_later_ones_within_5_s() -> None:
    net = Net()
    _server, client = net.pair()
    net.refuse_dials.add("server")
    net.cut_all()
    net.run()
    times = [net.now]
    for _ in range(15):
        before = len(client.of(LaneWanted))
        net.run_until(lambda before=before: len(client.of(LaneWanted)) > before)  # type: ignore[misc]
        times.append(net.now)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 0.1 <= waits[0] <= 0.2
    assert all(wait <= 5.0 for wait in waits)
    assert min(waits[-5:]) >= 2.5
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_everything_goes_by_a_bulk_lane_while_the_control_lane_is_broken(data: bytes) -> None:
    net = Net()
    server, client = net.pair()
    client.send("server", LARGE)
    net.run()
    net.refuse_dials.add("server")
    net.cut("client", client.lane())
    net.run()
    assert roles(client) == ["bulk"]
    for origin, target in ((client, "server"), (server, "client")):
        stream_id = origin.send(target, data)
        net.run()
        assert origin.finished(stream_id)


def test_an_uplink_that_answers_with_another_name_is_another_link() -> None:
    net = Net()
    _server, client = net.pair()
    other = net.node("other")
    client.dials[0] = "other"
    net.cut_all()
    net.advance(1.0)
    assert [link.fqcn for link in client.links] == ["other"]
    assert [event.fqcn for event in client.of(CellDisconnected)] == ["server"]
    assert other.core.is_cell_connected("client")


def test_two_uplinks_that_lead_to_one_cell_are_one_link() -> None:
    net = Net()
    _server, client = net.pair()
    client.connect("server")
    net.advance(0.05)
    assert [link.fqcn for link in client.links] == ["server"]


def test_a_cell_that_is_the_uplink_cannot_dial_in() -> None:
    net = Net()
    server, client = net.pair()
    server.connect("client")
    net.run()
    (refusal,) = server.refusals()
    assert isinstance(refusal.error, NameInUse)
    assert server.core.is_cell_connected("client")
    assert client.core.is_cell_connected("server")


# Goodbyes.


@pytest.mark.parametrize(
    ("code", "error", "final"),
    [
        (ErrorCode.AUTHENTICATION, AuthenticationError, True),
        (ErrorCode.PROTOCOL, ProtocolError, True),
        (ErrorCode.VERSION, ProtocolError, True),
        (ErrorCode.LIMIT, LinkError, True),
        (ErrorCode.NAME_IN_USE, NameInUse, False),
    ],
)
def test_a_goodbye_says_why_and_whether_for_good(code: ErrorCode, error: type[CellError], final: bool) -> None:
    net = Net()
    _server, client = net.pair()
    client.core.receive(client.lane(), [Goodbye(code, "because")], net.now)
    net.advance(100.0)
    (refusal,) = client.refusals()
    assert (type(refusal.error), str(refusal.error), refusal.final) == (error, "because", final)
    assert [event.fqcn for event in client.of(CellDisconnected)] == ["server"]
    assert client.core.is_cell_connected("server") != final


def test_a_goodbye_without_a_code_ends_the_lane_only() -> None:
    net = Net()
    _server, client = net.pair()
    client.core.receive(client.lane(), [Goodbye(ErrorCode.UNSPECIFIED, "draining")], net.now)
    net.advance(1.0)
    assert client.core.is_cell_connected("server")
    assert client.of(CellDisconnected) == []
    assert client.refusals() == []


def test_a_listener_that_stops_is_dialled_again() -> None:
    net = Net()
    server, client = net.pair()
    server.core.stop(net.now)
    net.run()
    assert [event.fqcn for event in client.of(CellDisconnected)] == ["server"]
    assert client.refusals() == []
    net.restart("server")
    net.advance(10.0)
    assert client.core.is_cell_connected("server")


def test_a_dialler_that_stops_is_gone_at_once() -> None:
    net = Net()
    server, client = net.pair()
    client.core.stop(net.now)
    net.run()
    assert server.links == ()


def test_a_refusal_by_the_carrier_is_for_good() -> None:
    net = Net()
    client = net.node("client")
    client.core.add_uplink(net.now)
    wanted = client.core.next_event()
    assert isinstance(wanted, LaneWanted)
    client.core.lane_closed(wanted.lane_id, "certificate", AuthenticationError("no certificate"), net.now)
    net.advance(100.0)
    (refusal,) = client.refusals()
    assert refusal.final
    assert client.of(LaneWanted) == []


def test_reports_about_lanes_that_are_gone_are_ignored() -> None:
    net = Net()
    _server, client = net.pair()
    for lane_id in (99, client.lane()):
        client.core.lane_connected(lane_id, "", "", net.now)
    client.core.lane_closed(99, "", None, net.now)
    client.core.receive(99, [Ping(1)], net.now)
    assert client.core.frames_to_send(99, net.now) == []
    net.run()
    assert client.core.is_cell_connected("server")


def test_frames_on_a_lane_that_was_dropped_are_ignored() -> None:
    net = Net()
    server = net.node("server")
    first, said = greet(net, server, hello())
    greet(net, server, hello(lane_number=2, link_id=link_id_of(said), lanes_held=(2,)))
    server.core.receive(first, [Query(1, "client", "", False, 16), Ping(1)], net.now)
    assert server.core.frames_to_send(first, net.now) == []
    assert server.core.frames_to_send(2, net.now) == []


# Claims of a held name.


def claimed(net: Net, server: Node, client: Node) -> Node:
    """Let a second cell of the same name dial in; the first goes on under another name in the net."""
    net.nodes["holder"] = net.nodes.pop("client")
    for here, there in list(net.peers.items()):
        if here[0] == "client":
            net.peers["holder", here[1]] = net.peers.pop(here)
            net.roles["holder", here[1]] = net.roles.pop(here)
        elif there[0] == "client":
            net.peers[here] = ("holder", there[1])
    client.fqcn = "holder"
    newcomer = net.node("client")
    newcomer.connect("server")
    return newcomer


@pytest.mark.parametrize("newer", [True, False])
def test_the_second_cell_of_a_name_is_refused_while_the_first_answers(newer: bool) -> None:
    net = Net()
    server, client = net.pair()
    if newer:
        newcomer = claimed(net, server, client)
    else:
        net = Net()
        server, client = net.node("server"), net.node("client", incarnation=10**9)
        client.connect("server")
        net.run()
        newcomer = claimed(net, server, client)
    net.run()
    error = newcomer.refusals()[0].error
    assert isinstance(error, NameInUse)
    assert "from-client" in str(error)
    assert not newcomer.refusals()[0].final
    assert server.links[0].incarnation == client.incarnation
    net.advance(51.0)
    assert len(newcomer.refusals()) in (10, 11, 12)
    assert client.of(CellDisconnected) == []


def test_it_gets_the_name_when_the_first_has_gone() -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.run()
    client.core.stop(net.now)
    net.advance(6.0)
    assert newcomer.core.is_cell_connected("server")
    assert server.links[0].incarnation == newcomer.incarnation


@pytest.mark.parametrize("way", ["stops", "breaks"])
def test_a_holder_that_goes_while_it_is_asked_leaves_the_name_at_once(way: str) -> None:
    net = Net()
    server, client = net.pair()
    other = net.node("other")
    other.connect("server")
    newcomer = claimed(net, server, client)
    net.mute.add("holder")
    net.run()
    net.cut("other", other.lane())
    net.advance(0.5)
    assert server.links[0].incarnation == client.incarnation
    net.mute.clear()
    if way == "stops":
        client.core.stop(net.now)
    else:
        net.cut("holder", net.lanes("holder")[0])
    net.advance(0.1)
    assert newcomer.core.is_cell_connected("server")


@pytest.mark.parametrize("patience_s", [2.5, 2.95, 3.0, 10.0])
def test_a_holder_that_is_silent_for_3_seconds_loses_the_name(patience_s: float) -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.nodes.pop("client")
    newcomer = net.node("client", CellConfig(dial_timeout_s=patience_s))
    newcomer.connect("server")
    net.mute.add("holder")
    net.run()
    net.advance(2.9)
    assert server.links[0].incarnation == client.incarnation
    net.advance(1.5)
    assert server.links[0].incarnation == newcomer.incarnation
    assert newcomer.core.is_cell_connected("server")
    assert [event.fqcn for event in server.of(CellDisconnected)] == ["client"]
    assert len(server.of(CellConnected)) == 2


def test_a_newcomer_that_gives_up_leaves_the_name_alone() -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.mute.add("holder")
    net.run_until(lambda: bool(net.sent("server", Query)))
    net.kill("client")
    net.advance(5.0)
    assert server.links[0].incarnation == client.incarnation
    assert newcomer.links == ()


def test_of_two_newcomers_only_one_gets_the_name() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(incarnation=1))
    first, _ = greet(net, server, hello(incarnation=2))
    second, _ = greet(net, server, hello(incarnation=3))
    net.advance(3.1)
    assert [type(frame) for frame in server.core.frames_to_send(first, net.now)][:1] == [Hello]
    assert server.links[0].incarnation == 2
    assert [(lane_id, frame.code) for _, lane_id, frame in net.carried if isinstance(frame, Goodbye)] == [
        (second, ErrorCode.NAME_IN_USE)
    ]


def test_a_newcomer_with_two_lanes_gets_the_name_with_one() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(incarnation=1))
    _first, _ = greet(net, server, hello(incarnation=2))
    second, _ = greet(net, server, hello(incarnation=2, lane_number=2))
    net.advance(3.1)
    assert (server.links[0].incarnation, len(server.links[0].lanes)) == (2, 1)
    assert second in [event.lane_id for event in server.of(LaneDropped)]


def test_a_claim_that_is_long_past_is_asked_anew() -> None:
    net = Net()
    server = net.node("server")
    holder, _ = greet(net, server, hello(incarnation=1))
    for _ in range(2):
        lane_id, _ = greet(net, server, hello(incarnation=2))
        server.core.lane_closed(lane_id, "gone", None, net.now)
        queries = [frame for frame in server.core.frames_to_send(holder, net.now) if isinstance(frame, Query)]
        assert len(queries) == 1
        server.core.receive(holder, [Pong(1)], net.now)
        net.advance(10.0)
        server.core.receive(holder, [Pong(1)], net.now)
        net.advance(10.0)
        server.core.receive(holder, [Pong(1)], net.now)
    assert server.links[0].incarnation == 1


def test_a_name_whose_holder_has_no_lane_is_taken_over_at_once() -> None:
    net = Net()
    server, _client = net.pair()
    newer = net.restart("client")
    net.run()
    assert newer.core.is_cell_connected("server")
    assert server.links[0].incarnation == newer.incarnation
    assert [event.fqcn for event in server.of(CellDisconnected)] == ["client"]


def test_the_same_life_without_its_link_id_takes_its_own_name_over_at_once() -> None:
    net = Net()
    _server, client = net.pair()
    client.connect("server")
    net.run()
    assert net.sent("server", Query) == []


def test_an_answer_to_a_question_that_was_not_asked_is_ignored() -> None:
    net = Net()
    server, client = net.pair()
    newcomer = claimed(net, server, client)
    net.mute.add("holder")
    net.run()
    server.core.receive(1, [QueryReply(4711, "server", "client", (), 16)], net.now)
    net.run()
    assert newcomer.refusals() == []


@pytest.mark.parametrize(("subject", "answered"), [("", True), ("server", True), ("other", False)])
def test_a_query_is_answered_by_whom_it_asks_for(subject: str, answered: bool) -> None:
    net = Net()
    server, _client = net.pair()
    server.core.receive(1, [Query(7, "client", subject, False, 16)], net.now)
    net.run()
    replies = net.sent("server", QueryReply)
    assert bool(replies) == answered
    if replies:
        info = replies[0].cells[0]
        assert (replies[0].query_id, info.fqcn, info.incarnation, info.software) == (
            7,
            "server",
            server.incarnation,
            "test",
        )


def test_a_lane_that_waits_for_its_name_is_not_listened_to() -> None:
    net = Net()
    server = net.node("server")
    greet(net, server, hello(incarnation=1))
    lane_id, said = greet(
        net, server, hello(incarnation=2), Query(1, "client", "", False, 16), Ping(5, settled_below=9)
    )
    assert said == [Pong(5)]
    server.core.receive(lane_id, [Goodbye(ErrorCode.UNSPECIFIED, "enough")], net.now)
    net.advance(5.0)
    assert server.links[0].incarnation == 1


def test_the_time_until_a_link_is_down_starts_anew_with_each_break() -> None:
    net = Net()
    server, _client = net.pair()
    net.cut_all()
    net.advance(10.0)
    net.refuse_dials.add("server")
    net.cut_all()
    net.advance(29.0)
    assert server.of(CellDisconnected) == []
    net.advance(2.0)
    assert len(server.of(CellDisconnected)) == 1


class Observer:
    def on_link_begun(self, link: Link, now: float) -> None: ...
    def on_lane_up(self, link: Link, now: float) -> None: ...
    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None: ...

    def is_outdated(self, frame: Frame) -> bool:
        return False

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None: ...
    def on_link_down(self, link: Link, now: float) -> None: ...


def test_an_idle_lane_that_the_other_side_dialled_is_its_to_close() -> None:
    table = LinkTable(make_context(), Observer())
    lane = table.lanes.open(LaneState.GREETING, LaneRole.BULK, 2, 0.0)
    table.on_lane_idle(lane, 100.0)
    assert lane.state is LaneState.GREETING


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


def test_an_answer_to_an_announcement_is_not_said_on_a_link_that_begins_anew() -> None:
    """The neighbour would take it for the answer to what it has not announced yet."""
    net = Net()
    server = net.node("server")
    routing = hello(capabilities=(ROUTES_CAPABILITY,))
    lane_id, _ = greet(net, server, routing, Announce("client", 1, 1, ("client",)))
    server.core.receive(lane_id, [Announce("below", 1, 1, ("below", "client"))], net.now)
    lane_id, said = greet(net, server, dataclasses.replace(routing, lane_number=2))
    assert [type(frame) for frame in said] == [Hello]
    server.core.receive(lane_id, [Announce("below", 1, 1, ("below", "client"))], net.now)
    assert server.core.frames_to_send(lane_id, net.now) == [AnnounceReply("below", 1, 1)]
