"""The memory of a target: limits of size, blobs that wait for room, and windows."""

from __future__ import annotations

from typing import Any

import pytest

from streamcell.config import CellConfig
from streamcell.errors import BlobSizeError, ErrorCode
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.base.events import ReceiveFailed, StreamAdmitted, StreamOpened
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Credit, Reset
from tests.core.by_hand import answers, chunk
from tests.core.harness import LARGE, SMALL, WHOLE, Net, Node
from tests.kit.payloads import pattern

# Limits.


def send(node: Node, target: str, data: bytes, kind: StreamKind, **fields: Any) -> int:
    return (
        node.request(target, data, **fields)
        if kind is StreamKind.REQUEST
        else node.send(target, data, kind=kind, **fields)
    )


@pytest.mark.parametrize("kind", WHOLE)
def test_a_blob_above_the_limit_is_refused_before_it_is_sent(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=MIB))
    stream_id = send(client, "server", pattern(MIB + 1), kind)
    net.run()
    assert isinstance(client.error(stream_id), BlobSizeError)
    assert server.of(StreamOpened) == []
    assert sum(len(frame.payload) for frame in net.sent("client", Chunk)) <= INITIAL_CREDIT_BYTES


@pytest.mark.parametrize("kind", WHOLE)
def test_a_blob_of_unknown_size_is_refused_when_it_has_grown_above_the_limit(kind: StreamKind) -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=MIB))
    fits, too_large = (send(client, "server", pattern(size), kind, size=None) for size in (MIB, MIB + 1))
    net.run()
    assert client.finished(fits)
    assert isinstance(client.error(too_large), BlobSizeError)
    assert isinstance(server.receive_error(client.key(too_large)), BlobSizeError)


def test_a_stream_above_the_limit_is_refused_if_the_receiver_assembles_it() -> None:
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=MIB))
    server.on_opened = lambda event: server.accept(event.key, assemble=True)
    stream_id = client.stream("server", pattern(MIB + 1))
    net.run()
    assert isinstance(client.error(stream_id), BlobSizeError)


def test_a_blob_may_be_read_piece_by_piece() -> None:
    net = Net()
    server, client = net.pair()
    server.on_opened = lambda event: server.accept(event.key)
    stream_id = client.send("server", LARGE)
    net.run()
    assert client.outcomes(stream_id) == []
    server.read(client.key(stream_id), INITIAL_CREDIT_BYTES)
    net.run()
    server.read(client.key(stream_id))
    net.run()
    assert server.got(client.key(stream_id)) == LARGE


# Blobs that wait.


def admitted(node: Node) -> list[int]:
    return [event.key.stream_id for event in node.of(StreamAdmitted)]


def test_blobs_wait_for_memory_in_order_of_arrival() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    first, second, third = (client.send("server", pattern(size)) for size in (700 * KIB, 600 * KIB, 100 * KIB))
    net.run()
    assert admitted(server) == [first]
    server.core.release(client.key(first), net.now)
    net.run()
    assert admitted(server) == [first, second, third]
    server.core.release(client.key(second), net.now)
    server.core.release(client.key(third), net.now)
    net.run()
    assert all(client.finished(stream_id) for stream_id in (first, second, third))


def test_while_it_waits_a_blob_gets_no_credit_beyond_the_initial() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    client.send("server", pattern(700 * KIB))
    client.send("server", pattern(800 * KIB))
    net.run()
    waiting = [send for send in client.core.stats().sends if send.stream_id == 2]
    assert [send.sent for send in waiting] == [INITIAL_CREDIT_BYTES]


def test_a_blob_larger_than_the_budget_is_served_alone() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    stream_id = client.send("server", pattern(2 * MIB))
    net.run()
    assert client.finished(stream_id)


def test_a_blob_that_fails_gives_its_memory_back() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    first, second = (client.send("server", pattern(700 * KIB)) for _ in range(2))
    net.run()
    client.core.cancel_send(first, "never mind", net.now)
    net.run()
    assert admitted(server) == [first, second]


def test_a_blob_that_fails_while_it_waits_lets_the_next_one_in() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    first, second, third = (client.send("server", pattern(size)) for size in (700 * KIB, 700 * KIB, 100 * KIB))
    net.run()
    client.core.cancel_send(second, "never mind", net.now)
    net.run()
    assert admitted(server) == [first, third]


def test_blobs_do_not_wait_for_requests_nor_for_what_has_memory_of_its_own() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB, request_budget_bytes=MIB))
    server.auto_release = False
    request = client.request("server", pattern(700 * KIB))
    blob = client.send("server", pattern(700 * KIB))
    net.run()
    server.on_opened = lambda event: server.accept(event.key, assemble=True, reserve=False)
    own = client.send("server", pattern(700 * KIB))
    net.run()
    assert sorted(admitted(server)) == [request, blob, own]


def test_a_blob_of_unknown_size_may_have_memory_of_its_own() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=KIB))
    server.on_opened = lambda event: server.accept(event.key, assemble=True, reserve=False)
    stream_id = client.send("server", pattern(2 * MIB), size=None)
    net.run()
    assert server.got(client.key(stream_id)) == pattern(2 * MIB)


def test_of_blobs_of_unknown_size_the_oldest_always_goes_on() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB, chunk_bytes=64 * KIB))
    server.auto_release = False
    ids = [client.send("server", pattern(900 * KIB + number), size=None) for number in range(4)]
    net.run()
    for stream_id in ids:
        assert [event.key.stream_id for event in server.ends()].count(stream_id) == 1
        server.core.release(client.key(stream_id), net.now)
        net.run()
    assert all(client.finished(stream_id) for stream_id in ids)


def test_a_blob_of_unknown_size_that_waits_for_memory_never_times_out() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB, chunk_bytes=64 * KIB))
    server.auto_release = False
    ids = [client.send("server", pattern(900 * KIB), size=None, idle_timeout_s=20.0) for _ in range(3)]
    net.advance(500.0)
    assert [client.outcomes(stream_id) for stream_id in ids] == [[], [], []]


def test_a_blob_of_unknown_size_gets_no_more_credit_for_a_piece_beyond_a_gap() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", None)
    client.supply(stream_id, SMALL)
    net.run()
    before = server.core.stats().receives[0].credit
    answers(net, server, client, chunk(client.key(stream_id), b"x", offset=5000))
    assert server.core.stats().receives[0].credit == before


def test_blobs_of_a_life_that_is_over_do_not_come_in_when_it_makes_room() -> None:
    net = Net()
    server, client = net.pair(CellConfig(blob_budget_bytes=MIB))
    server.auto_release = False
    for _ in range(3):
        client.send("server", pattern(700 * KIB))
    net.run()
    net.restart("client")
    net.advance(1.0)
    assert len(server.of(StreamAdmitted)) == 1
    assert len(server.of(ReceiveFailed)) == 3
    stream_id = net.nodes["client"].send("server", pattern(700 * KIB))
    net.run()
    assert admitted(server)[-1] == stream_id


def crowded() -> tuple[Net, Node, Node, int, int]:
    """Return a server whose memory is taken by one blob, while one that has grown too large waits for it."""
    net = Net()
    server, client = net.pair(CellConfig(max_blob_bytes=100 * KIB, blob_budget_bytes=50 * KIB))
    server.auto_release = False
    first = client.send("server", pattern(90 * KIB))
    net.run()
    second = client.send("server", None)
    client.supply(second, pattern(200 * KIB))
    net.run()
    assert admitted(server) == [first]
    return net, server, client, first, second


def test_stopping_ends_each_stream_once_even_if_the_end_of_one_ends_another() -> None:
    net, server, client, first, second = crowded()
    server.core.stop(net.now)
    net.run()
    assert sorted(event.key.stream_id for event in server.of(ReceiveFailed)) == [first, second]
    assert isinstance(client.error(second), BlobSizeError)


def test_settling_ends_each_stream_once_even_if_the_end_of_one_ends_another() -> None:
    net, server, client, first, second = crowded()
    net.tamper = lambda name, frame: None if isinstance(frame, Reset) else frame
    for stream_id in (first, second):
        client.core.cancel_send(stream_id, "gone", net.now)
    client.send("server", SMALL)
    net.run()
    assert sorted(event.key.stream_id for event in server.of(ReceiveFailed)) == [first, second]
    assert server.receive_error(client.key(second)).code is ErrorCode.TOO_LARGE


# Windows.


def test_streams_share_the_receive_budget_and_give_it_back() -> None:
    net = Net()
    server, client = net.pair(CellConfig(receive_budget_bytes=MIB, chunk_bytes=64 * KIB))
    ids = [client.stream("server", None) for _ in range(4)]
    most = 0
    for _ in range(100):
        for stream_id in ids:
            client.supply(stream_id, pattern(64 * KIB))
        net.run()
        windows = [receive.window_bytes - INITIAL_CREDIT_BYTES for receive in server.core.stats().receives]
        most = max(most, sum(windows))
    assert most == MIB
    for stream_id in ids[:3]:
        client.supply(stream_id, b"", end=True)
    for _ in range(100):
        client.supply(ids[3], pattern(64 * KIB))
        net.run()
    (last,) = server.core.stats().receives
    assert last.window_bytes == INITIAL_CREDIT_BYTES + MIB


def test_a_slow_reader_stalls_its_own_stream_only() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    stalled = client.stream("server", pattern(4 * MIB))
    net.run()
    server.auto_read = True
    free = client.stream("server", pattern(4 * MIB))
    net.run()
    assert client.finished(free)
    assert client.outcomes(stalled) == []
    assert len(server.data[client.key(stalled)]) <= INITIAL_CREDIT_BYTES + MIB


def test_what_is_assembled_has_no_share_of_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[CountingBudget] = []

    class CountingBudget(WindowBudget):
        def __init__(self, capacity_bytes: int) -> None:
            super().__init__(capacity_bytes)
            self.windows = 0
            budgets.append(self)

        def enter(self, party: Party) -> None:
            super().enter(party)
            self.windows += 1

        def leave(self, party: Party) -> None:
            super().leave(party)
            self.windows -= 1

    monkeypatch.setattr("streamcell.protocol.cell.WindowBudget", CountingBudget)
    net = Net()
    server, client = net.pair()
    for _ in range(3):
        client.send("server", LARGE)
    net.run()
    assert len(server.ends()) == 3
    assert [budget.windows for budget in budgets] == [0, 0]


def first_credit(net: Net, client: Node, stream_id: int) -> int:
    key = client.key(stream_id)
    return next(credit.offset for credit in net.sent("server", Credit) if credit.key == key)


def test_a_stream_begins_with_the_window_that_another_one_over_its_link_has_used() -> None:
    net = Net()
    _server, client = net.pair(CellConfig(chunk_bytes=64 * KIB))

    def first_credit_of(size: int, declared: int | None) -> int:
        stream_id = client.stream("server", pattern(size), size=declared)
        net.run()
        assert client.finished(stream_id)
        return first_credit(net, client, stream_id)

    # What is read at once of the first 256 KiB counts, and lets the window grow once.
    at_first = range(INITIAL_CREDIT_BYTES, 5 * INITIAL_CREDIT_BYTES + 1)
    assert first_credit_of(16 * MIB, None) in at_first
    assert first_credit_of(16 * MIB, None) >= 4 * MIB
    # No more than there is to come, and nothing for what has come whole.
    assert first_credit_of(2 * MIB, 2 * MIB) in range(2 * MIB, 2 * MIB + INITIAL_CREDIT_BYTES + 1)
    whole = client.stream("server", SMALL)
    net.run()
    assert client.finished(whole)
    assert [credit for credit in net.sent("server", Credit) if credit.key == client.key(whole)] == []
    net.advance(61.0)
    assert first_credit_of(16 * MIB, None) in at_first


def test_a_reader_that_stands_still_is_sent_no_more_than_the_window_that_it_began_with() -> None:
    net = Net()
    server, client = net.pair(CellConfig(chunk_bytes=64 * KIB, receive_budget_bytes=8 * MIB, max_window_bytes=4 * MIB))
    client.stream("server", pattern(16 * MIB))
    net.run()
    server.auto_read = False
    ids = [client.stream("server", pattern(4 * MIB)) for _ in range(8)]
    net.run()
    received = [receive.received for receive in server.core.stats().receives]
    windows = [receive.window_bytes for receive in server.core.stats().receives]
    assert len(ids) == len(received)
    # Half of the budget is left to those that read.
    assert sum(windows) - 8 * INITIAL_CREDIT_BYTES <= 4 * MIB
    assert max(windows) > MIB
    assert all(have <= window + 64 * KIB for have, window in zip(received, windows, strict=True))


# Credit in every attempt.


def supply_until_sent(net: Net, client: Node, stream_id: int, data: bytes) -> None:
    """Give a source's next bytes, and stop when a chunk is on a lane."""
    before = len(net.sent("client", Chunk))
    client.supply(stream_id, data)
    net.run_until(lambda: len(net.sent("client", Chunk)) > before)


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("kind", [StreamKind.BLOB, StreamKind.STREAM])
@pytest.mark.parametrize("size", [300 * KIB, None])
def test_each_attempt_gets_a_credit_until_everything_has_arrived(
    size: int | None, kind: StreamKind, unread: bool
) -> None:
    """Also of a blob that was granted its size before: how little its origin has begun with no target can know."""
    net = Net()
    server, client = net.pair()
    server.auto_read = not unread
    stream_id = client.send("server", None, size=size, kind=kind)
    for _ in range(3):
        supply_until_sent(net, client, stream_id, pattern(50 * KIB))
        net.cut_all()
        net.advance(10.0)
    attempts = {chunk.attempt for chunk in net.sent("client", Chunk)}
    assert len(attempts) > 2
    assert {credit.attempt for credit in net.sent("server", Credit)} >= attempts
