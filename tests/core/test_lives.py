"""Which life of a target gets a stream: the one that the attempt was meant for, or none."""

from __future__ import annotations

import dataclasses

import pytest

from streamcell.errors import StreamOutcomeUnknown
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Lost, LostReason, ResumeQuery, ResumeReply
from tests.core.harness import LARGE, SMALL, Net, Node
from tests.core.trees import tree

STAR = {"hub": "", "origin": "hub", "target": "hub"}
KINDS = [StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST]


def star(net: Net) -> dict[str, Node]:
    """Return hub, origin and target; the origin has heard of the life of the target that is there."""
    nodes = tree(net, STAR)
    stream_id = nodes["origin"].send("target", SMALL)
    net.advance(1.0)
    assert nodes["origin"].finished(stream_id)
    return nodes


def restart_unnoticed(net: Net) -> Node:
    """Let the target begin a new life, of which the origin hears nothing."""
    net.tamper = lambda name, frame: None if isinstance(frame, ResumeQuery) else frame
    target = net.restart("target")
    net.advance(1.0)
    net.tamper = None
    return target


def aims(net: Net, origin: str) -> list[int]:
    """Return which lives the attempts of a cell were meant for."""
    return [chunk.open.target_incarnation for chunk in net.sent(origin, Chunk) if chunk.open is not None]


def refusals(net: Net) -> list[str]:
    """Return the cells that refused what was meant for another life."""
    return [frame.reporter for frame in net.sent("target", Lost) if frame.reason is LostReason.OTHER_LIFE]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_a_path_held_back_is_not_delivered_to_the_next_life(kind: StreamKind) -> None:
    """The relay has forgotten the stream, and the next life of its target never knew it."""
    net = Net()
    nodes = star(net)
    origin, hub = nodes["origin"], nodes["hub"]
    stream_id = origin.send("target", SMALL, kind=kind)
    net.run()
    [late] = [chunk for chunk in net.sent("origin", Chunk) if chunk.key == origin.key(stream_id)]
    assert nodes["target"].got(origin.key(stream_id)) == SMALL
    target = net.restart("target")
    net.advance(10.0)
    hub.core.receive(net.peers["origin", origin.lane()][1], [dataclasses.replace(late)], net.now)
    net.advance(10.0)
    assert target.opened == {}
    assert refusals(net) == ["target"]
    assert origin.finished(stream_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_what_was_meant_for_a_life_that_is_over_goes_to_the_next(data: bytes, kind: StreamKind) -> None:
    """The origin cannot know that the target was restarted; nothing was delivered, so nothing is unknown."""
    net = Net()
    origin = star(net)["origin"]
    target = restart_unnoticed(net)
    stream_id = origin.send("target", data, kind=kind)
    net.advance(10.0)
    assert target.got(origin.key(stream_id)) == data
    assert origin.finished(stream_id)
    assert refusals(net) == ["target"]
    assert aims(net, "origin")[-1] == target.incarnation


def test_an_attempt_that_did_not_begin_is_meant_for_the_life_that_is_there_when_it_does() -> None:
    net = Net()
    server, client = net.pair()
    before = server.incarnation
    net.kill("server")
    stream_id = client.send("server", SMALL)
    server = net.node("server")
    net.advance(10.0)
    assert server.got(client.key(stream_id)) == SMALL
    assert server.incarnation != before
    assert aims(net, "client") == [server.incarnation]


def test_a_refusal_says_nothing_of_earlier_attempts() -> None:
    """The first life may have got all of the first attempt; that the second one was refused does not disprove it."""
    net = Net()
    nodes = star(net)
    origin = nodes["origin"]
    nodes["target"].auto_release = False
    stream_id = origin.send("target", SMALL)
    net.run()
    net.tamper = lambda name, frame: None if isinstance(frame, Chunk) else frame
    key = origin.key(stream_id)
    origin.core.receive(origin.lane(), [Lost(key, "target", 1, LostReason.LANE_LOST, "hub", 16)], net.now)
    net.run()
    target = restart_unnoticed(net)
    assert aims(net, "origin")[-2:] == [nodes["target"].incarnation] * 2
    origin.core.receive(origin.lane(), [Lost(key, "target", 2, LostReason.OTHER_LIFE, "target", 16)], net.now)
    net.advance(10.0)
    assert isinstance(origin.error(stream_id), StreamOutcomeUnknown)
    assert target.opened == {}


def test_what_a_life_has_nothing_of_may_go_to_the_next() -> None:
    """All was sent, and lost; the life that it was sent to said so, and ended before it was sent again."""
    net = Net()
    server, client = net.pair()
    net.tamper = lambda name, frame: None if isinstance(frame, Chunk) else frame
    stream_id = client.send("server", SMALL)
    net.run()
    assert net.sent("client", Chunk)[-1].last
    net.cut_all()
    net.run_until(lambda: bool(net.sent("server", ResumeReply)))
    net.tamper = None
    server = net.restart("server")
    net.advance(30.0)
    assert server.got(client.key(stream_id)) == SMALL
    assert client.finished(stream_id)
