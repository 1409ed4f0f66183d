"""Bulk lanes: one, two and four of them carry everything whole, open when they pay, and may break at any time."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import CellConfig, IterStream, ReceivedStream, StreamFuture
from streamcell.testing import Direction
from streamcell.transport.base import Carrier
from tests.kit.cells import QUICK, Cells, Pair, Peer
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


def with_lanes(count: int, **changes: Any) -> CellConfig:
    return dataclasses.replace(QUICK, bulk_lanes=count, **changes)


def roles(peer: Peer) -> list[str]:
    """Return the roles of the lanes that the peer's one link has."""
    (link,) = peer.stats().protocol.links
    return sorted((lane.role for lane in link.lanes if lane.state == "ready"), reverse=True)


def has_lanes(pair: tuple[Peer, Peer], bulk: int) -> bool:
    return all(roles(peer) == ["control"] + ["bulk"] * bulk for peer in pair)


@pytest.fixture(params=[1, 2, 4])
def lanes(request: pytest.FixtureRequest) -> int:
    """How many bulk lanes both sides may have."""
    count: int = request.param
    return count


@pytest.fixture
def lanes_pair(cells: Cells, lanes: int) -> Pair:
    """A cell that has dialled and one that listens, with so many bulk lanes."""
    return cells.pair(sender=with_lanes(lanes), receiver=with_lanes(lanes))


@dataclasses.dataclass(frozen=True)
class Sent:
    """A transfer under way, and what is to arrive."""

    future: StreamFuture
    name: str
    data: bytes


class Arrivals:
    """Callbacks for everything that a test sends to a cell, which keep the bytes by the name of the transfer."""

    def __init__(self, peer: Peer) -> None:
        self._arrived = Box[tuple[str, bytes]]()
        peer.on_stream(self._on_stream)
        peer.on_blob(self._on_blob, topic="blob")

    def check(self, sent: list[Sent]) -> None:
        """Wait for the end of all transfers, and compare every byte of what has arrived."""
        assert [each.future.result(PATIENCE_S) for each in sent] == [len(each.data) for each in sent]
        arrived = [self._arrived.get() for _ in sent]
        assert dict(arrived) == {each.name: each.data for each in sent}
        assert self._arrived.is_empty()

    def _on_stream(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        self._arrived.put((str(stream.headers["name"]), stream.read(-1)))

    def _on_blob(self, future: StreamFuture) -> None:
        self._arrived.put((str(future.get_headers()["name"]), bytes(future.result())))


SIZES = (3 * MIB + 1, 65 * KIB, 5 * MIB, 1000, MIB, 0, 2 * MIB - 1, 64 * KIB)


def send_all(sender: Peer, receiver: Peer, sizes: tuple[int, ...] = SIZES) -> list[Sent]:
    """Start a stream of known size, one of unknown size and a blob of each size, all at once."""
    sent = []
    for number, size in enumerate(sizes):
        for way in ("sized", "unsized", "blob"):
            name, data = f"{way} {number} of {sender.fqcn}", pattern(size, 1000 * number + len(way))
            if way == "blob":
                future = sender.send_blob(receiver, data, topic="blob", headers={"name": name})
            elif way == "sized":
                future = sender.send_stream(receiver, data, headers={"name": name})
            else:
                future = sender.send_stream(receiver, pieces(data), headers={"name": name})
            sent.append(Sent(future, name, data))
    return sent


def pieces(data: bytes, size: int = 77_777) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_stats_say_what_carries_each_lane(lanes_pair: Pair, carrier_kind: str) -> None:
    send_all(*lanes_pair)
    for peer in lanes_pair:
        (link,) = peer.stats().protocol.links
        assert link.lanes
        assert {lane.carrier for lane in link.lanes if lane.state == "ready"} == {carrier_kind}


def test_much_at_once_arrives_byte_by_byte_over_all_lanes(lanes_pair: Pair, lanes: int) -> None:
    arrivals = [Arrivals(peer) for peer in lanes_pair]
    here, there = lanes_pair
    up, down = send_all(here, there), send_all(there, here)
    arrivals[1].check(up)
    arrivals[0].check(down)
    eventually(lambda: has_lanes(lanes_pair, lanes))
    # Once more, with all lanes there from the start.
    arrivals[1].check(send_all(here, there))
    arrivals[0].check(send_all(there, here))
    assert [peer.stats().protocol.bytes_retransmitted for peer in lanes_pair] == [0, 0]
    assert [peer.stats().protocol.corrupt_chunks for peer in lanes_pair] == [0, 0]


def test_one_long_stream_arrives_in_order_over_all_lanes(lanes_pair: Pair, lanes: int) -> None:
    sender, receiver = lanes_pair
    arrivals = Arrivals(receiver)
    data = pattern(16 * MIB)
    for name in ("while lanes open", "with all lanes"):
        arrivals.check([Sent(sender.send_stream(receiver, data, headers={"name": name}), name, data)])
        eventually(lambda: has_lanes(lanes_pair, lanes))


def test_two_hundred_streams_at_once_arrive_over_all_lanes(lanes_pair: Pair) -> None:
    sender, receiver = lanes_pair
    arrivals = Arrivals(receiver)
    arrivals.check(send_all(sender, receiver, tuple(100 * KIB + 997 * number for number in range(67))))


@pytest.mark.parametrize("direction", Direction)
def test_lanes_that_break_under_load_lose_and_double_nothing(
    cells: Cells, lanes_pair: Pair, lanes: int, direction: Direction
) -> None:
    arrivals = [Arrivals(peer) for peer in lanes_pair]
    here, there = lanes_pair
    arrivals[1].check(send_all(here, there))
    eventually(lambda: has_lanes(lanes_pair, lanes))
    # Each of these breaks the one lane that carries that byte.
    for size_bytes in range(2 * MIB, 22 * MIB, 4 * MIB):
        cells.network.cut_after(size_bytes=size_bytes, direction=direction)
    up, down = send_all(here, there), send_all(there, here)
    arrivals[1].check(up)
    arrivals[0].check(down)
    assert any(peer.stats().protocol.resumes for peer in lanes_pair)
    eventually(lambda: has_lanes(lanes_pair, lanes))


def test_each_lane_may_break_and_comes_back_while_the_others_carry_on(
    cells: Cells, lanes_pair: Pair, lanes: int, gate: Gate
) -> None:
    sender, receiver = lanes_pair
    piece = pattern(256 * KIB)
    read = Box[int]()

    def check(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        size = 0
        while data := stream.read(len(piece)):
            assert data == piece
            size += len(data)
        read.put(size)

    receiver.on_stream(check)
    # Streams that go on until the test has cut what it wants to cut.
    until_then = [itertools.takewhile(lambda _: not gate.is_open(), itertools.repeat(piece)) for _ in range(4)]
    futures = [sender.send_stream(receiver, source) for source in until_then]
    eventually(lambda: has_lanes(lanes_pair, lanes))
    for number in range(lanes + 1):
        before = set(cells.network.lanes)
        sorted(before, key=cells.network.lanes.index)[number].cut()
        eventually(lambda before=before: bool(set(cells.network.lanes) - before))  # type: ignore[misc]
        eventually(lambda: has_lanes(lanes_pair, lanes))
        received = receiver.stats().protocol.bytes_received
        eventually(lambda received=received: receiver.stats().protocol.bytes_received > received + 8 * MIB)  # type: ignore[misc]
    gate.open()
    assert sorted(future.result(PATIENCE_S) for future in futures) == sorted(read.get() for _ in futures)
    assert receiver.stats().protocol.corrupt_chunks == 0


@pytest.mark.parametrize(
    ("sender_lanes", "receiver_lanes", "expected"), [(4, 1, 1), (1, 4, 1), (4, 2, 2), (2, 0, 0), (0, 2, 0)]
)
def test_lanes_are_as_many_as_both_sides_allow(
    cells: Cells, sender_lanes: int, receiver_lanes: int, expected: int
) -> None:
    pair = cells.pair(sender=with_lanes(sender_lanes), receiver=with_lanes(receiver_lanes))
    arrivals = [Arrivals(peer) for peer in pair]
    for _ in range(2):
        up, down = send_all(pair[0], pair[1]), send_all(pair[1], pair[0])
        arrivals[1].check(up)
        arrivals[0].check(down)
        eventually(lambda: has_lanes(pair, expected))
    assert cells.network.dials == 1 + expected


def test_lanes_that_cannot_be_opened_are_not_waited_for_long(cells: Cells) -> None:
    # The listener waits so long for the lane that only the other side can open.
    config = with_lanes(2, connect_timeout_s=scaled(0.5))
    pair = cells.pair(sender=config, receiver=config)
    arrivals = [Arrivals(peer) for peer in pair]
    here, there = pair
    cells.network.refuse_dials()
    up, down = send_all(here, there), send_all(there, here)
    arrivals[1].check(up)
    arrivals[0].check(down)
    assert has_lanes(pair, 0)
    cells.network.refuse_dials(False)
    arrivals[1].check(send_all(here, there))
    eventually(lambda: has_lanes(pair, 2))


def test_idle_lanes_are_closed_and_opened_again(cells: Cells, lanes: int) -> None:
    # Who has dialled a lane ends it. The other side leaves it alone: it would ping the lane when it is idle, and a lane
    # that answers late is never idle. A lane that was pinged is looked at again when the answer is overdue.
    config = with_lanes(lanes, idle_lane_s=0.1, ping_after_s=0.1, suspect_after_s=scaled(0.5))
    pair = cells.pair(sender=config, receiver=with_lanes(lanes))
    arrivals = [Arrivals(peer) for peer in pair]
    for number in (1, 2):
        up, down = send_all(pair[0], pair[1]), send_all(pair[1], pair[0])
        arrivals[1].check(up)
        arrivals[0].check(down)
        assert cells.network.dials >= 1 + number
        eventually(lambda: has_lanes(pair, 0))


def test_small_transfers_open_no_lane_and_the_first_larger_one_does(either_pair: tuple[Peer, Peer]) -> None:
    sender, receiver = either_pair
    arrivals = Arrivals(receiver)
    for number in range(5):
        data = pattern(64 * KIB, number)
        sized = sender.send_stream(receiver, data, headers={"name": "stream"})
        blob = sender.send_blob(receiver, data, topic="blob", headers={"name": "blob"})
        arrivals.check([Sent(sized, "stream", data), Sent(blob, "blob", data)])
        receiver.on_request(lambda request: None)
        sender.request(receiver, data)
    sender.meet(receiver)
    assert has_lanes(either_pair, 0)
    data = pattern(64 * KIB + 1)
    arrivals.check([Sent(sender.send_stream(receiver, data, headers={"name": "larger"}), "larger", data)])
    eventually(lambda: has_lanes(either_pair, 1))


def test_stream_of_unknown_size_opens_a_lane(either_pair: tuple[Peer, Peer]) -> None:
    sender, receiver = either_pair
    arrivals = Arrivals(receiver)
    arrivals.check([Sent(sender.send_stream(receiver, iter([b"x"]), headers={"name": "unsized"}), "unsized", b"x")])
    eventually(lambda: has_lanes(either_pair, 1))


def test_requests_are_answered_while_all_lanes_are_full(lanes_pair: Pair, gate: Gate) -> None:
    sender, receiver = lanes_pair
    receiver.on_stream(lambda future, stream, resume: gate.pass_through())
    receiver.on_request(lambda request: None)
    futures = [sender.send_stream(receiver, pattern(4 * MIB)) for _ in range(8)]
    eventually(lambda: sum(each.received >= 256 * KIB for each in receiver.stats().protocol.receives) == len(futures))
    for _ in range(20):
        sender.request(receiver, b"?")
    assert not any(future.done() for future in futures)
    for future in futures:
        assert future.cancel()


@pytest.mark.parametrize("upwards", [True, False])
def test_lanes_whose_ends_are_announced_are_left_without_a_break(cells: Cells, upwards: bool) -> None:
    dialler, listener = cells.pair()
    origin, target = (dialler, listener) if upwards else (listener, dialler)
    data = pattern(20 * MIB)
    arrivals = Arrivals(target)
    left: set[Carrier] = set()

    def pieces() -> Iterator[bytes]:
        """Have every lane's end announced now and then, and wait until it was left."""
        for number, at in enumerate(range(0, len(data), MIB)):
            if number % 6 == 3:
                left.update(cells.network.lanes)
                cells.network.announce_ends()
                eventually(lambda: left.isdisjoint(cells.network.lanes))
            yield data[at : at + MIB]

    future = origin.send_stream(target, IterStream(pieces()), headers={"name": "moving"})
    arrivals.check([Sent(future, "moving", data)])
    assert dialler.stats().protocol.handovers == len(left) == 6
    for peer in (dialler, listener):
        stats = peer.stats().protocol
        assert (stats.bytes_retransmitted, stats.resumes, stats.reconnects) == (0, 0, 0)
