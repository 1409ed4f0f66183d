"""The span that a transfer belongs to goes from its sender to its receiver, as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamcell import FileStream, Message, ReceivedStream, StreamError, StreamFuture, UsageError, aio
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import CHANNEL, TOPIC, Carrier, Cells, Peer
from tests.kit.restarting import SIZE, Rest, begin, make_file, restart_receiver, restart_sender
from tests.kit.waiting import PATIENCE_S, Box

# The example of W3C Trace Context.
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LONGEST = "!~" * 128


def note_in(box: Box[str]) -> Callable[..., None]:
    """Return a stream callback that notes what the stream and the future say."""

    def callback(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        assert future.traceparent == stream.traceparent
        box.put(stream.traceparent)
        stream.readall()

    return callback


@pytest.mark.parametrize("given", [TRACEPARENT, LONGEST, "", None])
def test_a_stream_and_a_blob_bring_it(cells: Cells, given: str | None) -> None:
    site, hub = cells.pair()
    seen = Box[str]()
    hub.on_stream(note_in(seen))
    hub.on_blob(lambda future: seen.put(future.traceparent), topic="blob")
    for future in (
        site.send_stream(hub, b"abc", traceparent=given),
        site.send_stream(hub, [b"a", b"bc"], traceparent=given),
        site.send_blob(hub, b"abc", topic="blob", traceparent=given),
    ):
        assert future.result(PATIENCE_S) == 3
        assert future.traceparent == seen.get() == (given or "")


def test_each_of_several_targets_gets_it(cells: Cells) -> None:
    hub = cells.listen()
    seen = Box[str]()
    names = ["site-1", "site-2"]
    for name in names:
        cells.dial(hub, name).on_stream(note_in(seen))
    futures = hub.streams.send_stream(CHANNEL, TOPIC, names, Message({}, b"abc"), traceparent=TRACEPARENT)
    assert [future.result(PATIENCE_S) for future in futures.values()] == [3, 3]
    assert [seen.get(), seen.get()] == [TRACEPARENT, TRACEPARENT]


@pytest.mark.parametrize("given", [TRACEPARENT, LONGEST, None])
def test_a_request_brings_it_and_its_reply_has_none(cells: Cells, given: str | None) -> None:
    site, hub = cells.pair()
    seen = Box[str]()
    hub.on_request(lambda request: seen.put(request.traceparent))
    asked = CHANNEL, TOPIC, hub.fqcn, Message(None, b"ping")
    reply = site.send_request(*asked, PATIENCE_S, traceparent=given)
    (answer,) = site.broadcast_request(*asked, PATIENCE_S, traceparent=given).values()
    assert site.fire_and_forget(*asked, traceparent=given) == {hub.fqcn: None}
    assert [seen.get() for _ in range(3)] == [given or ""] * 3
    assert isinstance(answer, Message)
    assert (reply.traceparent, answer.traceparent, Message().traceparent) == ("", "", "")


def test_it_passes_through_a_relay_and_every_cut(cells: Cells) -> None:
    hub = cells.listen()
    relay = cells.make("relay", listen=cells.listen_url, connect=hub.listen_urls)
    relay.start()
    relay.wait_connected(PATIENCE_S)
    leaf = cells.dial(relay, "leaf")
    seen = Box[str]()
    hub.on_stream(note_in(seen))
    future = leaf.send_stream(hub, bytes(3_000_000), traceparent=TRACEPARENT)
    cells.network.cut()
    assert future.result(PATIENCE_S) == 3_000_000
    assert seen.get() == TRACEPARENT


def test_it_is_there_after_a_restart_of_the_receiver(cells: Cells, tmp_path: Path) -> None:
    source = FileStream(make_file(tmp_path))
    _site, hub, future, part = begin(cells, source, resume_id="name", traceparent=TRACEPARENT)
    seen = Box[str]()
    rest = Rest(0)

    def go_on(received: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        seen.put(stream.traceparent)
        rest(received, stream, resume)

    restart_receiver(cells, hub, go_on)
    part.go_on()
    assert future.result(PATIENCE_S) == SIZE
    assert seen.get() == TRACEPARENT


def test_a_call_that_waits_keeps_the_one_that_it_began_with(cells: Cells, tmp_path: Path) -> None:
    path = make_file(tmp_path)
    site, hub, _future, part = begin(cells, FileStream(path), resume_id="name", traceparent=TRACEPARENT)
    again = restart_sender(cells, site, hub)
    future = again.send_stream(hub, FileStream(path), resume_id="name", traceparent=LONGEST)
    part.go_on()
    assert future.result(PATIENCE_S) == SIZE
    assert part.futures.get().traceparent == TRACEPARENT


WRONG: list[Any] = [LONGEST + "!", "00 01", "00\n", "é", "\x7f", b"00", 0]


@pytest.mark.parametrize("given", WRONG)
def test_what_is_none_is_refused_with_what_is_wanted(cells: Cells, given: Any) -> None:
    site, hub = cells.pair()
    said = "traceparent must be a string of at most 256 visible ASCII characters"
    for send in (site.send_stream, site.send_blob):
        with pytest.raises(UsageError, match=said) as caught:
            send(hub, b"abc", traceparent=given)
        assert isinstance(caught.value, StreamError)
    for ask in (site.send_request, site.broadcast_request, site.fire_and_forget):
        with pytest.raises(UsageError, match=said):
            ask(CHANNEL, TOPIC, hub.fqcn, Message(), traceparent=given)


def test_coroutines_give_and_get_it_as_well(carrier: Carrier) -> None:
    async def test(pair: AioPair) -> None:
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def stream_cb(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
            assert future.traceparent == stream.traceparent
            await seen.put(stream.traceparent)
            await stream.read()

        async def request_cb(request: Message) -> None:
            await seen.put(request.traceparent)

        pair.at_server.register_stream_cb(CHANNEL, TOPIC, stream_cb)
        pair.server.register_request_cb(CHANNEL, TOPIC, request_cb)
        future = await pair.at_site.send_stream(CHANNEL, TOPIC, "server", Message({}, b"abc"), traceparent=TRACEPARENT)
        assert await future == 3
        assert future.traceparent == TRACEPARENT
        await pair.site.send_request(CHANNEL, TOPIC, "server", Message(), PATIENCE_S, traceparent=TRACEPARENT)
        assert [await seen.get(), await seen.get()] == [TRACEPARENT, TRACEPARENT]

    with_pair(carrier, test)


def test_a_cell_sends_a_stream_on_in_the_span_that_it_came_with(cells: Cells) -> None:
    hub = cells.listen()
    first, last = cells.dial(hub, "first"), cells.dial(hub, "last")
    seen = Box[str]()
    last.on_stream(note_in(seen))

    def pass_on(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        peer: Peer = hub
        peer.send_stream(last, stream, traceparent=stream.traceparent).result(PATIENCE_S)

    hub.on_stream(pass_on)
    assert first.send_stream(hub, b"abc", traceparent=TRACEPARENT).result(PATIENCE_S) == 3
    assert seen.get() == TRACEPARENT
