"""Streams that pass through a cell in the middle: credit, the budget, and the room that there is."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode, StreamCancelled
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MESSAGE_BYTES
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Credit, Frame, Hello, LaneRole, Lost, LostReason, Reset, ResumeQuery
from tests.core.harness import LARGE, SMALL, Net, Node
from tests.core.relays import chunk, line, losses
from tests.core.samples import make_open
from tests.core.trees import branches, receive
from tests.kit.payloads import pattern


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
