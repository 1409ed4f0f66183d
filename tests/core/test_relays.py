"""Streams that pass through cells in the middle: credit, breaks, restarts, fairness, and what is refused."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from streamcell.errors import ErrorCode, StreamCancelled
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MESSAGE_BYTES, SHARED_LANE_IN_FLIGHT_BYTES
from streamcell.protocol.base.events import FrameRefused
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.greeting import ROUTES_CAPABILITY
from streamcell.protocol.relaying.passing import RelayedStream
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Announce,
    Chunk,
    Credit,
    Frame,
    Hello,
    LaneRole,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
    Withdraw,
)
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.by_hand import greet, hello
from tests.core.harness import LARGE, SMALL, Net, Node, checksum, make_link
from tests.core.samples import make_context, make_open
from tests.core.trees import branches, receive, tree
from tests.kit.payloads import pattern

LINE = {"root": "", "relay": "root", "leaf": "relay"}


def line(net: Net, **config: int) -> tuple[Node, Node, Node]:
    nodes = tree(net, LINE, **config)
    return nodes["root"], nodes["relay"], nodes["leaf"]


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
@pytest.mark.parametrize("down", [True, False], ids=["down", "up"])
def test_cut_anywhere_everything_arrives_once(kind: StreamKind, down: bool) -> None:
    """The n-th frame that any cell sends is lost with its lane, for every n."""
    net = Net()
    run_one(net, kind, down=down)
    frames = len(net.carried)
    for cut_at in range(1, frames + 1):
        net = Net()
        net.cut_at = {cut_at}
        run_one(net, kind, down=down)


def run_one(net: Net, kind: StreamKind, *, down: bool) -> None:
    root, relay, leaf = line(net, chunk_bytes=128 * KIB)
    net.advance(1.0)
    origin, target = (root, leaf) if down else (leaf, root)
    data = pattern(600 * KIB)
    stream_id = origin.send(target.fqcn, data, kind=kind)
    net.advance(30.0)
    assert origin.finished(stream_id), f"cut at {net.cut_at}: {origin.outcomes(stream_id)} {origin.core.stats()}"
    assert target.got(origin.key(stream_id)) == data
    assert relay.core.stats().relays == ()


@pytest.mark.parametrize("name", ["root", "relay"])
def test_streams_go_on_through_a_restart_in_the_middle(name: str) -> None:
    net = Net()
    nodes = branches(net)
    origin, target = nodes["left-leaf"], nodes["right-leaf"]
    middle = {"root": "root", "relay": "left"}[name]
    ids = [origin.stream("right-leaf", None) for _ in range(20)]
    blobs = [origin.send("right-leaf", pattern(INITIAL_CREDIT_BYTES * 2 + number)) for number in range(20)]
    for stream_id in ids:
        origin.supply(stream_id, LARGE)
    for _ in range(4):
        net.step()
    net.restart(middle)
    net.advance(10.0)
    for stream_id in ids:
        origin.supply(stream_id, SMALL, end=True)
    net.advance(10.0)
    for stream_id in ids:
        assert target.got(origin.key(stream_id)) == LARGE + SMALL
    assert all(origin.finished(stream_id) for stream_id in [*ids, *blobs])


def test_a_slow_reader_costs_the_relay_a_window_and_holds_up_nobody() -> None:
    net = Net()
    root, relay, leaf = line(net, read_ahead_bytes=10_000 * KIB)
    leaf.auto_read = False
    slow = root.stream("leaf", pattern(8000 * KIB), piece=1000 * KIB)
    net.run()
    (held,) = relay.core.stats().relays
    assert held.held_bytes <= held.window_bytes + 1024 * KIB
    assert held.window_bytes <= 4 * INITIAL_CREDIT_BYTES
    fast = root.send("leaf", LARGE)
    net.run()
    assert root.finished(fast)
    key = root.key(slow)
    for _ in range(100):
        leaf.read(key)
        net.run()
        assert all(stream.held_bytes <= stream.window_bytes + 1024 * KIB for stream in relay.core.stats().relays)
        if root.finished(slow):
            break
    assert leaf.got(key) == pattern(8000 * KIB)


def test_a_full_budget_shrinks_windows_and_drops_nothing() -> None:
    net = Net()
    root, relay, _leaf = line(net, receive_budget_bytes=512 * KIB, read_ahead_bytes=4000 * KIB)
    data = pattern(3000 * KIB)
    ids = [root.stream("leaf", data, piece=500 * KIB) for _ in range(10)]
    most = 0
    while net.step():
        streams = relay.core.stats().relays
        most = max(most, sum(stream.window_bytes - INITIAL_CREDIT_BYTES for stream in streams))
    assert all(root.finished(stream_id) for stream_id in ids)
    assert 0 < most <= 512 * KIB
    assert root.core.stats().bytes_retransmitted == 0


def test_small_streams_go_on_the_control_lane_of_each_hop_and_large_ones_do_not() -> None:
    net = Net()
    root, _relay, _leaf = line(net)
    small, large = root.send("leaf", SMALL), root.send("leaf", LARGE)
    net.run()
    lanes = {
        (frame.key.stream_id, name): net.roles.get((name, lane_id))
        for name, lane_id, frame in net.carried
        if isinstance(frame, Chunk)
    }
    assert lanes[small, "relay"] is LaneRole.CONTROL
    assert lanes[large, "relay"] is LaneRole.BULK


def test_a_relay_says_that_it_lost_the_way() -> None:
    net = Net()
    root, relay, leaf = line(net)
    stream_id = root.stream("leaf", None)
    root.supply(stream_id, SMALL)
    net.run()
    leaf.core.stop(net.now)
    root.supply(stream_id, SMALL)
    net.run()
    assert isinstance(root.error(stream_id), Exception)
    blob = root.send("leaf", LARGE, unreachable_timeout_s=3.0)
    net.advance(4.0)
    assert root.outcomes(blob)
    assert relay.core.stats().relays == ()


def test_a_link_that_goes_down_under_a_stream_is_told_to_its_origin() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    stream_id = root.stream("leaf", None)
    root.supply(stream_id, SMALL)
    net.run()
    net.kill("leaf")
    net.advance(31.0)
    assert relay.core.stats().relays == ()
    assert any(lost.key == root.key(stream_id) for lost in net.sent("relay", Lost))
    assert root.outcomes(stream_id) == []


def test_frames_in_the_name_of_others_are_refused() -> None:
    net = Net()
    nodes = branches(net)
    stream_id = nodes["right-leaf"].stream("root", None)
    nodes["right-leaf"].supply(stream_id, SMALL)
    net.run()
    key = nodes["right-leaf"].key(stream_id)
    lane_id = nodes["left"].lane()
    peer = net.peers["left", lane_id]
    forged = Chunk(key, "root", 1, "c", "t", 0, 0, False, 16, 0, b"forged")
    reset = Reset(key, "root", 1, False, 5, 1, "forged", 16)  # type: ignore[arg-type]
    nodes["root"].core.receive(peer[1], [forged, reset], net.now)
    net.run()
    assert nodes["root"].of(FrameRefused) == [FrameRefused("left", "right-leaf", False)]
    assert nodes["root"].core.stats().frames_refused == 2
    (lost,) = net.sent("root", Lost)
    assert lost.reason is LostReason.LANE_LOST
    nodes["right-leaf"].supply(stream_id, SMALL, end=True)
    net.run()
    assert nodes["right-leaf"].finished(stream_id)


def test_frames_that_overtake_the_news_of_their_cell_are_nothing_to_worry_about() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root"})
    relay = nodes["relay"]
    net.mute.add("root")
    lane_id, _ = greet(net, relay, hello("left", capabilities=(ROUTES_CAPABILITY,)))
    own, below = (
        Chunk(StreamKey(name, 1, 1), "root", 1, "c", "t", 0, 0, False, 16, 0, b"x") for name in ("left", "leaf")
    )
    news = Announce("left", 1, 1, ("left",)), Announce("leaf", 1, 1, ("leaf", "left"))
    relay.core.receive(lane_id, [own, *news, own, below], net.now)
    assert [type(frame) for frame in relay.core.frames_to_send(lane_id, net.now)] == [Lost, Lost, Lost]
    net.run()
    assert relay.of(FrameRefused) == [FrameRefused("left", name, True) for name in ("left", "left", "leaf")]
    assert relay.core.stats().frames_refused == 0


# What is rare.


def chunk(node: Node, target: str, **fields: Any) -> Chunk:
    """Return a chunk that opens a stream of ``node``, except for the given fields."""
    given: dict[str, Any] = {
        "attempt": 1,
        "channel": "c",
        "topic": "t",
        "sequence": 0,
        "offset": 0,
        "last": False,
        "hops_left": 16,
        "checksum": 0,
        "payload": SMALL,
        "open": make_open(StreamKind.STREAM, idle_timeout_s=10.0),
    }
    given.update(fields)
    made = Chunk(node.key(given.pop("stream_id", 99)), target, **given)
    checked = checksum_fields(made.key, made.attempt, made.sequence, made.offset, last=made.last)
    return dataclasses.replace(made, checksum=checksum(checked, checksum(made.payload, 0)))


def losses(net: Net) -> list[tuple[int, int]]:
    return [(lost.key.stream_id, lost.attempt) for lost in net.sent("relay", Lost)]


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


def test_a_neighbour_that_ignores_its_credit_is_cut_off() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    receive(net, relay, "root", chunk(root, "leaf"))
    receive(net, relay, "root", chunk(root, "leaf", sequence=1, offset=100 << 20, open=None))
    net.run()
    assert any(refusal.error.code is ErrorCode.PROTOCOL for refusal in relay.refusals())


def test_more_chunks_than_are_kept_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.relaying.passing.RELAYED_CHUNKS", 3)
    net = Net()
    root, relay, leaf = line(net)
    net.refuse_dials.add("relay")
    for lane_id in net.lanes("leaf"):
        net.cut("leaf", lane_id)
    frames = [chunk(root, "leaf", sequence=n, offset=n * 1000, open=None) for n in range(1, 6)]
    receive(net, relay, "root", chunk(root, "leaf"), *frames)
    net.run()
    assert losses(net) == [(99, 1)]
    assert relay.core.stats().relays[0].held_bytes == 0
    assert leaf.opened == {}


@pytest.mark.parametrize("limit", ["RELAYED_STREAMS", "RELAYED_STREAMS_OF_NEIGHBOUR"])
def test_more_streams_than_are_kept_wait_at_their_origin(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"streamcell.protocol.relaying.table.{limit}", 2)
    net = Net()
    root, relay, leaf = line(net)
    ids = [root.stream("leaf", None) for _ in range(2)]
    net.run()
    third = root.send("leaf", LARGE)
    fourth = root.stream("leaf", LARGE)
    net.advance(1.0)
    assert not root.finished(third)
    assert {lost.reason for lost in net.sent("relay", Lost)} == {LostReason.LIMIT}
    for stream_id in ids:
        root.supply(stream_id, SMALL, end=True)
    net.advance(12.0)
    assert all(root.finished(stream_id) for stream_id in [*ids, third, fourth])
    assert relay.core.stats().relays == ()
    assert leaf.got(root.key(third)) == LARGE


def test_one_neighbour_takes_no_stream_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.relaying.table.RELAYED_STREAMS_OF_NEIGHBOUR", 2)
    net = Net()
    nodes = branches(net)
    for _ in range(5):
        nodes["left-leaf"].stream("right-leaf", None)
    net.run()
    assert len(nodes["left"].core.stats().relays) == 2
    for origin in ("root", "right-leaf"):
        stream_id = nodes[origin].send("left-leaf", LARGE)
        net.run()
        assert nodes[origin].finished(stream_id)


def stuck(net: Net, **config: int) -> tuple[Node, Node]:
    """A root and a relay that cannot pass anything on."""
    root, relay, _leaf = line(net, **config)
    net.refuse_dials.add("relay")
    for lane_id in net.lanes("leaf"):
        net.cut("leaf", lane_id)
    return root, relay


def losses_for(net: Net, relay: Node, *frames: Frame) -> list[int]:
    """Return the streams for which there was no room at the relay."""
    before = len(net.sent("relay", Lost))
    receive(net, relay, "root", *frames)
    net.run()
    lost = [frame for frame in net.sent("relay", Lost)[before:] if frame.reporter == "relay"]
    assert {frame.reason for frame in lost} <= {LostReason.LIMIT}
    return [frame.key.stream_id for frame in lost]


def test_the_initial_credit_of_more_than_the_first_streams_is_taken_from_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamcell.protocol.relaying.table.STREAMS_OF_FREE_CREDIT", 2)
    net = Net()
    root, relay = stuck(net, receive_budget_bytes=3 * INITIAL_CREDIT_BYTES)
    full = pattern(INITIAL_CREDIT_BYTES)
    first = [chunk(root, "leaf", stream_id=number, payload=full) for number in range(1, 6)]
    assert losses_for(net, relay, *first) == []
    assert losses_for(net, relay, chunk(root, "leaf", stream_id=6, payload=full)) == [6]
    # Those that are whole, or say their size, take as little, and may not bring more.
    whole = chunk(root, "leaf", stream_id=7, payload=b"", last=True)
    small = chunk(root, "leaf", stream_id=8, payload=b"", open=make_open(StreamKind.BLOB, 0))
    assert losses_for(net, relay, whole, small) == []
    assert losses_for(net, relay, chunk(root, "leaf", stream_id=8, sequence=1, open=None)) == [8]
    # What has ended gives it back; what is begun again takes it once.
    receive(net, relay, "root", Reset.by_origin(root.key(5), "leaf", 1, StreamCancelled("enough")))
    again = [chunk(root, "leaf", stream_id=6, attempt=number, payload=full) for number in (2, 3)]
    assert losses_for(net, relay, *again) == []
    assert losses_for(net, relay, chunk(root, "leaf", stream_id=9, payload=full)) == [9]


def test_before_its_first_credit_a_stream_brings_no_more_than_the_initial_one() -> None:
    net = Net()
    root, relay = stuck(net)
    assert losses_for(net, relay, chunk(root, "leaf", payload=pattern(INITIAL_CREDIT_BYTES))) == []
    end = chunk(root, "leaf", sequence=1, offset=INITIAL_CREDIT_BYTES, payload=b"", last=True, open=None)
    assert losses_for(net, relay, end) == []
    beyond = chunk(root, "leaf", sequence=2, offset=INITIAL_CREDIT_BYTES, open=None)
    assert losses_for(net, relay, beyond) == [99]
    assert relay.core.stats().relays[0].held_bytes == 0


def test_large_headers_are_taken_from_the_budget_until_they_have_gone_on() -> None:
    large = make_open(StreamKind.STREAM, 0, headers=(("key", bytes(500_000)),))
    net = Net()
    root, relay = stuck(net, receive_budget_bytes=1024 * KIB)

    def opening(stream_id: int, sequence: int = 0) -> Chunk:
        return chunk(root, "leaf", stream_id=stream_id, sequence=sequence, payload=b"", open=large)

    assert losses_for(net, relay, opening(1), opening(2)) == []
    assert losses_for(net, relay, opening(3)) == [3]
    # Saying them again takes nothing, and adds nothing.
    assert losses_for(net, relay, opening(1, sequence=1)) == []
    net.refuse_dials.clear()
    net.advance(40.0)
    passed_on = [passed for passed in net.sent("relay", Chunk) if passed.key.stream_id == 1]
    assert [passed.open is None for passed in passed_on] == [False, True]
    assert losses_for(net, relay, opening(4), opening(5)) == []


def test_a_thousand_small_blobs_at_once_lose_nothing() -> None:
    net = Net()
    root, _relay, leaf = line(net)
    ids = [root.send("leaf", SMALL) for _ in range(1000)]
    net.run()
    assert all(root.finished(stream_id) for stream_id in ids)
    assert net.sent("relay", Lost) == net.sent("leaf", Lost) == []
    assert leaf.got(root.key(ids[-1])) == SMALL


def test_a_stream_whose_ends_are_silent_is_forgotten_after_its_time_or_after_an_hour() -> None:
    net = Net()
    root, relay, _leaf = line(net)
    receive(net, relay, "root", chunk(root, "leaf"))
    receive(net, relay, "root", chunk(root, "leaf", stream_id=100, open=make_open(StreamKind.STREAM)))
    net.tamper = lambda name, frame: None if isinstance(frame, Reset | Lost | Ack) else frame
    net.advance(7.0)
    receive(net, relay, "root", chunk(root, "leaf", sequence=1, offset=1000, open=None))
    net.advance(7.0)
    assert [stream.stream_id for stream in relay.core.stats().relays] == [99, 100]
    net.advance(400.0)
    assert [stream.stream_id for stream in relay.core.stats().relays] == [100]
    net.advance(3700.0)
    assert relay.core.stats().relays == ()


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


def test_who_asks_much_and_does_not_listen_is_not_answered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("ANSWERS", "WORDS"):
        monkeypatch.setattr(f"streamcell.protocol.links.outbox.{limit}", 10)
    net = Net()
    root, relay, leaf = line(net)
    for number in range(50):
        receive(net, relay, "root", chunk(root, "nobody", stream_id=1000 + number))
        receive(net, relay, "root", ResumeQuery(root.key(2000 + number), "leaf", 2, False, 16))
    net.run()
    assert len(net.sent("relay", Lost)) <= 10
    assert len(net.sent("relay", ResumeQuery)) <= 10
    stream_id = root.send("leaf", LARGE)
    net.run()
    assert root.finished(stream_id)
    assert leaf.got(root.key(stream_id)) == LARGE


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


def test_a_chunk_beyond_the_credit_of_the_next_hop_waits_behind_one_that_has_gone() -> None:
    """A neighbour that gives no initial credit gets the beginning, which has no bytes, and nothing more."""
    net = Net()
    root, relay, _leaf = line(net)
    lane_id = relay.core.lane_accepted(CarrierInfo("test", "stranger"), net.now)
    relay.core.receive(
        lane_id, [Hello("tiny", 1, 1, 1, 1, LaneRole.CONTROL, message_bytes=MESSAGE_BYTES, lanes=1)], net.now
    )
    net.run()
    small = make_open(StreamKind.STREAM, size=1000)
    receive(
        net, relay, "root", chunk(root, "tiny", payload=b"", open=small), chunk(root, "tiny", sequence=1, open=None)
    )
    sent = [frame for _ in range(3) for frame in relay.core.frames_to_send(lane_id, net.now)]
    assert [len(passed.payload) for passed in sent if isinstance(passed, Chunk)] == [0]
    held = relay.core.stats().relays[0].held_bytes
    assert held > 0
    receive(net, relay, "root", chunk(root, "tiny", sequence=2, offset=held, open=None))
    assert relay.core.stats().relays[0].held_bytes > held
    assert not [frame for frame in relay.core.frames_to_send(lane_id, net.now) if isinstance(frame, Chunk)]


def test_a_relay_that_is_restarted_while_the_reader_rests_is_told_of_the_stream_again() -> None:
    """Every byte was confirmed, but the Credit that the origin waits for was the old life's to give."""
    net = Net()
    root, _relay, leaf = line(net)
    leaf.auto_read = False
    data = pattern(INITIAL_CREDIT_BYTES * 3)
    stream_id = root.stream("leaf", data, piece=len(data))
    net.advance(1.0)
    net.restart("relay")
    net.advance(5.0)
    for _ in range(10):
        leaf.read(root.key(stream_id))
        net.advance(1.0)
    assert leaf.got(root.key(stream_id)) == data
    assert root.finished(stream_id)


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


@pytest.mark.parametrize("size", [1000, None])
def test_credit_goes_on_as_far_as_the_next_hop_gives_it(size: int | None) -> None:
    """Also to a stream that began without a byte, because it had no credit left; and not before."""
    net = Net()
    root, relay, _leaf = line(net)
    net.tamper = lambda name, frame: None if name == "leaf" else frame
    receive(net, relay, "root", chunk(root, "leaf", payload=b"", open=make_open(StreamKind.STREAM, size=size)))
    net.run()
    assert net.sent("relay", Credit) == []
    for offset in (70_000, 70_001, 100_000):
        receive(net, relay, "leaf", Credit(root.key(99), "leaf", 1, offset))
        net.run()
    assert [credit.offset for credit in net.sent("relay", Credit)] == [70_000, 70_001, 100_000]


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


def test_a_relayed_stream_begins_with_the_window_that_another_one_from_its_link_has_used() -> None:
    net = Net()
    root, relay, leaf = line(net, chunk_bytes=64 * KIB)
    leaf.auto_read = False
    before = root.stream("leaf", pattern(1000 * KIB), size=None)
    net.run()
    assert [stream.window_bytes for stream in relay.core.stats().relays] == [4 * INITIAL_CREDIT_BYTES]
    leaf.auto_read = True
    leaf.read(root.key(before))
    through = root.stream("leaf", pattern(16_000 * KIB), size=None)
    net.run()
    assert root.finished(before)
    assert root.finished(through)
    leaf.auto_read = False
    for _ in range(2):
        root.stream("leaf", pattern(16_000 * KIB), size=None)
    root.stream("leaf", pattern(1000 * KIB))
    net.run()
    windows = [stream.window_bytes for stream in relay.core.stats().relays]
    assert min(windows[:2]) > 4 * INITIAL_CREDIT_BYTES
    # No more than there is to come.
    assert windows[2] == 1000 * KIB


def test_bulk_wakes_no_writer_but_those_that_take_it() -> None:
    net = Net()
    _, relay, leaf = line(net)
    stream_id = leaf.stream("root", None)
    leaf.supply(stream_id, LARGE)
    net.run()
    leaf.supply(stream_id, LARGE)
    by = leaf.lane(LaneRole.BULK)
    assert leaf.core.take_ready_lanes() == [by]
    chunks = leaf.core.frames_to_send(by, net.now)
    _, arrival = net.peers["leaf", by]
    relay.core.receive(arrival, chunks, net.now)
    (on,) = relay.core.take_ready_lanes()
    assert net.peers["relay", on][0] == "root"
    assert net.roles["relay", on] is LaneRole.BULK
