"""Callbacks: which one is called, with what, and what may be done inside of one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import (
    CoreCell,
    IterStream,
    Message,
    ReceivedStream,
    StreamCell,
    StreamFuture,
    StreamRejected,
    UsageError,
)
from tests.kit.cells import Carrier, Pair, running
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate

DATA = pattern(3_000_000)


class Registered:
    """Callbacks that say which of them was called."""

    def __init__(self, cell: StreamCell) -> None:
        self.calls: Box[str] = Box()
        self._cell = cell

    def stream(self, channel: str, topic: str, name: str) -> None:
        def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            stream.read(-1)
            self.calls.put(name)

        self._cell.register_stream_cb(channel, topic, callback)

    def blob(self, channel: str, topic: str, name: str) -> None:
        self._cell.register_blob_cb(channel, topic, lambda future: self.calls.put(name))


def called_for(pair: Pair, registered: Registered, channel: str, topic: str, kind: str = "send_blob") -> str:
    """Send something and return which callback got it."""
    try:
        getattr(pair.at_site, kind)(channel, topic, "server", Message({}, b"x")).result(PATIENCE_S)
    except StreamRejected:
        return ""
    return registered.calls.get()


# --- which one


def test_lookup_goes_from_exact_to_any(pair: Pair) -> None:
    registered = Registered(pair.at_server)
    assert called_for(pair, registered, "c", "t") == ""
    registered.blob("*", "*", "any")
    assert called_for(pair, registered, "c", "t") == "any"
    registered.blob("c", "*", "channel")
    assert called_for(pair, registered, "c", "t") == "channel"
    registered.blob("c", "t", "exact")
    assert called_for(pair, registered, "c", "t") == "exact"
    assert called_for(pair, registered, "c", "other") == "channel"
    assert called_for(pair, registered, "other", "t") == "any"


def test_no_lookup_by_topic_alone(pair: Pair) -> None:
    registered = Registered(pair.at_server)
    registered.blob("*", "t", "topic")
    assert called_for(pair, registered, "c", "t") == ""


def test_the_senders_kind_decides_if_both_are_registered(pair: Pair) -> None:
    registered = Registered(pair.at_server)
    registered.blob("c", "t", "blob")
    assert called_for(pair, registered, "c", "t", "send_stream") == "blob"
    registered.stream("c", "t", "stream")
    assert called_for(pair, registered, "c", "t", "send_stream") == "stream"
    assert called_for(pair, registered, "c", "t", "send_blob") == "blob"
    pair.at_server.unregister_blob_cb("c", "t")
    assert called_for(pair, registered, "c", "t", "send_blob") == "stream"


def test_registering_again_replaces_and_unregistering_forgets(pair: Pair) -> None:
    registered = Registered(pair.at_server)
    registered.blob("c", "t", "first")
    registered.blob("c", "t", "second")
    assert called_for(pair, registered, "c", "t") == "second"
    pair.at_server.unregister_stream_cb("c", "t")
    assert called_for(pair, registered, "c", "t") == "second"
    pair.at_server.unregister_blob_cb("c", "t")
    assert called_for(pair, registered, "c", "t") == ""
    pair.at_server.unregister_blob_cb("c", "t")


def test_several_stream_cells_share_the_registry_of_their_cell(pair: Pair) -> None:
    registered = Registered(StreamCell(pair.server))
    registered.blob("c", "t", "one")
    StreamCell(pair.server).unregister_blob_cb("c", "t")
    assert called_for(pair, registered, "c", "t") == ""


def test_unregistering_lets_those_go_on_that_have_begun(pair: Pair) -> None:
    with Gate() as gate:

        def read_late(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            gate.pass_through()
            assert stream.read(-1) == DATA

        pair.at_server.register_stream_cb("c", "t", read_late)
        future = pair.at_site.send_stream("c", "t", "server", Message({}, DATA))
        gate.wait_arrived()
        pair.at_server.unregister_stream_cb("c", "t")
        gate.open()
        assert future.result(PATIENCE_S) == len(DATA)


@pytest.mark.parametrize("name", ["", None, 3, "x" * 256, "\ud800"])
def test_bad_names_and_callbacks_are_refused(name: Any) -> None:
    cell = CoreCell("server")
    streams = StreamCell(cell)
    for register in (streams.register_stream_cb, streams.register_blob_cb, cell.register_request_cb):
        for names in ((name, "t"), ("c", name)):
            with pytest.raises(UsageError, match=r"channel|topic"):
                register(*names, print)
        with pytest.raises(UsageError, match="callable"):
            register("c", "t", "not a function")  # type: ignore[arg-type]
    for unregister in (streams.unregister_stream_cb, streams.unregister_blob_cb):
        with pytest.raises(UsageError, match="channel"):
            unregister([], [])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="into"):
        streams.register_blob_cb("c", "t", print, into=b"buffer")  # type: ignore[arg-type]
    for set_callback in (cell.set_cell_connected_cb, cell.set_cell_disconnected_cb):
        with pytest.raises(UsageError, match="callable"):
            set_callback(None)  # type: ignore[arg-type]


def test_unicode_names(pair: Pair) -> None:
    registered = Registered(pair.at_server)
    registered.blob("Kanal 🙂", "ü" * 127, "found")
    assert called_for(pair, registered, "Kanal 🙂", "ü" * 127) == "found"


# --- with what


def test_arguments_are_passed_on(pair: Pair) -> None:
    got: Box[tuple[Any, ...]] = Box()

    def stream_cb(future: StreamFuture, stream: ReceivedStream, resume: bool, *args: Any, **kwargs: Any) -> None:
        got.put((type(future), type(stream), resume, args, kwargs, stream.read(-1)))

    pair.at_server.register_stream_cb("c", "t", stream_cb, 1, "two", three=3)
    pair.at_site.send_stream("c", "t", "server", Message({}, b"x")).result(PATIENCE_S)
    assert got.get() == (StreamFuture, ReceivedStream, False, (1, "two"), {"three": 3}, b"x")


def test_each_callback_has_a_thread_of_its_own(pair: Pair) -> None:
    with Gate() as gate:
        threads: Box[threading.Thread] = Box()

        def wait(*_: Any) -> None:
            threads.put(threading.current_thread())
            gate.pass_through()

        pair.at_server.register_blob_cb("c", "t", wait)
        pair.at_server.register_stream_cb("c", "s", wait)
        for _ in range(5):
            pair.at_site.send_blob("c", "t", "server", Message({}, b""))
            pair.at_site.send_stream("c", "s", "server", Message({}, b""))
        gate.wait_arrived(10)
        running_in = threads.get_all(10)
        assert len(set(running_in)) == 10
        assert all(thread.daemon for thread in running_in)


# --- what may be done inside: everything, and nothing there blocks


def test_sending_never_blocks(pair: Pair) -> None:
    with Gate() as gate:

        def wait_to_give(size: int) -> bytes:
            gate.pass_through()
            return b""

        def blocked() -> Any:
            source = IterStream(())
            source.read = wait_to_give  # type: ignore[assignment,method-assign]
            return source

        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: gate.pass_through())
        # The target is unknown, the reader does not read, the source does not give: the call returns all the same.
        futures = [pair.at_site.send_blob("c", "t", "missing", Message({}, bytes(5_000_000))) for _ in range(20)]
        futures += [pair.at_site.send_stream("c", "t", "server", Message({}, bytes(5_000_000))) for _ in range(100)]
        futures += [pair.at_site.send_stream("c", "t", "server", Message({}, blocked())) for _ in range(100)]
        assert not any(future.done() for future in futures)
        for future in futures:
            assert future.cancel()


def chain_in_done_callback(pair: Pair, again: Callable[[], StreamFuture | None]) -> None:
    def send_next(_: StreamFuture) -> None:
        future = again()
        if future is not None:
            future.add_done_callback(send_next)

    first = again()
    assert first is not None
    first.add_done_callback(send_next)


def test_sending_in_done_callbacks(pair: Pair) -> None:
    arrived: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: arrived.put(bytes(future.result())))
    numbers = itertools.count()

    def again() -> StreamFuture | None:
        number = next(numbers)
        return pair.at_site.send_blob("c", "t", "server", Message({}, b"%d" % number)) if number < 100 else None

    chain_in_done_callback(pair, again)
    # Their callbacks run side by side.
    assert set(arrived.get_all(100)) == {b"%d" % number for number in range(100)}


def test_sending_and_waiting_in_callbacks(pair: Pair) -> None:
    """Each callback sends to the other side and waits for it, several deep."""
    deepest: Box[int] = Box()

    def bounce(future: StreamFuture, here: StreamCell, there: str) -> None:
        depth = int(future.get_headers()["depth"])
        if depth == 10:
            deepest.put(depth)
        else:
            here.send_blob("c", "t", there, Message({"depth": depth + 1}, DATA)).result(PATIENCE_S)

    pair.at_server.register_blob_cb("c", "t", bounce, pair.at_server, "site")
    pair.at_site.register_blob_cb("c", "t", bounce, pair.at_site, "server")
    pair.at_site.send_blob("c", "t", "server", Message({"depth": 0}, DATA)).result(PATIENCE_S)
    assert deepest.get() == 10


def test_everything_else_in_callbacks(pair: Pair) -> None:
    results: Box[Any] = Box()
    pair.site.register_request_cb("c", "echo", lambda request: Message(request.headers, request.payload))

    def callback(future: StreamFuture) -> None:
        streams = StreamCell(pair.server)
        streams.register_blob_cb("c", "later", lambda later: results.put(bytes(later.result())))
        results.put(pair.server.is_cell_connected("site"))
        results.put(pair.server.stats().protocol.fqcn)
        results.put(bytes(pair.server.send_request("c", "echo", "site", Message({}, b"echo")).payload))

    pair.at_server.register_blob_cb("c", "t", callback)
    pair.at_site.send_blob("c", "t", "server", Message({}, b"")).result(PATIENCE_S)
    assert results.get_all(3) == [True, "server", b"echo"]
    pair.at_site.send_blob("c", "later", "server", Message({}, b"now")).result(PATIENCE_S)
    assert results.get() == b"now"


@pytest.mark.parametrize("where", ["callback", "done-callback"])
def test_a_cell_can_be_stopped_in_a_callback(carrier: Carrier, pair: Pair, where: str) -> None:
    other = carrier.cell("other", connect=pair.server.listen_urls)
    stopped = threading.Event()

    def stop(*_: Any) -> None:
        other.stop(0)
        stopped.set()

    with running(other):
        other.wait_connected(PATIENCE_S)
        streams = StreamCell(other)
        if where == "callback":
            streams.register_blob_cb("c", "t", stop)
            pair.at_server.send_blob("c", "t", "other", Message({}, b"")).exception(PATIENCE_S)
        else:
            pair.at_server.register_blob_cb("c", "t", lambda future: None)
            streams.send_blob("c", "t", "server", Message({}, b"")).add_done_callback(stop)
        assert stopped.wait(PATIENCE_S)
