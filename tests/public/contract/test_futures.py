"""What a future shows of its transfer while that runs (CONTRACT section 1, StreamFuture)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator

import pytest

from streamcell import ReceivedStream, StreamFuture
from tests.kit.cells import CHANNEL, TOPIC, Pair
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import Reader, is_paused
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually


def test_both_futures_name_the_transfer(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    sent = sender.send_stream(receiver, pattern(MIB), headers={"layer": 3})
    received = reader.futures.get()
    for future in (sent, received):
        assert (future.origin, future.target) == (sender.fqcn, receiver.fqcn)
        assert (future.channel, future.topic) == (CHANNEL, TOPIC)
        assert future.get_headers() == {"layer": 3}
        assert future.get_size() == MIB
        assert future.running()
        assert not future.done()
        assert not future.cancelled()
    assert sent.get_stream_id() == received.get_stream_id() > 0
    gate.open()
    assert sent.result(PATIENCE_S) == received.result(PATIENCE_S) == MIB
    for future in (sent, received):
        assert future.done()
        assert not future.running()
        assert future.exception(0) is None


def test_progress_counts_what_the_target_has_received(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    sent = sender.send_stream(receiver, pattern(8 * MIB))
    received = reader.futures.get()
    eventually(lambda: is_paused(sender, receiver))
    arrived = receiver.stats().protocol.receives[0].received
    assert 0 < arrived < 8 * MIB
    assert received.get_progress() == arrived
    eventually(lambda: sent.get_progress() == arrived)
    assert sent.rate > 0
    eta = sent.eta
    assert eta is None or eta > 0
    gate.open()
    assert sent.result(PATIENCE_S) == 8 * MIB
    assert sent.get_progress() == received.get_progress() == 8 * MIB
    assert sent.eta == 0


def test_progress_counts_little_too(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    receiver.on_stream(lambda future, stream, resume: stream.read(-1))

    def pieces() -> Iterator[bytes]:
        yield b"little"
        gate.pass_through()

    sent = sender.send_stream(receiver, pieces())
    eventually(lambda: sent.get_progress() == 6)
    assert sent.get_size() == 0
    assert sent.eta is None
    gate.open()
    assert sent.result(PATIENCE_S) == 6


def test_progress_never_falls_while_the_target_lives(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_stream(lambda future, stream, resume: stream.read(-1))
    sent = sender.send_stream(receiver, pattern(6 * MIB))
    seen = [0]
    while not concurrent.futures.wait([sent], 0.001).done:
        seen.append(sent.get_progress())
    assert sent.result(PATIENCE_S) == 6 * MIB
    assert seen == sorted(seen)


def test_result_that_gives_up_waiting_is_a_timeout_error_and_the_transfer_goes_on(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.read(-1)
        gate.pass_through()

    receiver.on_stream(callback)
    sent = sender.send_stream(receiver, b"data")
    for ask in (sent.result, sent.exception):
        with pytest.raises(TimeoutError):
            ask(0.01)
    gate.open()
    assert sent.result(PATIENCE_S) == 4


def test_futures_work_with_the_standard_library(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_blob(lambda future: None)
    futures = [sender.send_blob(receiver, bytes(size * KIB)) for size in range(5)]
    assert concurrent.futures.wait(futures, PATIENCE_S).not_done == set()
    assert set(concurrent.futures.as_completed(futures, PATIENCE_S)) == set(futures)

    async def gather() -> list[int]:
        more = [asyncio.wrap_future(sender.send_blob(receiver, bytes(size * KIB))) for size in range(5)]
        async with asyncio.timeout(PATIENCE_S):
            return [await future for future in more]

    assert asyncio.run(gather()) == [size * KIB for size in range(5)]


def test_done_callback_that_is_added_after_the_end_is_called_too(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_blob(lambda future: None)
    called = Box[tuple[StreamFuture, str]]()
    sent = sender.send_blob(receiver, b"data")
    sent.result(PATIENCE_S)
    sent.add_done_callback(lambda future, word: called.put((future, word)), "late")
    assert called.get() == (sent, "late")
