"""Transfers that several tests need."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from typing import Any, TypeAlias

import pytest

from streamcell import HeaderValue, IterStream, Message, ReceivedStream, Stream, StreamCancelled, StreamFuture
from tests.kit.cells import Pair
from tests.kit.waiting import Gate

CHUNK = 1 << 20

# Bytes, headers and declared size of a stream that has arrived.
Arrived: TypeAlias = tuple[bytes, dict[str, HeaderValue], int]


def drain(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    for _ in stream.pieces():
        pass


def endless() -> IterStream:
    return IterStream(itertools.repeat(bytes(CHUNK)))


def blocked_stream(pair: Pair, gate: Gate, size: int = 4 * CHUNK) -> StreamFuture:
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


class Recorded(Stream):
    """A source that notes how it is used. It gives pieces, in parts as asked for, and raises exceptions among them."""

    def __init__(self, pieces: list[Any], size: int = 0, headers: dict[str, HeaderValue] | None = None) -> None:
        super().__init__(size, headers)
        self.left = list(pieces)
        self.asked: list[int] = []
        self.closed = 0
        self.threads: set[threading.Thread] = set()

    def read(self, size: int) -> Any:
        assert not self.closed
        self.asked.append(size)
        self.threads.add(threading.current_thread())
        if not self.left:
            return b""
        piece = self.left.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        if isinstance(piece, bytes) and len(piece) > size:
            self.left.insert(0, piece[size:])
            return piece[:size]
        return piece

    def close(self) -> None:
        self.closed += 1


def send(pair: Pair, payload: Any, headers: dict[str, Any] | None = None) -> StreamFuture:
    return pair.at_site.send_stream("c", "t", "server", Message(headers, payload))
