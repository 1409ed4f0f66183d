"""What the contract's tests share: cells on either network, and ways to wait that do not sleep for luck."""

from __future__ import annotations

import dataclasses
import functools
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import pytest

from streamcell import (
    CellConfig,
    CellError,
    CoreCell,
    HeaderValue,
    Message,
    ReceivedStream,
    StreamCell,
    StreamError,
    StreamFuture,
)
from streamcell.protocol.stats import CellStats
from streamcell.testing import FaultyNetwork
from streamcell.transport.base import Network
from tests.kit.timing import scaled

T = TypeVar("T")

KIB = 1024
MIB = 1024 * KIB

# How long anything may take that is to happen "at once" or "in the end". Never waited for when all is well.
WAIT_S = scaled(30)
# Short enough to be waited for, long enough that a busy machine does not reach it by accident.
IDLE_S = scaled(1.0)

CHANNEL = "contract"
TOPIC = "topic"
_BARRIER = "barrier"

# As by default, but quick to come back after a break, and quick to end.
QUICK = CellConfig(backoff_min_s=0.01, backoff_max_s=0.05, stop_grace_s=0)


@dataclasses.dataclass(frozen=True)
class Peer:
    """A cell, with short ways to do what tests do most."""

    cell: CoreCell
    streams: StreamCell

    @property
    def fqcn(self) -> str:
        return self.cell.fqcn

    def send_stream(
        self,
        target: Peer | str,
        payload: Any,
        *,
        topic: str = TOPIC,
        headers: Mapping[str, HeaderValue] | None = None,
        **more: Any,
    ) -> StreamFuture:
        return self.streams.send_stream(CHANNEL, topic, name_of(target), Message(headers, payload), **more)

    def send_blob(
        self,
        target: Peer | str,
        payload: Any,
        *,
        topic: str = TOPIC,
        headers: Mapping[str, HeaderValue] | None = None,
        **more: Any,
    ) -> StreamFuture:
        return self.streams.send_blob(CHANNEL, topic, name_of(target), Message(headers, payload), **more)

    def request(
        self, target: Peer | str, payload: Any = None, *, topic: str = TOPIC, timeout: float = WAIT_S
    ) -> Message:
        return self.cell.send_request(CHANNEL, topic, name_of(target), Message(None, payload), timeout)

    def on_stream(self, callback: Callable[..., Any], *, topic: str = TOPIC) -> None:
        self.streams.register_stream_cb(CHANNEL, topic, callback)

    def on_blob(self, callback: Callable[..., Any], *, topic: str = TOPIC, **more: Any) -> None:
        self.streams.register_blob_cb(CHANNEL, topic, callback, **more)

    def on_request(self, callback: Callable[[Message], Any], *, topic: str = TOPIC) -> None:
        self.cell.register_request_cb(CHANNEL, topic, callback)

    def stats(self) -> CellStats:
        return self.cell.stats().protocol

    def meet(self, other: Peer) -> None:
        """Wait until all frames that were under way between the two have been handled."""
        self.cell.send_request(_BARRIER, "here", other.fqcn, Message(), WAIT_S)
        other.cell.send_request(_BARRIER, "there", self.fqcn, Message(), WAIT_S)


# Two cells that are connected: a sender and a receiver.
Pair = tuple[Peer, Peer]


class Cells:
    """Makes cells on one network, and stops them all."""

    def __init__(self, network: FaultyNetwork, listen_url: str) -> None:
        self.network = network
        self.listen_url = listen_url
        self._made: list[CoreCell] = []
        #: Called at the end, before the cells are stopped: what lets threads of the test go.
        self.at_end: list[Callable[[], object]] = []

    def make(
        self,
        fqcn: str,
        *,
        listen: str | None = None,
        connect: str | list[str] | None = None,
        config: CellConfig = QUICK,
        network: Network | None = None,
    ) -> Peer:
        """Return a cell that is not started."""
        cell = CoreCell(fqcn, listen=listen, connect=connect, config=config, network=network or self.network)
        cell.register_request_cb(_BARRIER, "*", return_none)
        self._made.append(cell)
        return Peer(cell, StreamCell(cell))

    def listen(self, fqcn: str = "hub", *, url: str = "", config: CellConfig = QUICK) -> Peer:
        """Return a cell that listens."""
        peer = self.make(fqcn, listen=url or self.listen_url, config=config)
        peer.cell.start()
        return peer

    def dial(
        self, parent: Peer, fqcn: str = "site", *, config: CellConfig = QUICK, network: Network | None = None
    ) -> Peer:
        """Return a cell that is connected with ``parent``."""
        peer = self.make(fqcn, connect=parent.cell.listen_urls[0], config=config, network=network)
        peer.cell.start()
        peer.cell.wait_connected(WAIT_S)
        return peer

    def pair(self, *, sender: CellConfig = QUICK, receiver: CellConfig = QUICK) -> Pair:
        """Return two cells that are connected. The first one has dialled: faults ``TO_LISTENER`` hit what it sends."""
        hub = self.listen(config=receiver)
        return self.dial(hub, config=sender), hub

    def kill(self, peer: Peer) -> None:
        """End a cell so that the others hear nothing of it, as if its process had been killed."""
        self.network.stall()
        peer.cell.stop(grace=0)
        self.network.cut()
        self.network.release()

    def stop(self) -> None:
        """Stop all cells."""
        for let_go in self.at_end:
            let_go()
        self.network.heal()
        for cell in self._made:
            cell.stop(grace=0)


class Inbox(Generic[T]):
    """Where callbacks put what they got, for the test to take."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()

    def put(self, item: T) -> None:
        self._items.put(item)

    def get(self) -> T:
        """Wait for the next item."""
        return self._items.get(timeout=WAIT_S)

    def is_empty(self) -> bool:
        return self._items.empty()


class Reader:
    """A stream callback that reads to the end, or to a failure, and keeps what came of it.

    ``futures`` gets the future at the start, ``outcomes`` the bytes and the error, if any.
    """

    def __init__(self, *, when: threading.Event | None = None) -> None:
        self.futures = Inbox[StreamFuture]()
        self.outcomes = Inbox[tuple[bytes, CellError | None]]()
        self._when = when

    def __call__(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert not resume
        self.futures.put(future)
        if self._when is not None:
            wait_for(self._when)
        data = bytearray()
        raised: CellError | None = None
        try:
            while piece := stream.read(MIB):
                data += piece
        except CellError as error:
            raised = error
        self.outcomes.put((bytes(data), raised))


def reading_when(gate: threading.Event, read: Inbox[bytes]) -> Callable[[StreamFuture, ReceivedStream, bool], None]:
    """Return a stream callback that waits for ``gate``, reads all of it, and puts that into ``read``."""

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        wait_for(gate)
        read.put(stream.read(-1))

    return callback


def name_of(target: Peer | str) -> str:
    return target if isinstance(target, str) else target.fqcn


def return_none(_request: Message) -> None:
    """Answer a request with nothing."""


@functools.cache
def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes in which every offset can be told from every other one nearby."""
    words = range(seed, seed + size // 4 + 1)
    return b"".join(word.to_bytes(4, "big") for word in words)[:size]


def wait_for(event: threading.Event) -> None:
    """Wait for an event that is bound to come."""
    assert event.wait(WAIT_S), "what was waited for did not happen"


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until ``condition`` holds, for what has no event to wait for."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("what was waited for did not happen")
        time.sleep(0.002)


def let_time_pass(seconds: float) -> None:
    """Stand still, where a test shows that something does *not* happen in that time."""
    threading.Event().wait(seconds)


def failure_of(future: StreamFuture) -> BaseException:
    """Wait for the end of a transfer that fails, and return what with."""
    error = future.exception(WAIT_S)
    assert error is not None, f"{future} did not fail"
    return error


def stream_failure_of(future: StreamFuture) -> StreamError:
    """Wait for the end of a transfer that fails with a StreamError, and return it."""
    error = failure_of(future)
    assert isinstance(error, StreamError), error
    return error


def is_paused(sender: Peer, receiver: Peer) -> bool:
    """Tell whether the one stream between two cells stands still: all credit used, and all that was sent arrived."""
    sends, receives = sender.stats().sends, receiver.stats().receives
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
    wait_until(lambda: bool(set(network.lanes) - cut))
