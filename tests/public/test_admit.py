"""``admit=``: a function of the application says whether a stream may open, here or through here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import (
    AuthenticationError,
    CellConfig,
    CellError,
    CoreCell,
    Message,
    Opening,
    StreamCell,
    StreamRejected,
    UsageError,
    aio,
)
from tests.kit.certificates import TestAuthority
from tests.kit.waiting import PATIENCE_S, eventually

QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, stop_grace_s=0)
AUTHORITY = TestAuthority()
LARGE = bytes(500_000)


@pytest.fixture
def ends() -> Iterator[contextlib.ExitStack]:
    """Ends cells when the test does."""
    with contextlib.ExitStack() as stack:
        yield stack


def start_hub(ends: contextlib.ExitStack, admit: Callable[[Opening], Any], **more: Any) -> CoreCell:
    hub = CoreCell("hub", listen="grpc://127.0.0.1:0", admit=admit, config=QUICK, **more)
    return receiving(ends.enter_context(hub))


def connected(ends: contextlib.ExitStack, fqcn: str, hub: CoreCell, **more: Any) -> CoreCell:
    cell = ends.enter_context(CoreCell(fqcn, connect=hub.listen_urls[0], config=QUICK, **more))
    cell.wait_connected(PATIENCE_S)
    return cell


def receiving(cell: CoreCell) -> CoreCell:
    """Have a cell take whatever comes."""

    def read_all(_future: object, stream: Any, _resume: bool) -> None:
        while stream.read(100_000):
            pass

    StreamCell(cell).register_stream_cb("c", "t", read_all)
    StreamCell(cell).register_blob_cb("c", "t", lambda future: None)
    cell.register_request_cb("c", "t", lambda request: Message({}, bytes(request.payload)))
    return cell


def send(cell: CoreCell, target: str, kind: str, data: bytes = LARGE) -> None:
    message = Message({"number": 7}, data)
    if kind == "request":
        assert cell.send_request("c", "t", target, message, timeout=PATIENCE_S).payload == data
    elif kind == "blob":
        StreamCell(cell).send_blob("c", "t", target, message).result(PATIENCE_S)
    else:
        StreamCell(cell).send_stream("c", "t", target, message).result(PATIENCE_S)


KINDS = ["stream", "blob", "request"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_told(ends: contextlib.ExitStack, kind: str) -> None:
    asked: list[Opening] = []
    tls = AUTHORITY.config("hub")
    hub = CoreCell("hub", listen="grpcs://127.0.0.1:0", admit=asked.append, tls=tls, config=QUICK)
    receiving(ends.enter_context(hub))
    site = connected(ends, "site.job", hub, tls=AUTHORITY.config("site"))
    send(site, "hub", kind)
    send(hub, "hub", kind)
    (opening,) = asked
    assert (opening.origin, opening.identity, opening.target) == ("site.job", "site", "hub")
    assert (opening.channel, opening.topic, opening.kind, opening.size) == ("c", "t", kind, len(LARGE))
    assert opening.headers == {"number": 7}
    with pytest.raises(AttributeError):
        opening.origin = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        opening.headers["number"] = 8  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("raised", "kind_of_error"),
    [(AuthenticationError("not on Mondays"), AuthenticationError), (StreamRejected("not on Mondays"), StreamRejected)],
)
def test_what_it_raises_is_the_refusal(
    ends: contextlib.ExitStack, caplog: pytest.LogCaptureFixture, kind: str, raised: CellError, kind_of_error: type
) -> None:
    def admit(_opening: Opening) -> None:
        raise raised

    hub = start_hub(ends, admit)
    site = connected(ends, "site", hub)
    sentence = f"hub does not admit the {kind} c/t from site to hub: not on Mondays"
    with pytest.raises(CellError) as caught:
        send(site, "hub", kind)
    assert caught.value.sentence == sentence
    if kind != "request":
        assert type(caught.value) is kind_of_error
    eventually(lambda: f"< not admitted: {sentence}" in caplog.text)
    assert not any(record.exc_info for record in caplog.records if record.levelno > logging.DEBUG)


def test_one_that_fails_lets_nobody_in(ends: contextlib.ExitStack, caplog: pytest.LogCaptureFixture) -> None:
    def admit(opening: Opening) -> None:
        raise KeyError(opening.origin)

    hub = start_hub(ends, admit)
    site = connected(ends, "site", hub)
    with pytest.raises(
        AuthenticationError, match=r"does not admit the blob c/t .*: admit of hub raised KeyError: 'site'"
    ):
        send(site, "hub", "blob")
    eventually(lambda: any(record.levelno == logging.ERROR and record.exc_info for record in caplog.records))
    assert hub.stats().callbacks_failed == 1


def test_one_that_hangs_lets_nobody_in_and_holds_nobody_up(ends: contextlib.ExitStack) -> None:
    go_on = threading.Event()
    ends.callback(go_on.set)

    def admit(opening: Opening) -> None:
        if opening.origin == "slow":
            go_on.wait(PATIENCE_S)

    hub = start_hub(ends, admit)
    slow, quick = connected(ends, "slow", hub), connected(ends, "quick", hub)
    failing = [StreamCell(slow).send_blob("c", "t", "hub", Message({}, LARGE)) for _ in range(12)]
    send(quick, "hub", "request")
    for each in failing:
        with pytest.raises(AuthenticationError, match="slow to hub: admit has not answered within 3 s"):
            each.result(PATIENCE_S)
    go_on.set()
    send(quick, "hub", "stream")


def test_what_is_given_up_meanwhile_does_not_open(ends: contextlib.ExitStack) -> None:
    asked, go_on = threading.Event(), threading.Event()
    ends.callback(go_on.set)
    opened: list[str] = []

    def admit(opening: Opening) -> None:
        if opening.topic == "given-up":
            asked.set()
            go_on.wait(PATIENCE_S)

    hub = start_hub(ends, admit)
    StreamCell(hub).register_blob_cb("c", "given-up", lambda future: opened.append("given-up"))
    site = connected(ends, "site", hub)
    sent = StreamCell(site).send_blob("c", "given-up", "hub", Message({}, LARGE))
    assert asked.wait(PATIENCE_S)
    sent.cancel()
    send(site, "hub", "request")
    go_on.set()
    send(site, "hub", "request")
    assert opened == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_asked_about_what_passes_if_that_is_wanted(ends: contextlib.ExitStack, kind: str) -> None:
    asked: list[Opening] = []

    def admit(opening: Opening) -> None:
        asked.append(opening)
        if opening.topic == "other":
            raise AuthenticationError("no other")

    hub = start_hub(ends, admit, admit_relayed=True)
    site = connected(ends, "site", hub)
    receiving(connected(ends, "server", hub))
    send(site, "server", kind)
    (opening,) = asked
    assert (opening.origin, opening.target, opening.kind, opening.headers) == ("site", "server", kind, None)
    with pytest.raises(AuthenticationError) as caught:
        StreamCell(site).send_blob("c", "other", "server", Message({}, LARGE)).result(PATIENCE_S)
    assert caught.value.sentence.startswith("hub, on the way to server, refuses stream ")
    assert caught.value.sentence.endswith("hub does not admit the blob c/other from site to server: no other")


def test_it_is_not_asked_about_what_passes_otherwise(ends: contextlib.ExitStack) -> None:
    asked: list[Opening] = []
    hub = start_hub(ends, asked.append)
    site = connected(ends, "site", hub)
    receiving(connected(ends, "server", hub))
    send(site, "server", "blob")
    assert asked == []


def test_a_coroutine_runs_in_the_loop() -> None:
    asyncio.run(ask_a_coroutine())


async def ask_a_coroutine() -> None:
    loops = []

    async def admit(opening: Opening) -> None:
        loops.append(asyncio.get_running_loop())
        if opening.topic == "other":
            raise AuthenticationError("no other")

    async with (
        aio.CoreCell("hub", listen="grpc://127.0.0.1:0", admit=admit, config=QUICK) as hub,
        aio.CoreCell("site", connect=hub.listen_urls[0], config=QUICK) as site,
    ):
        for topic in ("t", "other"):
            hub.register_request_cb("c", topic, lambda request: Message({}, bytes(request.payload)))
        await site.wait_connected(PATIENCE_S)
        reply = await site.send_request("c", "t", "hub", Message({}, b"x"), timeout=PATIENCE_S)
        assert reply.payload == b"x"
        with pytest.raises(AuthenticationError, match="no other"):
            await site.send_request("c", "other", "hub", Message({}, b"x"), timeout=PATIENCE_S)
    assert loops == [asyncio.get_running_loop()] * 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"admit": 5}, "admit must be callable"),
        ({"admit_relayed": True}, "admit_relayed=True is of no use without admit"),
    ],
)
def test_wrong_use(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        CoreCell("hub", **wrong)
