"""A lane breaks under every single frame of a transfer, and everything still arrives exactly once."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from streamcell.config import CellConfig
from streamcell.limits import KIB
from streamcell.protocol.base.events import StreamOpened
from streamcell.protocol.wire.frames import Chunk, Credit, Frame, LaneRole, ResumeQuery
from tests.core.harness import SMALL, Net, Node
from tests.kit.payloads import pattern

CONFIG = CellConfig(chunk_bytes=64 * KIB)
# Some chunks before the first Credit, some after it.
DATA = pattern(600 * KIB + 7)

Transfer = Callable[[Net, Node, Node], "Check"]
Check = Callable[[], None]


def received_once(target: Node, origin: Node, stream_id: int, data: bytes) -> None:
    assert target.got(origin.key(stream_id)) == data
    assert [event.key for event in target.of(StreamOpened)].count(origin.key(stream_id)) == 1
    assert origin.finished(stream_id)
    assert len(origin.outcomes(stream_id)) == 1


def a_stream(net: Net, server: Node, client: Node) -> Check:
    stream_id = client.stream("server", DATA, piece=50 * KIB)
    return lambda: received_once(server, client, stream_id, DATA)


def a_stream_of_unknown_size(net: Net, server: Node, client: Node) -> Check:
    stream_id = client.stream("server", DATA, size=None)
    return lambda: received_once(server, client, stream_id, DATA)


def a_blob(net: Net, server: Node, client: Node) -> Check:
    stream_id = client.send("server", DATA)
    return lambda: received_once(server, client, stream_id, DATA)


def a_small_blob(net: Net, server: Node, client: Node) -> Check:
    stream_id = client.send("server", SMALL)
    return lambda: received_once(server, client, stream_id, SMALL)


def a_blob_downwards(net: Net, server: Node, client: Node) -> Check:
    stream_id = server.send("client", DATA)
    return lambda: received_once(client, server, stream_id, DATA)


def a_request(net: Net, server: Node, client: Node) -> Check:
    server.answer = lambda request: request[::-1]
    request = client.request("server", DATA)

    def check() -> None:
        received_once(server, client, request, DATA)
        assert client.replies(request) == [DATA[::-1]]

    return check


def all_at_once(net: Net, server: Node, client: Node) -> Check:
    checks = [transfer(net, server, client) for transfer in (a_stream, a_small_blob, a_blob_downwards, a_request)]

    def check_all() -> None:
        for check in checks:
            check()

    return check_all


TRANSFERS = (a_stream, a_stream_of_unknown_size, a_blob, a_small_blob, a_blob_downwards, a_request, all_at_once)


def at_rest(net: Net) -> None:
    for node in net.nodes.values():
        stats = node.core.stats()
        assert (stats.sends, stats.receives, node.core.open_sends()) == ((), (), 0)
        assert len(stats.links) == 1


def frames_of(transfer: Transfer) -> int:
    net = Net()
    check = transfer(net, *net.pair(CONFIG))
    net.advance(5.0)
    check()
    return len(net.carried)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_one_cut(transfer: Transfer) -> None:
    # The first two frames are the Hellos of the control lane.
    for cut in range(3, frames_of(transfer) + 1):
        net = Net()
        net.cut_at = {cut}
        check = transfer(net, *net.pair(CONFIG))
        net.advance(30.0)
        assert len(net.carried) >= cut
        check()
        at_rest(net)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("distance", [1, 3, 8])
def test_a_second_cut_soon_after_the_first(transfer: Transfer, distance: int) -> None:
    for cut in range(3, frames_of(transfer) + 1, 1 + distance // 2):
        net = Net()
        net.cut_at = {cut, cut + distance}
        check = transfer(net, *net.pair(CONFIG))
        net.advance(60.0)
        check()
        at_rest(net)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_all_lanes_break_at_every_step(transfer: Transfer) -> None:
    step = 0
    while True:
        step += 1
        net = Net()
        check = transfer(net, *net.pair(CONFIG))
        if not all(net.step() for _ in range(step)):
            break
        net.cut_all()
        net.advance(30.0)
        check()
        at_rest(net)
    assert step > 2


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_lane_that_only_one_end_knows_to_be_broken(transfer: Transfer, side: str) -> None:
    for cut in range(3, frames_of(transfer) + 1, 2):
        net = Net()
        check = transfer(net, *net.pair(CONFIG))
        net.run_until(lambda net=net, cut=cut: len(net.carried) >= cut)  # type: ignore[misc]
        net.cut_half(side, net.lanes(side)[-1])
        net.advance(120.0)
        check()
        at_rest(net)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_one_of_several_bulk_lanes_breaks_while_others_are_slow(transfer: Transfer) -> None:
    config = CellConfig(chunk_bytes=16 * KIB, bulk_lanes=3)
    for seed in range(40):
        chance = random.Random(seed)
        net = Net()
        check = transfer(net, *net.pair(config))
        for _ in range(300):
            net.hold ^= {end for end in net.peers if chance.random() < 0.2}
            if not net.step():
                net.advance(0.1)
            lanes = net.lanes("client")
            if lanes and chance.random() < 0.1:
                net.cut("client", chance.choice(lanes))
        net.hold.clear()
        net.advance(30.0)
        check()
        at_rest(net)


@pytest.mark.parametrize("transfer", [a_stream, a_blob])
def test_a_question_that_comes_twice_takes_nothing_back(transfer: Transfer) -> None:
    """Its second copy overtakes chunks of the same attempt, of which later ones have come by another lane."""
    net = Net()
    server, client = net.pair(CellConfig(chunk_bytes=16 * KIB, bulk_lanes=3))
    check = transfer(net, server, client)
    net.run_until(lambda: len(net.sent("client", Chunk)) > 0)
    net.cut("client", net.carried[-1][1])
    net.run_until(lambda: any(credit.attempt == 2 for credit in net.sent("server", Credit)))
    first_bulk_lane = net.lanes("client")[1]
    net.hold.add(net.peers["client", first_bulk_lane])
    net.run()
    (query,) = net.sent("client", ResumeQuery)
    server.core.receive(net.lane_with_role("server", LaneRole.CONTROL), [query], net.now)
    net.run()
    net.hold.clear()
    net.advance(5.0)
    check()


@pytest.mark.parametrize("transfer", [a_stream, a_blob, a_request])
def test_each_chunk_is_corrupted_in_turn(transfer: Transfer) -> None:
    chunks = 0
    while True:
        chunks += 1
        net, seen = Net(), [0]

        def tamper(name: str, frame: Frame, wanted: int = chunks, seen: list[int] = seen) -> Frame:
            if isinstance(frame, Chunk):
                seen[0] += 1
                if seen[0] == wanted:
                    return dataclasses.replace(frame, checksum=frame.checksum ^ 1)
            return frame

        net.tamper = tamper
        check = transfer(net, *net.pair(CONFIG))
        net.advance(30.0)
        check()
        at_rest(net)
        if seen[0] < chunks:
            break
    assert chunks > 5


@pytest.mark.parametrize("cut_target", [True, False])
def test_a_small_blob_crosses_restarts_at_most_once(cut_target: bool) -> None:
    """One end is restarted at every step: a blob is delivered once or not at all, and both ends know or cannot."""
    for step in range(1, 12):
        net = Net()
        server, client = net.pair(CONFIG)
        stream_id = client.send("server", SMALL)
        for _ in range(step):
            net.step()
        newer = net.restart("server" if cut_target else "client")
        net.advance(60.0)
        key = client.key(stream_id)
        holders = [node for node in (server, newer) if node.got(key) is not None]
        assert len(holders) <= 1
        if cut_target and client.finished(stream_id):
            assert len(holders) == 1
        for node in net.nodes.values():
            assert node.core.stats().receives == ()


def test_breaks_do_not_fill_the_memory_of_a_reader_that_stands_still() -> None:
    net = Net()
    server, client = net.pair(CONFIG)
    server.auto_read = False
    stream_id = client.stream("server", DATA)
    net.run()
    held = len(server.data[client.key(stream_id)])
    for _ in range(5):
        net.cut_all()
        net.advance(2.0)
    assert len(server.data[client.key(stream_id)]) == held
    server.auto_read = True
    server.read(client.key(stream_id))
    net.advance(2.0)
    received_once(server, client, stream_id, DATA)
