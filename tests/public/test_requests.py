"""Requests: a message there and a message back."""

from __future__ import annotations

import concurrent.futures
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
    StreamTargetUnreachable,
    UsageError,
)
from tests.kit.cells import Pair
from tests.kit.payloads import pattern
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

DATA = pattern(3_000_000)


def echo(request: Message) -> Message:
    return Message({**request.headers, "echoed": True}, request.payload)


def test_a_request_and_its_reply(pair: Pair) -> None:
    requests: Box[Message] = Box()

    def answer(request: Message, *args: Any, **kwargs: Any) -> Message:
        requests.put(request)
        return Message({"answer": 42, "args": len(args), **kwargs}, DATA)

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


def test_a_future_defers_the_reply(pair: Pair) -> None:
    deferred: Box[concurrent.futures.Future[Message | None]] = Box()

    def defer(request: Message) -> concurrent.futures.Future[Message | None]:
        future: concurrent.futures.Future[Message | None] = concurrent.futures.Future()
        deferred.put(future)
        return future

    def answer_all() -> None:
        deferred.get().set_result(Message({"a": 1}))
        deferred.get().set_result(None)
        deferred.get().set_exception(KeyError("not there"))

    pair.server.register_request_cb("c", "t", defer)
    thread = threading.Thread(target=answer_all)
    thread.start()
    assert pair.site.send_request("c", "t", "server", Message(), PATIENCE_S).headers == {"a": 1}
    assert pair.site.send_request("c", "t", "server", Message(), PATIENCE_S).headers == {}
    with pytest.raises(RequestFailed, match=r"KeyError.*not there"):
        pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)
    thread.join(PATIENCE_S)


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
        pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)
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


def test_no_callback(pair: Pair) -> None:
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    with pytest.raises(RequestFailed, match="server has no request callback for c/t"):
        pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)


def test_timeouts(pair: Pair) -> None:
    with Gate() as gate:
        pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
        with pytest.raises(RequestTimeout) as raised:
            # Long enough for the acknowledgement on a busy machine.
            pair.site.send_request("c", "t", "server", Message(), scaled(2.0))
        assert not isinstance(raised.value, TimeoutError)
        assert raised.value.fault is Fault.TARGET
        with pytest.raises(StreamTargetUnreachable) as unreachable:
            pair.site.send_request("c", "t", "missing", Message(), 0.2)
        assert unreachable.value.fault is Fault.NETWORK
        with pytest.raises(StreamTargetUnreachable):
            pair.site.send_request("c", "t", "missing", Message(), PATIENCE_S, optional=True)


def test_broadcast(pair: Pair) -> None:
    pair.server.register_request_cb("c", "t", echo)
    targets = ["server", "missing", "bad name!"]
    replies = pair.site.broadcast_request("c", "t", targets, Message({"n": 1}, b"x"), PATIENCE_S, optional=True)
    assert list(replies) == targets
    good = replies["server"]
    assert isinstance(good, Message)
    assert (good.origin, good.headers) == ("server", {"n": 1, "echoed": True})
    assert type(replies["missing"]) is StreamTargetUnreachable
    assert isinstance(replies["bad name!"], UsageError)
    assert list(pair.site.broadcast_request("c", "t", "server", Message(), PATIENCE_S)) == ["server"]
    assert pair.site.broadcast_request("c", "t", [], Message(), PATIENCE_S) == {}
    secure = pair.site.broadcast_request("c", "t", ["server"], Message(), PATIENCE_S, secure=True)
    assert type(secure["server"]) is AuthenticationError


def test_fire_and_forget(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    arrived: Box[Message] = Box()

    def note(request: Message) -> Message:
        arrived.put(request)
        return Message({}, b"nobody gets this")

    pair.server.register_request_cb("c", "t", note)
    outcomes = pair.site.fire_and_forget("c", "t", ["server", "bad name!"], Message({"n": 1}, DATA))
    assert outcomes["server"] is None
    assert isinstance(outcomes["bad name!"], UsageError)
    request = arrived.get()
    assert (request.headers, request.payload, request.origin) == ({"n": 1}, DATA, "site")
    assert pair.site.fire_and_forget("c", "nobody", "server", Message()) == {"server": None}
    eventually(lambda: "no request callback for c/nobody" in caplog.text)


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
