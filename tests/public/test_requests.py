"""Requests: a message there and a message back; broadcasts, and messages that nobody answers."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import threading
from typing import Any

import numpy as np
import pytest

from streamcell import (
    AuthenticationError,
    CellError,
    ErrorCode,
    Fault,
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

DATA = pattern(9 * MIB)


# Short enough to be waited for where a request is to time out.
SHORT_S = scaled(0.3)


def echo(request: Message) -> Message:
    return Message({**request.headers, "echoed": True}, request.payload)


def test_a_request_and_its_reply(pair: Pair) -> None:
    requests: Box[Message] = Box()

    def answer(request: Message, *args: Any, **kwargs: Any) -> Message:
        requests.put(request)
        return Message({"answer": 42, "args": len(args), **kwargs}, [DATA[:10], DATA[10:]])

    pair.server.register_request_cb("c", "t", answer, 1, 2, more="yes")
    reply = pair.site.send_request("c", "t", "server", Message({"question": "?"}, b"payload"), PATIENCE_S)
    assert reply.headers == {"answer": 42, "args": 2, "more": "yes"}
    assert isinstance(reply.payload, memoryview)
    assert reply.payload.readonly
    assert reply.payload == DATA
    assert (reply.origin, reply.target, reply.channel, reply.topic) == ("server", "site", "c", "t")
    request = requests.get()
    assert (request.headers, bytes(request.payload)) == ({"question": "?"}, b"payload")
    assert (request.origin, request.target, request.channel, request.topic) == ("site", "server", "c", "t")


def test_a_target_that_is_named_twice_is_asked_once(pair: Pair) -> None:
    asked: Box[int] = Box()
    pair.server.register_request_cb("c", "t", lambda request: asked.put(request.headers["n"]))
    twice = ["server", "server"]
    assert list(pair.site.broadcast_request("c", "t", twice, Message({"n": 1}), PATIENCE_S)) == ["server"]
    assert pair.site.fire_and_forget("c", "t", twice, Message({"n": 2})) == {"server": None}
    pair.site.send_request("c", "t", "server", Message({"n": 3}), PATIENCE_S)
    assert sorted(asked.get() for _ in range(3)) == [1, 2, 3]


def test_requests_go_both_ways_and_large(pair: Pair) -> None:
    for here, there in ((pair.site, pair.server), (pair.server, pair.site)):
        there.register_request_cb("c", "*", echo)
        for payload in (None, b"", b"x", DATA, [DATA, b"y"], np.arange(1000)):
            reply = here.send_request("c", "t", there.fqcn, Message({"n": 1}, payload), PATIENCE_S)
            sent = Message({}, payload).payload
            expected = b"" if sent is None else b"".join(sent) if isinstance(sent, list) else bytes(memoryview(sent))
            assert (reply.headers, bytes(reply.payload)) == ({"n": 1, "echoed": True}, expected)


def test_none_is_an_empty_reply(pair: Pair) -> None:
    pair.server.register_request_cb("c", "t", lambda request: None)
    reply = pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)
    assert (reply.headers, bytes(reply.payload)) == ({}, b"")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda request: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda request: b"bare bytes", "returned a bytes"),
        (lambda request: Message({"k": []}), "list"),  # type: ignore[dict-item]
        (lambda request: Message({}, object()), "object"),
        (lambda request: Message({}, "text"), "str"),
    ],
    ids=["raises", "no message", "bad header", "bad payload", "text"],
)
def test_a_callback_that_fails(pair: Pair, answer: Any, words: str) -> None:
    pair.server.register_request_cb("c", "t", answer)
    with pytest.raises(RequestFailed, match=words) as raised:
        pair.site.request("server", timeout=0)
    assert raised.value.code is ErrorCode.REQUEST_FAILED
    assert raised.value.fault is Fault.TARGET
    assert "server" in str(raised.value)


def test_an_error_that_cannot_say_what_it_is(pair: Pair) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def callback(request: Message) -> Any:
        if request.get_header("deferred"):
            future: concurrent.futures.Future[Message] = concurrent.futures.Future()
            future.set_exception(Mute())
            return future
        raise Mute

    pair.server.register_request_cb("c", "t", callback)
    for deferred in (False, True):
        with pytest.raises(RequestFailed, match=r"raised Mute$"):
            pair.site.send_request("c", "t", "server", Message({"deferred": deferred}), PATIENCE_S)


def test_broadcast_to_one_or_none_or_only_those_that_are_there(pair: Pair) -> None:
    pair.server.register_request_cb("c", "t", echo)
    targets = ["server", "missing"]
    replies = pair.site.broadcast_request("c", "t", targets, Message({"n": 1}, b"x"), 0, optional=True)
    good = replies["server"]
    assert isinstance(good, Message)
    assert (good.origin, good.headers) == ("server", {"n": 1, "echoed": True})
    assert type(replies["missing"]) is StreamTargetUnreachable
    assert list(pair.site.broadcast_request("c", "t", "server", Message(), PATIENCE_S)) == ["server"]
    assert pair.site.broadcast_request("c", "t", [], Message(), PATIENCE_S) == {}


def test_wrong_arguments(pair: Pair) -> None:
    with pytest.raises(UsageError, match="timeout"):
        pair.site.send_request("c", "t", "server", Message(), -1)
    for send in (pair.site.broadcast_request, pair.site.fire_and_forget):
        nonsense: list[Any] = [None, 1, 1.5, [[]], ["server", 2]]
        for targets in nonsense:
            with pytest.raises(UsageError, match="must be the name of a cell"):
                send("c", "t", targets, Message())
        # What is wrong for all is not the answer of each.
        with pytest.raises(UsageError, match="topic"):
            send("c", "", "server", Message())
    with pytest.raises(UsageError, match="timeout"):
        pair.site.broadcast_request("c", "t", "server", Message(), -1)
    for target, message, words in [
        ("bad name!", Message(), "cell name"),
        ("server", b"bare", "Message"),
        ("server", Message({}, "text"), "str"),
        ("server", Message({"k": None}), "'k'"),  # type: ignore[dict-item]
    ]:
        with pytest.raises(UsageError, match=words):
            pair.site.send_request("c", "t", target, message)  # type: ignore[arg-type]


def test_many_at_once(pair: Pair) -> None:
    pair.server.register_request_cb("c", "t", echo)

    def ask(number: int) -> bytes:
        reply = pair.site.send_request("c", "t", "server", Message({}, b"%d" % number), PATIENCE_S)
        return bytes(reply.payload)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(400))) == [b"%d" % number for number in range(400)]


def test_an_interrupted_wait_leaves_nothing(pair: Pair) -> None:
    with Gate() as gate:
        pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
        errors: Box[BaseException | None] = Box()

        def ask() -> None:
            try:
                pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)
            except CellError as error:
                errors.put(error)

        thread = threading.Thread(target=ask)
        thread.start()
        gate.wait_arrived()
        pair.site.stop(0)
        assert isinstance(errors.get(), CellError)
        thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    "result", [None, Message({"late": True}, b"reply"), KeyError("not there")], ids=["None", "Message", "error"]
)
def test_request_whose_callback_returns_a_future_gets_the_reply_when_that_settles(
    pair: Pair, result: Message | KeyError | None
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
        if isinstance(result, KeyError):
            answer.set_exception(result)
            with pytest.raises(RequestFailed, match=r"KeyError.*not there"):
                reply.result(PATIENCE_S)
            return
        answer.set_result(result)
        expected = result or Message()
        assert reply.result(PATIENCE_S).headers == expected.headers
        assert bytes(reply.result().payload) == (expected.payload or b"")


def test_request_whose_callback_raises_is_request_failed_at_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = pair

    def callback(request: Message) -> Message:
        raise OSError("the lab is closed")

    receiver.on_request(callback)
    with caplog.at_level(logging.ERROR), pytest.raises(RequestFailed, match="OSError: the lab is closed"):
        sender.request(receiver, timeout=0)
    assert "Traceback" in caplog.text
    assert receiver.stats().callbacks_failed == 1


def test_request_without_a_callback_is_request_failed_at_once(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_request(lambda request: None, topic="another topic")
    receiver.on_blob(lambda future: None)
    for payload in (None, pattern(3 * MIB)):
        with pytest.raises(RequestFailed, match="server has no request callback for c/t"):
            sender.request(receiver, payload, timeout=0)


def test_request_that_was_never_acknowledged_is_target_unreachable_at_its_timeout(pair: Pair) -> None:
    sender, _ = pair
    with pytest.raises(StreamTargetUnreachable, match="nobody") as raised:
        sender.request("nobody", timeout=SHORT_S)
    assert raised.value.fault is Fault.NETWORK
    # If it is optional, at once.
    with pytest.raises(StreamTargetUnreachable):
        sender.send_request(CHANNEL, TOPIC, "nobody", Message(), 0, optional=True)


def test_request_that_was_acknowledged_is_request_timeout_at_its_timeout(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    returned = threading.Event()

    def callback(request: Message) -> Message:
        gate.pass_through()
        returned.set()
        return Message({"late": True})

    receiver.on_request(callback)
    with pytest.raises(RequestTimeout, match=receiver.fqcn) as raised:
        sender.request(receiver, timeout=SHORT_S)
    assert not isinstance(raised.value, TimeoutError)
    assert raised.value.fault is Fault.TARGET
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


def test_requests_may_be_sent_in_callbacks_both_ways(pair: Pair) -> None:
    sender, receiver = pair
    sender.on_request(lambda request: Message({"from": "site"}))
    receiver.on_request(lambda request: receiver.request(sender))
    assert sender.request(receiver).headers == {"from": "site"}


def test_fire_and_forget_returns_at_once_and_none_means_accepted_here(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    received = Box[tuple[dict[str, object], bytes, str]]()

    def callback(request: Message) -> None:
        gate.pass_through()
        received.put((dict(request.headers), bytes(request.payload), request.origin))

    receiver.on_request(callback)
    message = Message({"number": 1}, DATA)
    outcome = sender.fire_and_forget(CHANNEL, TOPIC, ["server", "nobody", "not a name"], message)
    assert outcome["server"] is None
    assert outcome["nobody"] is None
    assert isinstance(outcome["not a name"], UsageError)
    assert received.is_empty()
    gate.open()
    assert received.get() == ({"number": 1}, DATA, "site")


def test_fire_and_forget_logs_a_later_failure(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    sender, receiver = pair
    with caplog.at_level(logging.ERROR):
        assert sender.fire_and_forget(CHANNEL, TOPIC, "server", Message()) == {"server": None}
        eventually(lambda: sender.stats().protocol.sends_failed == 1)
        sender.meet(receiver)
        eventually(lambda: "no request callback for c/t" in caplog.text)


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
    error = send(receiver, iter([b"data"]) if kind == "source" else b"data", secure=True).exception(0)
    assert isinstance(error, AuthenticationError)
    assert isinstance(error, CellError)
    assert sender.fqcn in str(error)
    assert "certificate" in str(error)
    sender.meet(receiver)
    assert called.is_empty()
