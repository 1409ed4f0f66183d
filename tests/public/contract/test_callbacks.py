"""Which callback gets what (CONTRACT section 1), and what happens when there is none (section 3)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import ErrorCode, Message, RequestFailed, StreamCell, StreamFuture, StreamRejected
from tests.kit.cells import CHANNEL, TOPIC, Pair, Peer
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box

ANY = "*"
# From the most to the least specific.
NAMES = ((CHANNEL, TOPIC), (CHANNEL, ANY), (ANY, ANY))


def send_stream(sender: Peer, receiver: Peer, data: bytes) -> StreamFuture:
    return sender.send_stream(receiver, data)


def send_blob(sender: Peer, receiver: Peer, data: bytes) -> StreamFuture:
    return sender.send_blob(receiver, data)


def take_streams(receiver: Peer, called: Box[Any], name: Any = "stream", at: tuple[str, str] = NAMES[0]) -> None:
    receiver.streams.register_stream_cb(*at, lambda future, stream, resume: called.put((name, stream.read(-1))))


def take_blobs(receiver: Peer, called: Box[Any], name: Any = "blob", at: tuple[str, str] = NAMES[0]) -> None:
    receiver.streams.register_blob_cb(*at, lambda future: called.put((name, bytes(future.result()))))


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


@pytest.mark.parametrize(("send", "register"), [(send_stream, take_streams), (send_blob, take_blobs)])
def test_registering_again_replaces(pair: Pair, send: Any, register: Any) -> None:
    sender, receiver = pair
    called = Box[tuple[str, bytes]]()
    for name in ("first", "second"):
        register(receiver, called, name)
    assert send(sender, receiver, b"data").result(PATIENCE_S) == 4
    assert called.get() == ("second", b"data")
    assert called.is_empty()


def test_callbacks_get_the_arguments_that_they_were_registered_with(pair: Pair) -> None:
    sender, receiver = pair
    called = Box[Any]()

    def on_stream(future: StreamFuture, stream: Any, resume: bool, *args: Any, **kwargs: Any) -> None:
        called.put((resume, args, kwargs, stream.read(-1)))

    def on_blob(future: StreamFuture, *args: Any, **kwargs: Any) -> None:
        called.put((args, kwargs, bytes(future.result())))

    receiver.streams.register_stream_cb(CHANNEL, TOPIC, on_stream, 1, 2, key="word")
    receiver.streams.register_blob_cb(CHANNEL, TOPIC, on_blob, 3, other="word")
    sender.send_stream(receiver, b"data").result(PATIENCE_S)
    assert called.get() == (False, (1, 2), {"key": "word"}, b"data")
    sender.send_blob(receiver, b"data").result(PATIENCE_S)
    assert called.get() == ((3,), {"other": "word"}, b"data")


def test_all_stream_cells_of_a_cell_share_its_registry(pair: Pair) -> None:
    sender, receiver = pair
    called = Box[tuple[str, bytes]]()
    take_blobs(receiver, called, "first")
    another = StreamCell(receiver)
    another.register_blob_cb(CHANNEL, TOPIC, lambda future: called.put(("second", bytes(future.result()))))
    assert StreamCell(sender).send_blob(CHANNEL, TOPIC, "server", Message(None, b"data")).result(PATIENCE_S) == 4
    assert called.get() == ("second", b"data")


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
