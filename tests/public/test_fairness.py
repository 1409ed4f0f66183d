"""What one origin can take from others: nothing for ever, and from nobody what it needs to go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from streamcell import Message, ReceivedStream, StreamFuture
from streamcell.stats import PoolStats
from tests.kit.cells import QUICK, Cells, Peer
from tests.kit.payloads import MIB, pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# With so few threads of each sort two more are there for those who come late.
FEW = dataclasses.replace(QUICK, callback_threads=4, request_threads=4)
THREADS = 4


def pool_of(cell: Peer, work: str) -> PoolStats:
    (found,) = [pool for pool in cell.stats().pools if pool.name == f"{cell.fqcn}-{work}"]
    return found


def endless(gate: Gate) -> Iterator[bytes]:
    """Give a byte, and then nothing until the test ends."""
    yield b"a"
    gate.pass_through()


def read_all(read: Box[bytes]) -> Callable[[StreamFuture, ReceivedStream, bool], None]:
    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        read.put(stream.read(-1))

    return callback


def test_streams_that_never_end_take_all_threads_while_nobody_else_wants_one_and_hold_up_no_other_origin(
    cells: Cells, gate: Gate
) -> None:
    hub = cells.listen(config=FEW)
    flood, late = cells.dial(hub, "flood"), cells.dial(hub, "late")
    started, read = Box[int](), Box[bytes]()

    def never_ends(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.put(1)
        stream.read(-1)

    hub.on_stream(never_ends, topic="endless")
    hub.on_stream(read_all(read))
    sent = [flood.send_stream(hub, endless(gate), topic="endless") for _ in range(3 * THREADS)]
    started.get_all(THREADS)
    eventually(lambda: pool_of(hub, "stream").waiting == 2 * THREADS)
    assert pool_of(hub, "stream").running == THREADS
    for seed in range(5):
        data = pattern(MIB, seed)
        assert late.send_stream(hub, data).result(PATIENCE_S) == MIB
        assert read.get() == data
    assert started.is_empty()
    gate.open()
    assert [future.result(PATIENCE_S) for future in sent] == [1] * len(sent)


def test_where_the_late_origin_floods_too_a_third_one_is_served(cells: Cells, gate: Gate) -> None:
    hub = cells.listen(config=dataclasses.replace(QUICK, callback_threads=8))
    started = Box[str]()

    def never_ends(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.put(stream.origin)
        stream.read(-1)

    hub.on_stream(never_ends)
    sent = []
    for name, threads in (("flood", 8), ("second", 2), ("third", 1)):
        origin = cells.dial(hub, name)
        sent += [origin.send_stream(hub, endless(gate)) for _ in range(10)]
        assert started.get_all(threads) == [name] * threads
    gate.open()
    assert [future.result(PATIENCE_S) for future in sent] == [1] * len(sent)


def test_blob_callbacks_that_block_hold_up_no_blob_of_another_origin(cells: Cells, gate: Gate) -> None:
    """Neither for threads, nor for the memory that those hold which wait for one."""
    hub = cells.listen(config=dataclasses.replace(FEW, blob_budget_bytes=3 * MIB, max_blob_bytes=3 * MIB))
    flood, late = cells.dial(hub, "flood"), cells.dial(hub, "late")
    started, got = Box[int](), Box[bytes]()

    def never_returns(future: StreamFuture) -> None:
        started.put(1)
        gate.pass_through()

    hub.on_blob(never_returns, topic="blocked")
    hub.on_blob(lambda future: got.put(bytes(future.result())))
    hub.on_blob(
        lambda future: got.put(bytes(future.result())), topic="into", into=lambda size, headers: bytearray(size or 0)
    )
    sent = [flood.send_blob(hub, pattern(2 * MIB, seed), topic="blocked") for seed in range(3 * THREADS)]
    started.get_all(THREADS)
    eventually(lambda: pool_of(hub, "blob").waiting == 1)
    for seed in range(5):
        for topic in ("t", "into"):
            data = pattern(2 * MIB, seed)
            assert late.send_blob(hub, data, topic=topic).result(PATIENCE_S) == 2 * MIB
            assert got.get() == data
    assert started.is_empty()
    gate.open()
    assert [future.result(PATIENCE_S) for future in sent] == [2 * MIB] * len(sent)


def test_request_callbacks_that_block_hold_up_no_request_of_another_origin(cells: Cells, gate: Gate) -> None:
    hub = cells.listen(config=dataclasses.replace(FEW, request_budget_bytes=3 * MIB, max_blob_bytes=3 * MIB))
    flood, late = cells.dial(hub, "flood"), cells.dial(hub, "late")
    started = Box[int]()

    def never_returns(request: Message) -> None:
        started.put(1)
        gate.pass_through()

    hub.on_request(never_returns, topic="blocked")
    hub.on_request(lambda request: request)
    for _ in range(3 * THREADS):
        flood.fire_and_forget("c", "blocked", hub.fqcn, Message(None, bytes(2 * MIB)))
    started.get_all(THREADS)
    eventually(lambda: pool_of(hub, "request").waiting == 1)
    for number in range(20):
        assert bytes(late.request(hub, b"%d" % number).payload) == b"%d" % number
    assert len(late.request(hub, bytes(2 * MIB)).payload) == 2 * MIB
    assert started.is_empty()
    gate.open()
    started.get_all(2 * THREADS)


def test_many_names_behind_one_child_hold_up_no_other_child(cells: Cells, gate: Gate) -> None:
    hub = cells.listen(config=FEW)
    relay = cells.make("relay", connect=hub.listen_urls, listen=cells.listen_url)
    relay.start()
    late = cells.dial(hub, "late")
    started, read = Box[str](), Box[bytes]()

    def never_ends(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        started.put(stream.origin)
        stream.read(-1)

    hub.on_stream(never_ends, topic="endless")
    hub.on_stream(read_all(read))
    sent = []
    for number in range(8):
        name = cells.dial(relay, f"name-{number}")
        sent += [name.send_stream(hub, endless(gate), topic="endless") for _ in range(4)]
    # All threads, and half of the spare.
    started.get_all(THREADS + 1)
    eventually(lambda: pool_of(hub, "stream").waiting == len(sent) - THREADS - 1)
    for seed in range(5):
        data = pattern(MIB, seed)
        assert late.send_stream(hub, data).result(PATIENCE_S) == MIB
        assert read.get() == data
    assert started.is_empty()
    gate.open()
    assert [future.result(PATIENCE_S) for future in sent] == [1] * len(sent)
