"""Links between two cells: greeting, breaks, and ends."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import AuthenticationError, CellError, ErrorCode, LinkError, NameInUse, ProtocolError
from streamcell.limits import MESSAGE_BYTES
from streamcell.protocol.base.events import CellConnected, CellDisconnected, LaneDropped, LaneWanted, ProtocolBroken
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.greeting import ROUTES_CAPABILITY
from streamcell.protocol.wire.frames import Announce, AnnounceReply, Frame, Goodbye, Hello, LaneRole, Ping, Query
from tests.core.by_hand import changing, greet, hello, link_id_of
from tests.core.harness import LARGE, SMALL, Net, Node, roles

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
    assert client.links == ()
    assert not server.core.is_cell_connected("client")
    # Nobody is given up for that: the other one may be mended.
    net.tamper = None
    net.advance(61.0)
    assert client.core.is_cell_connected("server")
    assert server.core.is_cell_connected("client")


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


@pytest.mark.parametrize("side", ["server", "client"])
def test_what_cannot_be_read_is_answered_by_why(side: str) -> None:
    """Both ends know the reason, and the link is made anew; it counts when it has lasted for a second."""
    net = Net()
    server, client = net.pair()
    cutter, culprit = (server, client) if side == "server" else (client, server)
    net.stuck.add((cutter.fqcn, cutter.lane()))
    cutter.core.reject_batch(cutter.lane(), "the size is odd", net.now)
    sentence = f"{cutter.fqcn} cannot read what {culprit.fqcn} sent: the size is odd"
    if side == "server":
        assert server.links[0].last_break == sentence
    net.stuck.clear()
    net.advance(100.0)
    goodbyes = net.sent(cutter.fqcn, Goodbye)
    assert [(goodbye.code, goodbye.sentence) for goodbye in goodbyes] == [(ErrorCode.PROTOCOL, sentence)]
    (refusal,) = client.refusals()
    assert (type(refusal.error), str(refusal.error), refusal.firm) == (ProtocolError, sentence, False)
    (broken,) = server.of(ProtocolBroken)
    assert (broken.fqcn, broken.sentence, broken.by_neighbour) == ("client", sentence, side == "server")
    assert len(client.of(LaneWanted)) == 2
    # The dialler hears of the end of the link; the listener has kept its name.
    assert (len(client.of(CellConnected)), len(client.of(CellDisconnected))) == (2, 1)
    assert server.of(CellDisconnected) == []
    assert server.core.is_cell_connected("client")


@pytest.mark.parametrize("side", ["server", "client"])
def test_two_that_cannot_read_each_other_three_times_in_a_minute_go_slowly(side: str) -> None:
    net = Net()
    server, client = net.pair()
    cutter = server if side == "server" else client

    def break_off() -> float:
        """Let one end find something unreadable; return how long it takes until there is a link again."""
        cutter.core.reject_batch(cutter.lane(), "the size is odd", net.now)
        net.run()
        began = net.now
        net.run_until(lambda: server.core.is_cell_connected("client") and client.core.is_cell_connected("server"))
        return net.now - began

    waits = []
    for pause_s in (1.0, 1.0, 70.0, 30.0, 31.0, 1.0):
        waits.append(break_off())
        net.advance(pause_s)
    assert [refusal.firm for refusal in client.refusals()] == [False, False, True, False, False, False]
    assert [wait_s <= 1.2 for wait_s in waits] == [True, True, False, True, True, True]
    assert 31.0 <= waits[2] <= 61.0


def test_a_link_that_proves_itself_does_so_through_a_break() -> None:
    net = Net()
    _, client = net.pair(CellConfig(link_down_s=0.5))
    client.core.reject_batch(client.lane(), "the size is odd", net.now)
    net.run()
    net.run_until(lambda: client.links != () and net.lanes("client") != [])
    client.seen.clear()
    net.cut_all()
    net.advance(0.9)
    assert client.of(CellConnected) == []
    net.advance(0.3)
    assert client.core.is_cell_connected("server")


def test_a_carrier_that_ends_does_not_hide_why_the_lane_was_cut() -> None:
    net = Net()
    server, client = net.pair()
    lane_id = server.lane()
    server.core.reject_batch(lane_id, "the size is odd", net.now)
    client.core.stop(net.now)
    server.core.lane_closed(lane_id, "closed here", None, net.now)
    assert server.links[0].last_break == "server cannot read what client sent: the size is odd"


def test_a_fault_is_told_once_for_each_link() -> None:
    net = Net()
    server = net.node("server")
    first, said = greet(net, server, hello())
    second, _ = greet(net, server, hello(lane_number=2, link_id=link_id_of(said), lanes_held=(1, 2)))
    for lane_id in (first, second, second, 99):
        server.core.reject_batch(lane_id, "the size is odd", net.now)
    net.run()
    assert [event.fqcn for event in server.of(ProtocolBroken)] == ["client"]


def test_a_stranger_that_cannot_be_read_is_told_why() -> None:
    net = Net()
    server = net.node("server")
    lane_id = server.core.lane_accepted(CarrierInfo("test", "stranger"), net.now)
    server.core.reject_batch(lane_id, "noise", net.now)
    (goodbye,) = server.core.frames_to_send(lane_id, net.now)
    assert goodbye == Goodbye(ErrorCode.PROTOCOL, "server cannot read what stranger sent: noise")
    server.settle_events()
    assert server.of(ProtocolBroken) == [ProtocolBroken("", "stranger", str(goodbye.sentence), True)]


def test_a_goodbye_instead_of_a_hello_ends_the_lane() -> None:
    net = Net()
    server = net.node("server")
    _, said = greet(net, server, Goodbye(ErrorCode.STOPPING, "oh well"))
    assert said == []
    assert [event.flush for event in server.of(LaneDropped)] == []
    net.run()
    assert len(server.of(LaneDropped)) == 1


def test_a_listener_waits_for_a_hello_no_longer_than_its_limit() -> None:
    net = Net()
    server = net.node("server", CellConfig(hello_timeout_s=2.0))
    server.core.lane_accepted(CarrierInfo("test", "silent"), net.now)
    net.advance(1.9)
    assert server.of(LaneDropped) == []
    net.advance(0.2)
    assert len(server.of(LaneDropped)) == 1


def test_a_dialler_waits_for_a_hello_no_longer_either() -> None:
    net = Net()
    net.mute.add("server")
    _, client = net.pair(CellConfig(hello_timeout_s=2.0))
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


def test_a_listener_keeps_no_more_links_than_its_limit() -> None:
    net = Net()
    server = net.node("server", CellConfig(max_cells=2))
    said = [greet(net, server, hello(name))[1][-1] for name in ("a", "b", "c")]
    assert isinstance(said[2], Goodbye)
    assert said[2].code is ErrorCode.LIMIT
    assert len(server.links) == 2
    assert "max_cells" in said[2].sentence
    greet(net, server, hello("a", incarnation=1, lane_number=2))
    assert len(server.links) == 2


def test_a_link_has_no_more_lanes_than_its_limit() -> None:
    net = Net()
    server = net.node("server")
    link_id = link_id_of(greet(net, server, hello("a"))[1])
    answers: list[Frame] = []
    for number in range(2, 19):
        held = tuple(range(1, number))
        more = hello("a", lane_number=number, lane_role=LaneRole.BULK, link_id=link_id, lanes_held=held)
        answers.append(greet(net, server, more)[1][-1])
    assert all(isinstance(answer, Hello) for answer in answers[:15])
    assert {answer.code for answer in answers[15:] if isinstance(answer, Goodbye)} == {ErrorCode.LIMIT}


def test_a_listener_that_is_short_of_something_takes_only_those_that_have_a_link() -> None:
    net = Net()
    server = net.node("server")
    link_id = link_id_of(greet(net, server, hello("a"))[1])
    server.core.note_shortage("server is short of something")
    said = greet(net, server, hello("b"))[1][-1]
    assert isinstance(said, Goodbye)
    assert (said.code, said.sentence) == (ErrorCode.LIMIT, "server is short of something")
    assert isinstance(greet(net, server, hello("a", link_id=link_id, lane_number=2))[1][-1], Hello)
    server.core.note_shortage("")
    assert isinstance(greet(net, server, hello("b"))[1][-1], Hello)


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


def test_the_first_retry_comes_within_200_ms_the_next_within_5_s_and_later_ones_within_30_s() -> None:
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
    assert all(wait <= 5.0 for wait in waits[:6])
    assert all(wait <= 30.0 for wait in waits)
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
    client.dials[0] = ("other",)
    net.cut_all()
    net.advance(1.0)
    assert [link.fqcn for link in client.links] == ["other"]
    assert [(event.fqcn, event.left) for event in client.of(CellDisconnected)] == [("server", False)]
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


def test_an_answer_to_an_announcement_is_not_said_on_a_link_that_begins_anew() -> None:
    """The neighbour would take it for the answer to what it has not announced yet."""
    net = Net()
    server = net.node("server")
    routing = hello(capabilities=(ROUTES_CAPABILITY,))
    lane_id, _ = greet(net, server, routing, Announce("client", 1, 1, ("client",)))
    server.core.receive(lane_id, [Announce("below", 1, 1, ("below", "client"))], net.now)
    server.core.lane_closed(lane_id, "cut", None, net.now)
    lane_id, said = greet(net, server, dataclasses.replace(routing, lane_number=2))
    assert [type(frame) for frame in said] == [Hello]
    server.core.receive(lane_id, [Announce("below", 1, 1, ("below", "client"))], net.now)
    assert server.core.frames_to_send(lane_id, net.now) == [AnnounceReply("below", 1, 1)]


# Goodbyes.


@pytest.mark.parametrize(
    ("code", "error", "waits_s"),
    [
        (ErrorCode.AUTHENTICATION, AuthenticationError, 5.0),
        (ErrorCode.PROTOCOL, ProtocolError, 1.2),
        (ErrorCode.VERSION, ProtocolError, 5.0),
        (ErrorCode.LIMIT, LinkError, 30.0),
        (ErrorCode.INTERNAL, LinkError, 5.0),
        (ErrorCode.NAME_IN_USE, NameInUse, 5.0),
    ],
)
def test_a_goodbye_says_why_a_link_is_over_and_is_never_the_end(
    code: ErrorCode, error: type[CellError], waits_s: float
) -> None:
    net = Net()
    _server, client = net.pair()
    client.core.receive(client.lane(), [Goodbye(code, "because")], net.now)
    began = net.now
    net.run()
    (refusal,) = client.refusals()
    assert (type(refusal.error), str(refusal.error), refusal.firm) == (error, "because", False)
    assert [event.fqcn for event in client.of(CellDisconnected)] == ["server"]
    assert not client.core.is_cell_connected("server")
    net.run_until(lambda: client.core.is_cell_connected("server"))
    assert net.now - began <= waits_s


@pytest.mark.parametrize(
    ("code", "firm", "waits_s"),
    [
        (ErrorCode.AUTHENTICATION, True, (30.0, 60.0)),
        (ErrorCode.VERSION, True, (30.0, 60.0)),
        (ErrorCode.LIMIT, False, (15.0, 30.0)),
        (ErrorCode.INTERNAL, False, (0.1, 0.2)),
        (ErrorCode.PROTOCOL, False, (1.1, 1.2)),
        (ErrorCode.STOPPING, None, (0.1, 0.2)),
        (ErrorCode.NAME_IN_USE, False, (5.0, 5.0)),
    ],
)
def test_a_goodbye_instead_of_a_hello(code: ErrorCode, firm: bool | None, waits_s: tuple[float, float]) -> None:
    net = Net()
    net.node("server")
    net.mute.add("server")
    client = net.node("client")
    client.connect("server")
    net.run()
    client.core.receive(client.lane(), [Goodbye(code, "because")], net.now)
    net.mute.clear()
    began = net.now
    net.run()
    assert [refusal.firm for refusal in client.refusals()] == ([] if firm is None else [firm])
    net.run_until(lambda: client.core.is_cell_connected("server"))
    assert waits_s[0] <= net.now - began <= waits_s[1] + 0.001


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


def refuse_dials(net: Net, node: Node) -> None:
    """Answer what a node dials as something does that is no cell."""
    error = AuthenticationError("HTTP status 403")
    net.on_dial = lambda wanted: node.core.lane_closed(wanted.lane_id, "HTTP status 403", error, net.now)


def test_what_refuses_and_is_no_cell_is_dialled_again_slowly() -> None:
    net = Net()
    client = net.node("client")
    refuse_dials(net, client)
    client.connect("server")
    net.run()
    for _ in range(3):
        (refusal,) = client.refusals()
        assert refusal.firm
        client.seen.clear()
        began = net.now
        net.run_until(lambda: client.refusals() != [])
        assert 30.0 <= net.now - began <= 60.0


def test_who_waits_for_what_refuses_has_it_dialled_after_the_usual_wait() -> None:
    net = Net()
    client = net.node("client")
    refuse_dials(net, client)
    number = client.connect("server")
    net.run()
    client.seen.clear()
    client.core.hurry_uplink(number, net.now)
    net.run()
    assert client.of(LaneWanted) == []
    net.advance(0.2)
    assert [refusal.firm for refusal in client.refusals()] == [True]


def test_what_refuses_where_a_cell_was_is_dialled_as_often_as_what_is_down() -> None:
    net = Net()
    _server, client = net.pair()
    refuse_dials(net, client)
    net.cut_all()
    net.advance(100.0)
    assert {refusal.firm for refusal in client.refusals()} == {False}
    assert client.of(CellDisconnected) != []
    net.on_dial = None
    net.advance(30.0)
    assert client.core.is_cell_connected("server")


def test_a_bulk_lane_that_something_refuses_costs_no_link() -> None:
    net = Net()
    _server, client = net.pair()
    refuse_dials(net, client)
    stream_id = client.send("server", LARGE)
    net.advance(10.0)
    assert client.finished(stream_id)
    assert client.refusals() == []
    assert client.of(CellDisconnected) == []


def test_reports_about_lanes_that_are_gone_are_ignored() -> None:
    net = Net()
    _server, client = net.pair()
    for lane_id in (99, client.lane()):
        client.core.lane_connected(lane_id, CarrierInfo("test", ""), net.now)
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
