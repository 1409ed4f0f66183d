"""What a far target holds of a stream or a life of an origin that is over, and how it hears of that."""

from __future__ import annotations

from typing import Any

import pytest

from streamcell.errors import ErrorCode, StreamCancelled
from streamcell.limits import KIB
from streamcell.protocol.base.events import ReceiveFailed, StreamAdopted
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, AnnounceReply, Lost, Reset, ResumeQuery, ResumeReply
from tests.core.harness import LARGE, Net, Node
from tests.core.trees import receive, tree
from tests.kit.payloads import pattern

FAR = {"root": "", "origin": "root", "target": "root"}


def hold_memory(net: Net) -> dict[str, Node]:
    """Let an origin that is no neighbour of the target be killed in the middle of a request, and come back."""
    nodes = tree(net, FAR, request_budget_bytes=200 * KIB)
    held: dict[str, Any] = {"kind": StreamKind.REQUEST, "size": 150 * KIB, "idle_timeout_s": 40.0}
    nodes["origin"].send("target", pattern(100 * KIB), end=False, **held)
    net.advance(1.0)
    nodes["origin"] = net.restart("origin")
    net.advance(1.0)
    return nodes


def life_signs(net: Net) -> list[tuple[int, str]]:
    """Return the frames, by number, and the cells that put on a lane what concerns no stream."""
    return [
        (number, name)
        for number, (name, _, frame) in enumerate(net.carried, 1)
        if isinstance(frame, ResumeQuery) and frame.key.stream_id == 0
    ]


def test_memory_that_a_far_origin_held_is_free_when_the_target_hears_of_its_next_life() -> None:
    net = Net()
    nodes = hold_memory(net)
    root, target = nodes["root"], nodes["target"]
    target.answer = lambda data: data[:10]
    ids = [root.request("target", pattern(140 * KIB)) for _ in range(3)]
    net.advance(5.0)
    assert [receive.origin for receive in target.core.stats().receives] == ["origin"]
    # The life sign of a target: a quarter of the idle timeout.
    net.advance(5.0)
    assert [root.replies(stream_id) for stream_id in ids] == [[pattern(140 * KIB)[:10]]] * 3
    (failed,) = target.of(ReceiveFailed)
    assert failed.error.code is ErrorCode.RESUME
    assert target.core.stats().receives == ()
    # It concerns no stream, so nobody answers it.
    assert [name for _, name in life_signs(net)] == ["origin", "root"]
    assert [frame for kind in (Lost, Reset) for name in net.nodes for frame in net.sent(name, kind)] == []


@pytest.mark.parametrize("hop", [0, 1])
def test_a_life_sign_whose_lane_breaks_is_said_again(hop: int) -> None:
    """Without being asked for again."""

    def hear_once() -> tuple[Net, dict[str, Node]]:
        net = Net()
        nodes = hold_memory(net)
        net.tamper = lambda name, frame: None if isinstance(frame, Ack | ResumeReply) else frame
        origin, target = nodes["origin"], nodes["target"]
        key = origin.key(1)._replace(origin_incarnation=origin.incarnation - 1)
        receive(net, origin, "root", Ack(key, "target", 1, target.incarnation, 0, 0, False, 16))
        return net, nodes

    net, nodes = hear_once()
    net.advance(3.0)
    assert nodes["target"].core.stats().receives == ()
    cut_at = life_signs(net)[hop][0]
    net, nodes = hear_once()
    net.cut_at = {cut_at}
    net.advance(3.0)
    assert len(life_signs(net)) == 3
    assert nodes["target"].core.stats().receives == ()


def test_a_named_stream_of_a_far_origin_waits_for_its_next_life() -> None:
    net = Net()
    nodes = tree(net, FAR)
    target = nodes["target"]
    named: dict[str, Any] = {"resume_id": "r", "source_stamp": b"s", "idle_timeout_s": 40.0, "size": len(LARGE)}
    keys = []
    for fields in (named, {**named, "resume_id": ""}):
        stream_id = nodes["origin"].stream("target", LARGE[: 300 * KIB], end=False, **fields)
        keys.append(nodes["origin"].key(stream_id))
    net.advance(1.0)
    origin = net.restart("origin")
    net.advance(11.0)
    assert [failed.key for failed in target.of(ReceiveFailed)] == keys[1:]
    again = origin.stream("target", LARGE, **named)
    net.advance(1.0)
    assert target.got(origin.key(again)) == LARGE
    assert StreamAdopted(keys[0], origin.key(again)) in target.seen


@pytest.mark.parametrize("frame_type", [Ack, ResumeReply])
def test_only_what_is_about_another_life_is_answered_and_only_where_there_is_a_way(
    frame_type: type[Ack | ResumeReply],
) -> None:
    net = Net()
    nodes = tree(net, FAR)
    origin, target = nodes["origin"], nodes["target"]

    def answers(incarnation: int) -> int:
        before = len(life_signs(net))
        key = origin.key(1)._replace(origin_incarnation=incarnation)
        known = target.incarnation
        frame = (
            Ack(key, "target", 1, known, 0, 0, False, 16)
            if frame_type is Ack
            else ResumeReply(key, "target", 1, known, False, 0, 16)
        )
        receive(net, net.nodes["origin"], "root", frame)
        net.run()
        return len(life_signs(net)) - before

    # By way of the root.
    assert answers(origin.incarnation - 1) == 2
    assert answers(origin.incarnation) == 0
    assert answers(origin.incarnation + 1) == 2
    net.tamper = lambda name, frame: None if isinstance(frame, AnnounceReply) else frame
    net.restart("origin")
    net.run()
    assert answers(origin.incarnation) == 0


@pytest.mark.parametrize("name", ["origin", "relay"])
def test_a_target_that_missed_the_end_of_its_stream_is_told_when_it_is_heard(name: str) -> None:
    """The one that gives a stream up, or a relay, knows no way to the target then; nothing would repeat the Reset."""
    net = Net()
    nodes = tree(
        net,
        {"root": "", "relay": "root", "leaf": "relay"}
        if name == "origin"
        else {"hub": "", "root": "hub", "leaf": "hub"},
    )
    origin, target = nodes["root"], nodes["leaf"]
    (parent,) = target.dials[0]
    stream_id = origin.stream("leaf", LARGE, idle_timeout_s=0.0)
    target.auto_read = False
    net.advance(1.0)
    target.dials[0] = ("nowhere",)
    net.restart(parent)
    net.advance(1.0)
    assert origin.core.is_cell_reachable("leaf") is (name == "relay")
    origin.core.cancel_send(stream_id, "not wanted any more", net.now)
    net.advance(1.0)
    assert len(net.sent("root", Reset)) == (name == "relay")
    target.dials[0] = (parent,)
    net.advance(10.0)
    error = target.receive_error(origin.key(stream_id))
    assert isinstance(error, StreamCancelled)
    assert str(error) == f"root has settled stream {stream_id}"
    assert target.core.stats().receives == ()
    assert net.nodes[parent].core.stats().relays == ()
