"""Callbacks: which one is called, with what, what happens when there is none, and what may be done inside of one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import (
    CoreCell,
    ErrorCode,
    IterStream,
    Message,
    ReceivedStream,
    RequestFailed,
    StreamCell,
    StreamFuture,
    StreamRejected,
    UsageError,
)
from tests.kit.cells import CHANNEL, TOPIC, Carrier, Pair, Peer, running
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate

DATA = pattern(3_000_000)


ANY = "*"


# From the most to the least specific.
NAMES = ((CHANNEL, TOPIC), (CHANNEL, ANY), (ANY, ANY))


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


def chain_in_done_callback(pair: Pair, again: Callable[[], StreamFuture | None]) -> None:
    def send_next(_: StreamFuture) -> None:
        future = again()
        if future is not None:
            future.add_done_callback(send_next)

    first = again()
    assert first is not None
    first.add_done_callback(send_next)


def send_stream(sender: Peer, receiver: Peer, data: bytes) -> StreamFuture:
    return sender.send_stream(receiver, data)


def send_blob(sender: Peer, receiver: Peer, data: bytes) -> StreamFuture:
    return sender.send_blob(receiver, data)


def take_streams(receiver: Peer, called: Box[Any], name: Any = "stream", at: tuple[str, str] = NAMES[0]) -> None:
    receiver.streams.register_stream_cb(*at, lambda future, stream, resume: called.put((name, stream.read(-1))))


def take_blobs(receiver: Peer, called: Box[Any], name: Any = "blob", at: tuple[str, str] = NAMES[0]) -> None:
    receiver.streams.register_blob_cb(*at, lambda future: called.put((name, bytes(future.result()))))


def test_no_lookup_by_topic_alone(pair: Pair) -> None:
    registered = Registered(pair.at_server)
    registered.blob("*", "t", "topic")
    assert called_for(pair, registered, "c", "t") == ""
    registered.blob("*", "*", "any")
    registered.blob("c", "*", "channel")
    assert called_for(pair, registered, "c", "other") == "channel"
    assert called_for(pair, registered, "other", "t") == "any"


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
    registered.stream("c", "t", "first")
    registered.stream("c", "t", "second")
    assert called_for(pair, registered, "c", "t", "send_stream") == "second"


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


@pytest.mark.parametrize("send", [send_stream, send_blob])
@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
def test_receivers_callback_decides_whether_it_is_read_or_assembled(
    pair: Pair, send: Callable[..., StreamFuture], size: int
) -> None:
    sender, receiver = pair
    called = Box[tuple[str, bytes]]()
    take_streams(receiver, called)
    assert send(sender, receiver, pattern(size)).result(PATIENCE_S) == size
    assert called.get() == ("stream", pattern(size))
    receiver.streams.unregister_stream_cb(CHANNEL, TOPIC)
    take_blobs(receiver, called)
    assert send(sender, receiver, pattern(size)).result(PATIENCE_S) == size
    assert called.get() == ("blob", pattern(size))


def test_stream_of_unknown_size_is_assembled_for_a_blob_callback(pair: Pair) -> None:
    sender, receiver = pair
    called = Box[tuple[str, bytes]]()
    take_blobs(receiver, called)
    data = pattern(5 * MIB)
    pieces = (data[at : at + 100 * KIB] for at in range(0, len(data), 100 * KIB))
    assert sender.send_stream(receiver, pieces).result(PATIENCE_S) == len(data)
    assert called.get() == ("blob", data)


@pytest.mark.parametrize("order", [(take_streams, take_blobs), (take_blobs, take_streams)])
def test_senders_kind_decides_if_both_are_registered(pair: Pair, order: Any) -> None:
    sender, receiver = pair
    called = Box[tuple[str, bytes]]()
    for register in order:
        register(receiver, called)
    assert sender.send_stream(receiver, b"1").result(PATIENCE_S) == 1
    assert called.get() == ("stream", b"1")
    assert sender.send_blob(receiver, b"2").result(PATIENCE_S) == 1
    assert called.get() == ("blob", b"2")


@pytest.mark.parametrize(
    ("send", "register", "unregister"),
    [
        (send_stream, take_streams, StreamCell.unregister_stream_cb),
        (send_blob, take_blobs, StreamCell.unregister_blob_cb),
    ],
)
@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)))
def test_lookup_goes_from_the_exact_name_by_the_channel_to_any(
    pair: Pair, order: Any, send: Any, register: Any, unregister: Any
) -> None:
    sender, receiver = pair
    called = Box[tuple[Any, bytes]]()
    for name in order:
        register(receiver, called, name, name)
    for name in NAMES:
        assert send(sender, receiver, b"data").result(PATIENCE_S) == 4
        assert called.get() == (name, b"data")
        unregister(receiver.streams, *name)
    assert isinstance(stream_failure_of(send(sender, receiver, b"data")), StreamRejected)


def test_lookup_is_the_same_for_requests(pair: Pair) -> None:
    sender, receiver = pair
    for name, found in ((NAMES[2], "any"), (NAMES[1], "channel"), (NAMES[0], "exact")):
        receiver.register_request_cb(*name, lambda request, found: Message({"found": found}), found)
        assert sender.request(receiver).headers == {"found": found}
    assert sender.request(receiver, topic="other").headers == {"found": "channel"}
    reply = sender.send_request("other", "other", receiver.fqcn, Message(), PATIENCE_S)
    assert reply.headers == {"found": "any"}


def test_callbacks_get_the_arguments_that_they_were_registered_with(pair: Pair) -> None:
    sender, receiver = pair
    called = Box[Any]()

    def on_stream(future: StreamFuture, stream: Any, resume: bool, *args: Any, **kwargs: Any) -> None:
        called.put((type(future), type(stream), resume, args, kwargs, stream.read(-1)))

    def on_blob(future: StreamFuture, *args: Any, **kwargs: Any) -> None:
        called.put((args, kwargs, bytes(future.result())))

    receiver.streams.register_stream_cb(CHANNEL, TOPIC, on_stream, 1, 2, key="word")
    receiver.streams.register_blob_cb(CHANNEL, TOPIC, on_blob, 3, other="word")
    sender.send_stream(receiver, b"data").result(PATIENCE_S)
    assert called.get() == (StreamFuture, ReceivedStream, False, (1, 2), {"key": "word"}, b"data")
    sender.send_blob(receiver, b"data").result(PATIENCE_S)
    assert called.get() == ((3,), {"other": "word"}, b"data")


@pytest.mark.parametrize("send", [send_stream, send_blob])
@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
def test_without_a_callback_it_is_rejected_at_once(pair: Pair, send: Callable[..., StreamFuture], size: int) -> None:
    sender, receiver = pair
    called = Box[Any]()
    take_streams(receiver, called, at=(CHANNEL, "other topic"))
    take_blobs(receiver, called, at=("other channel", TOPIC))
    error = stream_failure_of(send(sender, receiver, pattern(size)))
    assert isinstance(error, StreamRejected)
    assert error.code is ErrorCode.NO_CALLBACK
    assert f"{CHANNEL}/{TOPIC}" in str(error)
    assert receiver.fqcn in str(error)
    assert called.is_empty()


def test_without_a_callback_an_endless_stream_is_rejected_at_once(pair: Pair) -> None:
    sender, receiver = pair
    error = stream_failure_of(sender.send_stream(receiver, itertools.repeat(pattern(100 * KIB))))
    assert isinstance(error, StreamRejected)


def test_request_callbacks_and_stream_callbacks_have_registries_of_their_own(pair: Pair) -> None:
    sender, receiver = pair
    called = Box[Any]()
    take_streams(receiver, called, at=(ANY, ANY))
    with pytest.raises(RequestFailed):
        sender.request(receiver)
    receiver.streams.unregister_stream_cb(ANY, ANY)
    receiver.on_request(lambda request: None)
    assert isinstance(stream_failure_of(sender.send_stream(receiver, b"data")), StreamRejected)


def test_callback_refuses_a_stream_in_its_own_words(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = pair

    def refuse(future: StreamFuture, stream: object, resume: bool) -> None:
        raise StreamRejected("not on a Sunday: come back tomorrow", ErrorCode.STOPPING)

    receiver.streams.register_stream_cb(CHANNEL, TOPIC, refuse)
    error = stream_failure_of(send_stream(sender, receiver, pattern(10)))
    assert error.sentence == "not on a Sunday: come back tomorrow"
    assert error.code is ErrorCode.STOPPING
    assert [record for record in caplog.records if record.exc_info] == []
