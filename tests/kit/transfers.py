"""Transfers that several tests need, and what becomes of them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from streamcell import (
    CellError,
    HeaderValue,
    Message,
    ReceivedStream,
    StreamCancelled,
    StreamError,
    StreamFuture,
)
from streamcell.testing import FaultyNetwork
from tests.kit.cells import Pair, Peer
from tests.kit.payloads import MIB
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# Bytes, headers and declared size of a stream that has arrived.
Arrived: TypeAlias = tuple[bytes, dict[str, HeaderValue], int]


def drain(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    for _ in stream.pieces():
        pass


def blocked_stream(pair: Pair, gate: Gate, size: int = 4 * MIB) -> StreamFuture:
    """Send a stream whose reader waits at the gate, and then reads all."""

    def wait_and_read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        gate.pass_through()
        drain(future, stream, resume)

    pair.at_server.register_stream_cb("blocked", "t", wait_and_read)
    return pair.at_site.send_stream("blocked", "t", "server", Message({}, bytes(size)))


def assert_cancelled(future: StreamFuture) -> None:
    assert future.cancelled()
    assert future.done()
    assert not future.running()
    for wait in (future.result, future.exception):
        with pytest.raises(StreamCancelled) as raised:
            wait(0)
        assert isinstance(raised.value, concurrent.futures.CancelledError)
    assert future.cancel()
    assert "cancelled" in repr(future)


def send(pair: Pair, payload: Any, headers: dict[str, Any] | None = None) -> StreamFuture:
    return pair.at_site.send_stream("c", "t", "server", Message(headers, payload))


class Reader:
    """A stream callback that reads to the end, or to a failure, and keeps what came of it.

    ``futures`` gets the future at the start, ``outcomes`` the bytes and the error, if any.
    """

    def __init__(self, *, when: Gate | None = None) -> None:
        self.futures = Box[StreamFuture]()
        self.outcomes = Box[tuple[bytes, CellError | None]]()
        self._when = when

    def __call__(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert not resume
        self.futures.put(future)
        if self._when is not None:
            self._when.pass_through()
        data = bytearray()
        raised: CellError | None = None
        try:
            while piece := stream.read(MIB):
                data += piece
        except CellError as error:
            raised = error
        self.outcomes.put((bytes(data), raised))


def reading_when(gate: Gate, read: Box[bytes]) -> Callable[[StreamFuture, ReceivedStream, bool], None]:
    """Return a stream callback that waits for ``gate``, reads all of it, and puts that into ``read``."""

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        gate.pass_through()
        read.put(stream.read(-1))

    return callback


def failure_of(future: StreamFuture) -> BaseException:
    """Wait for the end of a transfer that fails, and return what with."""
    error = future.exception(PATIENCE_S)
    assert error is not None, f"{future} did not fail"
    return error


def stream_failure_of(future: StreamFuture) -> StreamError:
    """Wait for the end of a transfer that fails with a StreamError, and return it."""
    error = failure_of(future)
    assert isinstance(error, StreamError), error
    return error


def is_paused(sender: Peer, receiver: Peer) -> bool:
    """Tell whether the one stream between two cells stands still: all credit used, and all that was sent arrived."""
    sends, receives = sender.stats().protocol.sends, receiver.stats().protocol.receives
    if not sends or not receives:
        return False
    sent, received = sends[0], receives[0]
    # Credit is never taken back: after a break the receiver may count less of it than the sender still has. It gives
    # more when the application takes the stream.
    told = received.state == "receiving" and sent.credit >= received.credit
    return told and sent.sent >= sent.credit and received.received == sent.sent


def cut_and_reconnect(network: FaultyNetwork) -> None:
    """Cut all lanes, and wait until a fresh one was dialled."""
    cut = set(network.lanes)
    network.cut()
    eventually(lambda: bool(set(network.lanes) - cut))
