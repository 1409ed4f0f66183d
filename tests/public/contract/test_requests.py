"""Requests, broadcasts and messages that nobody answers (CONTRACT sections 1 and 3)."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import threading

import pytest

from streamcell import (
    AuthenticationError,
    CellError,
    Message,
    RequestFailed,
    RequestTimeout,
    StreamFuture,
    StreamTargetUnreachable,
    UsageError,
)
from tests.kit.cells import CHANNEL, QUICK, TOPIC, Cells, Pair
from tests.kit.payloads import MIB, pattern
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually, wait_for

# Short enough to be waited for where a request is to time out.
SHORT_S = scaled(0.3)


def test_request_gets_the_message_that_its_callback_returns(pair: Pair) -> None:
    sender, receiver = pair
    seen = Box[Message]()

    def callback(request: Message) -> Message:
        seen.put(request)
        return Message({"answer": 42}, [b"the ", b"reply"])

    receiver.on_request(callback)
    reply = sender.send_request(CHANNEL, TOPIC, receiver.fqcn, Message({"question": "?"}, b"payload"), PATIENCE_S)
    request = seen.get()
    assert (request.origin, request.target, request.channel, request.topic) == ("site", "server", CHANNEL, TOPIC)
    assert (request.headers, bytes(request.payload)) == ({"question": "?"}, b"payload")
    assert (reply.origin, reply.target, reply.channel, reply.topic) == ("server", "site", CHANNEL, TOPIC)
    assert (reply.headers, bytes(reply.payload)) == ({"answer": 42}, b"the reply")


def test_request_and_reply_may_be_large(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_request(lambda request: Message(None, request.payload))
    data = pattern(9 * MIB)
    assert bytes(sender.request(receiver, data).payload) == data


def test_request_whose_callback_returns_none_gets_an_empty_reply(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_request(lambda request: None)
    reply = sender.request(receiver, b"data")
    assert (reply.headers, bytes(reply.payload)) == ({}, b"")


@pytest.mark.parametrize("result", [None, Message({"late": True}, b"reply")], ids=["None", "Message"])
def test_request_whose_callback_returns_a_future_gets_the_reply_when_that_settles(
    pair: Pair, result: Message | None
) -> None:
    sender, receiver = pair
    answers = Box[concurrent.futures.Future[Message | None]]()

    def callback(request: Message) -> concurrent.futures.Future[Message | None]:
        answer: concurrent.futures.Future[Message | None] = concurrent.futures.Future()
        answers.put(answer)
        return answer

    receiver.on_request(callback)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(sender.request, receiver)
        answer = answers.get()
        sender.meet(receiver)
        assert not reply.done()
        answer.set_result(result)
        expected = result or Message()
        assert reply.result(PATIENCE_S).headers == expected.headers
        assert bytes(reply.result().payload) == (expected.payload or b"")


def test_request_whose_callbacks_future_fails_is_request_failed(pair: Pair) -> None:
    sender, receiver = pair

    def callback(request: Message) -> concurrent.futures.Future[Message]:
        answer: concurrent.futures.Future[Message] = concurrent.futures.Future()
        answer.set_exception(OSError("the lab is closed"))
        return answer

    receiver.on_request(callback)
    with pytest.raises(RequestFailed, match="OSError: the lab is closed"):
        sender.request(receiver)


def test_request_whose_callback_raises_is_request_failed_at_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = pair

    def callback(request: Message) -> Message:
        raise OSError("the lab is closed")

    receiver.on_request(callback)
    with caplog.at_level(logging.ERROR), pytest.raises(RequestFailed, match="OSError: the lab is closed"):
        sender.request(receiver, timeout=0)
    assert "Traceback" in caplog.text
    assert receiver.stats().callbacks_failed == 1


def test_request_whose_callback_returns_something_else_is_request_failed_at_once(pair: Pair) -> None:
    sender, receiver = pair
    receiver.register_request_cb(CHANNEL, TOPIC, lambda request: "text")
    with pytest.raises(RequestFailed, match="returned a str"):
        sender.request(receiver, timeout=0)


def test_request_without_a_callback_is_request_failed_at_once(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_request(lambda request: None, topic="another topic")
    with pytest.raises(RequestFailed, match=f"{CHANNEL}/{TOPIC}"):
        sender.request(receiver, timeout=0)
    with pytest.raises(RequestFailed, match=f"{CHANNEL}/{TOPIC}"):
        sender.request(receiver, pattern(3 * MIB), timeout=0)


def test_request_that_was_never_acknowledged_is_target_unreachable_at_its_timeout(pair: Pair) -> None:
    sender, _ = pair
    with pytest.raises(StreamTargetUnreachable, match="nobody"):
        sender.request("nobody", timeout=SHORT_S)


def test_request_that_was_acknowledged_is_request_timeout_at_its_timeout(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    returned = threading.Event()

    def callback(request: Message) -> Message:
        gate.pass_through()
        returned.set()
        return Message({"late": True})

    receiver.on_request(callback)
    with pytest.raises(RequestTimeout, match=receiver.fqcn):
        sender.request(receiver, timeout=SHORT_S)
    # The late reply does no harm.
    gate.open()
    wait_for(returned)
    receiver.on_request(lambda request: Message({"late": False}))
    assert sender.request(receiver).headers == {"late": False}


def test_request_timeout_of_zero_is_none(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair

    def callback(request: Message) -> None:
        # Longer than what another request waits for.
        with pytest.raises(StreamTargetUnreachable):
            receiver.request("nobody", timeout=SHORT_S)

    receiver.on_request(callback)
    assert sender.request(receiver, timeout=0).headers == {}


def test_request_to_an_unknown_target_fails_at_once_when_it_is_optional(pair: Pair) -> None:
    sender, _ = pair
    with pytest.raises(StreamTargetUnreachable):
        sender.send_request(CHANNEL, TOPIC, "nobody", Message(), 0, optional=True)


def test_requests_may_be_sent_in_callbacks_both_ways(pair: Pair) -> None:
    sender, receiver = pair
    sender.on_request(lambda request: Message({"from": "site"}))
    receiver.on_request(lambda request: receiver.request(sender))
    assert sender.request(receiver).headers == {"from": "site"}


def test_fire_and_forget_returns_at_once_and_none_means_accepted_here(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    received = Box[tuple[dict[str, object], bytes]]()

    def callback(request: Message) -> None:
        gate.pass_through()
        received.put((dict(request.headers), bytes(request.payload)))

    receiver.on_request(callback)
    message = Message({"number": 1}, b"data")
    outcome = sender.fire_and_forget(CHANNEL, TOPIC, ["server", "nobody", "not a name"], message)
    assert outcome["server"] is None
    assert outcome["nobody"] is None
    assert isinstance(outcome["not a name"], UsageError)
    assert received.is_empty()
    gate.open()
    assert received.get() == ({"number": 1}, b"data")


def test_fire_and_forget_logs_a_later_failure(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = pair
    with caplog.at_level(logging.ERROR):
        assert sender.fire_and_forget(CHANNEL, TOPIC, "server", Message()) == {"server": None}
        eventually(lambda: sender.stats().protocol.sends_failed == 1)
        sender.meet(receiver)
        eventually(lambda: "no request callback" in caplog.text)


def test_fire_and_forget_gets_no_reply(pair: Pair) -> None:
    sender, receiver = pair
    called = threading.Event()

    def callback(request: Message) -> Message:
        called.set()
        return Message({"not": "wanted"})

    receiver.on_request(callback)
    sender.fire_and_forget(CHANNEL, TOPIC, "server", Message())
    wait_for(called)
    receiver.meet(sender)
    # The two that met have sent one request and one reply each.
    assert receiver.stats().protocol.streams_opened == 2


def test_broadcast_request_gives_each_target_its_reply_or_its_error(cells: Cells) -> None:
    hub = cells.listen()
    names = ["good", "also-good", "raises", "silent"]
    peers = {name: cells.dial(hub, name) for name in names}
    for name in ("good", "also-good"):
        peers[name].on_request(lambda request: Message({"from": request.target}, request.payload))

    def raises(request: Message) -> Message:
        raise OSError("the lab is closed")

    never: concurrent.futures.Future[Message] = concurrent.futures.Future()
    peers["raises"].on_request(raises)
    peers["silent"].register_request_cb(CHANNEL, TOPIC, lambda request: never)
    targets = [*names, "nobody", "not a name"]
    replies = hub.broadcast_request(CHANNEL, TOPIC, targets, Message(None, b"data"), scaled(1.0))
    assert list(replies) == targets
    for name in ("good", "also-good"):
        reply = replies[name]
        assert isinstance(reply, Message)
        assert (reply.headers, bytes(reply.payload)) == ({"from": name}, b"data")
    assert isinstance(replies["raises"], RequestFailed)
    assert isinstance(replies["silent"], RequestTimeout)
    assert isinstance(replies["nobody"], StreamTargetUnreachable)
    assert isinstance(replies["not a name"], UsageError)


def test_more_blocked_requests_than_threads_wait_and_are_all_answered(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, request_threads=2, callback_threads=1))
    started = Box[int]()

    def callback(request: Message) -> Message:
        started.put(1)
        gate.pass_through()
        return request

    receiver.on_request(callback)
    read = Box[bytes]()
    receiver.on_stream(lambda future, stream, resume: read.put(stream.read(-1)))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        replies = [pool.submit(sender.request, receiver, bytes([number])) for number in range(6)]
        started.get()
        started.get()
        # Streams have threads of their own.
        assert sender.send_stream(receiver, b"data").result(PATIENCE_S) == 4
        assert started.is_empty()
        gate.open()
        assert [bytes(each.result(PATIENCE_S).payload) for each in replies] == [bytes([number]) for number in range(6)]


def test_more_requests_than_max_requests_per_peer_wait_at_the_sender(cells: Cells, gate: Gate) -> None:
    sender, receiver = cells.pair(
        sender=dataclasses.replace(QUICK, max_requests_per_peer=2),
        receiver=dataclasses.replace(QUICK, request_threads=1),
    )

    def answer(request: Message) -> Message:
        gate.pass_through()
        return Message({}, request.payload)

    receiver.on_request(answer)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        replies = [pool.submit(sender.request, receiver, bytes([number])) for number in range(5)]
        # One has reached the callback, and two more are open.
        eventually(lambda: [send.state for send in sender.stats().protocol.sends].count("queued") == 2)
        gate.open()
        assert [bytes(each.result(PATIENCE_S).payload) for each in replies] == [bytes([number]) for number in range(5)]


def test_request_is_sent_once_though_the_link_breaks(cells: Cells, pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    called = Box[int]()

    def callback(request: Message) -> Message:
        called.put(1)
        gate.pass_through()
        return Message(None, request.payload)

    receiver.on_request(callback)
    data = pattern(3 * MIB)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        cells.network.cut_after(size_bytes=MIB)
        reply = pool.submit(sender.request, receiver, data)
        called.get()
        cells.network.cut()
        gate.open()
        assert bytes(reply.result(PATIENCE_S).payload) == data
    assert called.is_empty()


def test_secure_request_without_certificates_is_an_authentication_error_at_once(pair: Pair) -> None:
    sender, receiver = pair
    message = Message()
    with pytest.raises(AuthenticationError, match="no certificate"):
        sender.send_request(CHANNEL, TOPIC, receiver.fqcn, message, 0, secure=True)
    replies = sender.broadcast_request(CHANNEL, TOPIC, receiver.fqcn, message, 0, secure=True)
    assert isinstance(replies[receiver.fqcn], AuthenticationError)
    outcomes = sender.fire_and_forget(CHANNEL, TOPIC, receiver.fqcn, message, secure=True)
    assert isinstance(outcomes[receiver.fqcn], AuthenticationError)


@pytest.mark.parametrize("kind", ["stream", "source", "blob"])
def test_secure_transfer_without_certificates_is_an_authentication_error_at_once(pair: Pair, kind: str) -> None:
    sender, receiver = pair
    called = Box[StreamFuture]()
    receiver.on_blob(called.put)
    send = sender.send_blob if kind == "blob" else sender.send_stream
    error = send(receiver, iter([b"data"]) if kind == "source" else b"data", secure=True).exception(PATIENCE_S)
    assert isinstance(error, AuthenticationError)
    assert isinstance(error, CellError)
    assert sender.fqcn in str(error)
    assert "certificate" in str(error)
    sender.meet(receiver)
    assert called.is_empty()
