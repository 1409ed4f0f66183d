"""Attempts that pass through a cell in the middle: where they begin, their ways, and what is said of lost ones."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, SHARED_LANE_IN_FLIGHT_BYTES
from streamcell.protocol.relaying.passing import RelayedStream
from streamcell.protocol.wire.frames import (
    Ack,
    Announce,
    Chunk,
    Credit,
    Frame,
    LaneRole,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    Withdraw,
)
from tests.core.harness import LARGE, SMALL, Net, Node, make_link
from tests.core.relays import chunk, line, losses
from tests.core.samples import make_context
from tests.core.trees import branches, receive, tree
from tests.kit.payloads import pattern


def test_what_begins_an_attempt_is_counted_and_what_follows_goes_on_as_it_came() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    first, second = chunk(root, "leaf"), chunk(root, "leaf", sequence=1, offset=len(SMALL), open=None)
    first, second = (dataclasses.replace(each, encoded=[b"as it came"]) for each in (first, second))
    receive(net, relay, "root", first, second, chunk(root, "leaf", stream_id=100, hops_left=0, open=None))
    net.run()
    passed_on = net.sent("relay", Chunk)
    assert [(passed.hops_left, passed.encoded) for passed in passed_on] == [(15, None), (16, [b"as it came"])]
    assert losses(net) == [(100, 1)]


def test_chunks_of_an_earlier_attempt_are_dropped_and_those_without_a_beginning_are_lost() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    receive(net, relay, "root", chunk(root, "leaf", attempt=3), chunk(root, "leaf", attempt=2))
    net.run()
    assert losses(net) == []
    receive(net, relay, "root", chunk(root, "leaf", attempt=4, open=None, sequence=7))
    receive(net, relay, "root", chunk(root, "leaf", stream_id=100, open=None, sequence=7))
    query = ResumeQuery(root.key(101), "leaf", 2, False, 16)
    receive(net, relay, "root", query, chunk(root, "leaf", stream_id=101, attempt=2, open=None, sequence=7))
    receive(net, relay, "root", chunk(root, "leaf", stream_id=101, attempt=2, open=None, sequence=8))
    receive(net, relay, "root", ResumeQuery(root.key(101), "leaf", 1, False, 16))
    net.run()
    assert losses(net) == [(99, 4), (100, 1), (101, 2)]


def test_chunks_that_arrive_out_of_order_are_forwarded_as_they_come_and_credit_follows_the_gap() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    receive(net, relay, "root", chunk(root, "leaf", payload=bytes(100_000)))
    net.run()
    for sequence in (2, 3):
        offset = sequence * 100_000
        receive(
            net, relay, "root", chunk(root, "leaf", payload=bytes(100), sequence=sequence, offset=offset, open=None)
        )
    net.run()
    (stream,) = relay.core.stats().relays
    assert stream.forwarded == 100_000
    receive(net, relay, "root", chunk(root, "leaf", payload=bytes(100_000), sequence=1, offset=100_000, open=None))
    net.run()
    assert relay.core.stats().relays[0].forwarded == 200_100


def test_chunks_of_one_attempt_that_come_another_way_are_lost() -> None:
    net = Net()
    nodes = branches(net)
    root, relay = nodes["root"], nodes["left"]
    receive(net, relay, "root", chunk(root, "left-leaf"))
    net.run()
    root.core.stop(net.now)
    net.run()
    assert relay.core.stats().relays == ()


def test_a_stream_says_what_it_is() -> None:
    net = Net()
    root, _relay, _leaf = line(net)
    near: Any = SimpleNamespace(context=make_context())
    stream = RelayedStream(near, chunk(root, "leaf"), make_link("a"), make_link("b"), net.now)
    assert "root to leaf WAITING" in repr(stream)


def test_a_stream_tells_its_loss_once_and_by_the_way_that_there_is() -> None:
    net = Net()
    root, _relay, _leaf = line(net)
    up, elsewhere = make_link("a"), make_link("c")
    near: Any = SimpleNamespace(context=make_context(), routes=SimpleNamespace(relay_hop=lambda fqcn: elsewhere))
    stream = RelayedStream(near, chunk(root, "leaf"), up, make_link("b"), net.now)
    up.outbox.note(stream)
    for reason in (LostReason.NO_ROUTE, LostReason.LANE_LOST):
        stream.lose(reason)
    # That of an attempt which has passed another way is told as well.
    stream.on_loss_beyond(Lost(stream.key, "leaf", 2, LostReason.CORRUPT, "leaf", 16), net.now)
    assert up.outbox.take(9, 1, net.now) == []
    (lost,) = elsewhere.outbox.take(9, 1, net.now)
    assert isinstance(lost, Lost)
    assert (lost.attempt, lost.reason, lost.reporter) == (2, LostReason.CORRUPT, "leaf")
    assert elsewhere.outbox.take(9, 1, net.now) == []


def test_a_question_that_is_asked_twice_is_passed_on_twice() -> None:
    net = Net()
    root, relay, leaf = line(net)
    net.mute.add("leaf")
    for _ in range(2):
        receive(net, relay, "root", ResumeQuery(root.key(99), "leaf", 2, False, 16))
        net.run()
    assert [query.attempt for query in net.sent("relay", ResumeQuery)] == [2, 2]
    assert len(net.sent("leaf", ResumeReply)) == 2
    assert leaf.core.stats().receives == ()


def test_a_last_word_that_comes_another_way_is_not_about_the_attempt_here() -> None:
    net = Net()
    root, _relay, _leaf = line(net)
    near: Any = SimpleNamespace(context=make_context())
    stream = RelayedStream(near, chunk(root, "leaf"), make_link("a"), make_link("b"), net.now)
    stream.on_last_word(make_link("c"))
    assert "WAITING" in repr(stream)


def test_a_probe_of_an_attempt_that_cannot_go_on_here_is_answered() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    receive(net, relay, "root", ResumeQuery(root.key(99), "leaf", 1, True, 16))
    net.run()
    assert losses(net) == [(99, 1)]
    receive(net, relay, "root", chunk(root, "leaf", attempt=2))
    receive(net, relay, "root", ResumeQuery(root.key(99), "leaf", 1, True, 16))
    receive(net, relay, "root", ResumeQuery(root.key(99), "leaf", 2, True, 16))
    net.run()
    assert losses(net) == [(99, 1)]
    receive(net, relay, "root", ResumeQuery(root.key(99), "leaf", 3, True, 16))
    net.run()
    assert losses(net) == [(99, 1), (99, 3)]


def test_a_beginning_that_was_forwarded_is_lost_with_its_lane_until_the_next_hop_gave_credit() -> None:
    net = Net()
    root, _relay, leaf = line(net)
    net.tamper = lambda name, frame: None if name == "leaf" and isinstance(frame, Credit) else frame
    stream_id = root.stream("leaf", None)
    net.advance(1.0)
    for lane_id in net.lanes("leaf"):
        net.cut("leaf", lane_id)
    net.tamper = None
    net.advance(1.0)
    assert (stream_id, 1) in losses(net)
    root.supply(stream_id, LARGE, end=True)
    net.advance(5.0)
    assert leaf.got(root.key(stream_id)) == LARGE


def lane_to(net: Net, name: str, peer: str, role: LaneRole = LaneRole.CONTROL) -> int:
    return next(
        lane_id
        for (here, lane_id), (there, _) in net.peers.items()
        if (here, there) == (name, peer) and net.roles[here, lane_id] is role
    )


def forget_leaf(net: Net, node: Node) -> None:
    """Have ``node`` hear that the leaf is not below it any more."""
    (announced,) = [frame for frame in net.sent("mid", Announce) if frame.fqcn == "leaf"][-1:]
    withdraw = Withdraw("leaf", announced.incarnation, announced.epoch)
    node.core.receive(lane_to(net, node.fqcn, "mid"), [withdraw], net.now)


def begin_slow_stream(net: Net, nodes: dict[str, Node]) -> int:
    nodes["other"].auto_read = False
    stream_id = nodes["leaf"].stream("other", pattern(4000 * KIB), piece=500 * KIB)
    net.run()
    return stream_id


def test_a_chunk_of_an_attempt_that_came_another_way_is_lost() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root", "mid": "relay", "leaf": "mid", "other": "relay"})
    key = nodes["leaf"].key(begin_slow_stream(net, nodes))
    relay = nodes["relay"]
    (passing,) = relay.core.stats().relays
    forget_leaf(net, relay)
    stray = Chunk(key, "other", passing.attempt, "c", "t", 99, passing.forwarded, False, 16, 0, b"x")
    relay.core.receive(lane_to(net, "relay", "root"), [stray], net.now)
    net.run()
    (lost,) = net.sent("relay", Lost)
    assert (lost.key, lost.attempt, lost.reason) == (key, passing.attempt, LostReason.LANE_LOST)


def test_a_loss_is_told_to_nobody_where_the_origin_cannot_be_reached() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "mid": "root", "leaf": "mid", "other": "root"})
    net.hold.add(("other", lane_to(net, "other", "root")))
    nodes["leaf"].stream("other", SMALL)
    net.run()
    assert [stream.forwarded for stream in nodes["root"].core.stats().relays] == [len(SMALL)]
    forget_leaf(net, nodes["root"])
    net.cut("root", lane_to(net, "root", "other"))
    assert [stream.state for stream in nodes["root"].core.stats().relays] == ["lost"]
    net.run()
    assert net.sent("root", Lost) == []


def test_what_was_never_sent_or_is_complete_is_not_given_up_anew() -> None:
    net = Net()
    root, _, leaf = line(net)
    stream_id = root.stream("leaf", LARGE)
    net.run()
    assert root.finished(stream_id)
    key = root.key(stream_id)
    frames: list[Frame] = [
        Ack(key, "leaf", 1, leaf.incarnation, len(LARGE), len(LARGE), True, 16),
        ResumeReply(key, "leaf", 1, leaf.incarnation, True, 0, 16),
        Ack(key._replace(stream_id=stream_id + 1), "leaf", 1, leaf.incarnation, 0, 0, False, 16),
    ]
    root.core.receive(root.lane(), frames, net.now)
    net.run()
    assert net.sent("root", Reset) == []
    root.core.receive(root.lane(), [ResumeReply(key, "leaf", 1, leaf.incarnation, False, 0, 16)], net.now)
    net.run()
    assert [frame.key for frame in net.sent("root", Reset)] == [key]
    assert leaf.got(key) == LARGE


def test_an_attempt_that_its_target_has_left_behind_does_not_hold_up_a_shared_lane() -> None:
    """The origin goes another way meanwhile, and so do the answers: the relay hears nothing of it any more."""
    net = Net()
    root, relay, leaf = line(net, bulk_lanes=0)
    receive(net, leaf, "relay", ResumeQuery(root.key(99), "leaf", 2, False, 16))
    net.run()
    receive(net, relay, "root", chunk(root, "leaf", payload=pattern(INITIAL_CREDIT_BYTES)))
    net.run()
    assert [stream.forwarded for stream in relay.core.stats().relays] == [INITIAL_CREDIT_BYTES]
    own = relay.send("leaf", LARGE)
    net.run()
    assert relay.finished(own)
    assert leaf.got(relay.key(own)) == LARGE


def test_a_stream_goes_on_at_an_agreed_offset_on_a_shared_lane() -> None:
    """Before the agreement its target has acknowledged 0 bytes, which says nothing about what it has."""
    net = Net()
    root, relay, leaf = line(net, bulk_lanes=0)
    receive(net, relay, "root", ResumeQuery(root.key(99), "leaf", 2, False, 16))
    receive(net, relay, "leaf", Ack(root.key(99), "leaf", 2, leaf.core.stats().incarnation, 0, 0, False, 16))
    offset = 2 * SHARED_LANE_IN_FLIGHT_BYTES
    receive(net, relay, "root", chunk(root, "leaf", attempt=2, offset=offset))
    net.run()
    assert [carried.offset for carried in net.sent("relay", Chunk)] == [offset]
