"""A cell that is stopped tells the truth about streams that were read to their ends."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator

import pytest

from streamcell import ErrorCode, Message, ReceivedStream, StreamError, StreamFuture
from tests.kit.cells import CARRIERS, Pair, connected_pair
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate


@pytest.fixture(params=CARRIERS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with connected_pair(CARRIERS[request.param]()) as cells:
        yield cells


def begin(pair: Pair, gate: Gate, ends: Box[str]) -> StreamFuture:
    """Send to a callback that stands still behind the end of its stream."""

    def receive(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        stream.readall()
        gate.pass_through()
        ends.put("returned")

    pair.at_server.register_stream_cb("c", "t", receive)
    sent = pair.at_site.send_stream("c", "t", "server", Message(None, b"some bytes"))
    gate.wait_arrived()
    return sent


def test_case_1_6_stop_waits_for_a_callback_behind_its_end(pair: Pair) -> None:
    ends: Box[str] = Box()
    with Gate() as gate, concurrent.futures.ThreadPoolExecutor(1) as pool:
        sent = begin(pair, gate, ends)
        stopping = pool.submit(pair.server.stop, PATIENCE_S)
        # A stop that does not wait takes some milliseconds.
        assert not concurrent.futures.wait([sent, stopping], scaled(0.2), "FIRST_COMPLETED").done
        gate.open()
        assert sent.result(PATIENCE_S) == len(b"some bytes")
        stopping.result(PATIENCE_S)
    assert ends.get() == "returned"


def test_case_1_6_stop_does_not_wait_beyond_its_grace(pair: Pair) -> None:
    with Gate() as gate:
        sent = begin(pair, gate, Box())
        pair.server.stop(0)
        error = sent.exception(PATIENCE_S)
        assert isinstance(error, StreamError)
        assert error.code is ErrorCode.STOPPING


def test_case_1_6_stop_does_not_wait_for_a_callback_that_reads(pair: Pair) -> None:
    begun: Box[str] = Box()

    def receive(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        begun.put("begun")
        stream.readall()

    with Gate() as gate:

        def source() -> Iterator[bytes]:
            yield b"first"
            gate.pass_through()

        pair.at_server.register_stream_cb("c", "t", receive)
        sent = pair.at_site.send_stream("c", "t", "server", Message(None, source()))
        begun.get()
        # Without a bound of its own it would wait here.
        pair.server.stop(100 * PATIENCE_S)
        error = sent.exception(PATIENCE_S)
        assert isinstance(error, StreamError)
        assert error.code is ErrorCode.STOPPING
