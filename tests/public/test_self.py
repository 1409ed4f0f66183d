"""A cell reaches itself by its own name, with all that holds between two cells."""

from __future__ import annotations

import threading

import pytest

from streamcell import CellError, Message, StreamFuture, StreamRejected
from tests.kit.cells import CHANNEL, TOPIC, Cells, Peer
from tests.kit.payloads import MIB, pattern
from tests.kit.transfers import Reader, failure_of, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually, wait_for

# Several windows of a stream at its start, and not a whole number of chunks.
DATA = pattern(9 * MIB + 5)


@pytest.fixture(params=["alone", "connected"])
def hub(cells: Cells, request: pytest.FixtureRequest) -> Peer:
    """A cell, with a neighbour or without."""
    hub = cells.listen()
    if request.param == "connected":
        cells.dial(hub)
    return hub


def test_streams_and_blobs_to_itself_arrive(hub: Peer) -> None:
    reader = Reader()
    blobs = Box[bytes]()
    hub.on_stream(reader)
    hub.on_blob(lambda future: blobs.put(bytes(future.result())), topic="blob")
    stream, blob = hub.send_stream(hub, DATA), hub.send_blob(hub, DATA, topic="blob")
    assert [stream.result(PATIENCE_S), blob.result(PATIENCE_S)] == [len(DATA)] * 2
    assert reader.outcomes.get() == (DATA, None)
    assert blobs.get() == DATA
    assert (hub.stats().protocol.bytes_retransmitted, hub.stats().protocol.resumes) == (0, 0)


def test_what_arrived_is_not_the_senders_memory(hub: Peer) -> None:
    """A caller may change its buffer when the future has settled."""
    blobs = Box[StreamFuture]()
    hub.on_blob(blobs.put)
    mine = bytearray(DATA)
    assert hub.send_blob(hub, mine).result(PATIENCE_S) == len(DATA)
    mine[:] = bytes(len(mine))
    assert blobs.get().result() == DATA


def test_requests_to_itself_are_answered(hub: Peer) -> None:
    hub.on_request(lambda request: Message({"from": request.origin}, bytes(request.payload) * 2))
    reply = hub.request(hub, b"twice")
    assert (bytes(reply.payload), reply.get_header("from")) == (b"twicetwice", hub.fqcn)


def test_a_callback_may_ask_its_own_cell(hub: Peer) -> None:
    hub.on_request(lambda request: Message(None, bytes(hub.request(hub, b"inner", topic="inner").payload)))
    hub.on_request(lambda request: Message(None, request.payload), topic="inner")
    assert bytes(hub.request(hub, b"outer").payload) == b"inner"


def test_fire_and_forget_reaches_itself(hub: Peer) -> None:
    asked = Box[bytes]()
    hub.on_request(lambda request: asked.put(bytes(request.payload)))
    assert hub.fire_and_forget(CHANNEL, TOPIC, [hub.fqcn], Message(None, b"news")) == {hub.fqcn: None}
    assert asked.get() == b"news"


def test_a_cell_knows_that_it_reaches_itself(hub: Peer) -> None:
    assert hub.is_cell_reachable(hub.fqcn)
    assert not hub.is_cell_connected(hub.fqcn)
    hub.on_blob(lambda future: None)
    assert hub.send_blob(hub, b"x", optional=True).result(PATIENCE_S) == 1


def test_without_a_callback_it_is_refused(hub: Peer) -> None:
    assert isinstance(stream_failure_of(hub.send_stream(hub, b"x")), StreamRejected)


def test_it_may_be_one_of_several_targets(cells: Cells) -> None:
    hub = cells.listen()
    site = cells.dial(hub)
    readers = {peer.fqcn: Reader() for peer in (hub, site)}
    for peer in (hub, site):
        peer.on_stream(readers[peer.fqcn])
    names = [hub.fqcn, site.fqcn]
    futures = hub.streams.send_stream(CHANNEL, TOPIC, names, Message(None, DATA))
    assert {name: future.result(PATIENCE_S) for name, future in futures.items()} == dict.fromkeys(names, len(DATA))
    assert [readers[name].outcomes.get() for name in names] == [(DATA, None)] * 2


def test_a_cell_that_is_not_connected_reaches_itself(cells: Cells) -> None:
    lonely = cells.make("lonely", connect=f"{cells.listen_url.rstrip('0')}1")
    lonely.start()
    blobs = Box[bytes]()
    lonely.on_blob(lambda future: blobs.put(bytes(future.result())))
    assert lonely.send_blob(lonely, b"x").result(PATIENCE_S) == 1
    assert blobs.get() == b"x"


def test_a_slow_reader_holds_up_nothing_else(hub: Peer, gate: Gate) -> None:
    reader = Reader(when=gate)
    hub.on_stream(reader)
    hub.on_request(lambda request: Message(None, request.payload))
    slow = hub.send_stream(hub, DATA)
    eventually(lambda: any(receive.received > 0 for receive in hub.stats().protocol.receives))
    assert bytes(hub.request(hub, b"quick").payload) == b"quick"
    assert [sent.sent < len(DATA) for sent in hub.stats().protocol.sends if sent.size_bytes == len(DATA)] == [True]
    gate.open()
    assert slow.result(PATIENCE_S) == len(DATA)
    assert reader.outcomes.get() == (DATA, None)


def test_a_cell_that_stops_fails_what_it_sends_to_itself(hub: Peer, gate: Gate) -> None:
    started = threading.Event()

    def read(future: StreamFuture, stream: object, resume: bool) -> None:
        started.set()
        gate.pass_through()

    hub.on_stream(read)
    future = hub.send_stream(hub, DATA)
    wait_for(started)
    hub.stop(grace=0)
    assert isinstance(failure_of(future), CellError)
