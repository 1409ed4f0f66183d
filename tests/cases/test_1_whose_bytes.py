"""A payload belongs to its transfer, unless a copy is taken at the call. Case 1.7."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import BytesStream, CoreCell, Message, ReceivedStream, StreamCell, StreamFuture, UsageError, aio
from tests.kit.cells import QUICK, Carrier, running
from tests.kit.fixtures import carrier
from tests.kit.waiting import PATIENCE_S, Box, eventually

__all__ = ["carrier"]

SIZE = 2 << 20
BEFORE = b"b" * SIZE

Send = Callable[[StreamCell, Any, bool], StreamFuture]


def send_blob(streams: StreamCell, payload: Any, copy: bool) -> StreamFuture:
    return streams.send_blob("c", "t", "site", Message({}, payload), copy=copy)


def send_stream(streams: StreamCell, payload: Any, copy: bool) -> StreamFuture:
    return streams.send_stream("c", "t", "site", Message({}, payload), copy=copy)


def send_to_several(streams: StreamCell, payload: Any, copy: bool) -> StreamFuture:
    return streams.send_blob("c", "t", ["site", "other"], Message({}, payload), copy=copy)["site"]


def listening(carrier: Carrier) -> CoreCell:
    return carrier.cell("server", listen=carrier.url)


def taking(carrier: Carrier, server: CoreCell, got: Box[bytes]) -> CoreCell:
    """Return the target, which is started when everything was sent and changed: nothing travels before."""
    site = carrier.cell("site", connect=server.listen_urls)

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        got.put(stream.read(-1))

    def answer(request: Message) -> Message:
        got.put(bytes(request.payload))
        return Message({"size": len(request.payload)})

    streams = StreamCell(site)
    streams.register_blob_cb("c", "t", lambda future: got.put(bytes(future.result())))
    streams.register_stream_cb("c", "t", read)
    site.register_request_cb("c", "t", answer)
    return site


@pytest.mark.parametrize("listed", [False, True], ids=["array", "list"])
@pytest.mark.parametrize("send", [send_blob, send_stream, send_to_several])
def test_case_1_7_a_copy_is_as_the_payload_was_at_the_call(carrier: Carrier, send: Send, listed: bool) -> None:
    got: Box[bytes] = Box()
    payload = bytearray(BEFORE)
    with running(listening(carrier)) as server:
        future = send(StreamCell(server), [payload] if listed else payload, True)
        payload[:] = bytes(SIZE)
        with running(taking(carrier, server, got)):
            assert future.result(PATIENCE_S) == SIZE
            assert got.get() == BEFORE


def test_case_1_7_without_a_copy_the_transfer_sends_what_is_there(carrier: Carrier) -> None:
    """The rule that the documents state: no copy is made that nobody has asked for."""
    got: Box[bytes] = Box()
    payload = bytearray(BEFORE)
    with running(listening(carrier)) as server:
        future = send_blob(StreamCell(server), payload, False)
        payload[:] = bytes(SIZE)
        with running(taking(carrier, server, got)):
            assert future.result(PATIENCE_S) == SIZE
            assert got.get() == bytes(SIZE)


@pytest.mark.parametrize("way", ["send_request", "broadcast_request", "fire_and_forget"])
def test_case_1_7_requests_take_a_copy(carrier: Carrier, way: str) -> None:
    got: Box[bytes] = Box()
    payload = bytearray(BEFORE)
    with running(listening(carrier)) as server:
        target = "site" if way == "send_request" else ["site"]
        asked = threading.Thread(
            target=getattr(server, way), args=("c", "t", target, Message({}, payload)), kwargs={"copy": True}
        )
        asked.start()
        eventually(lambda: len(server.stats().protocol.sends) == 1)
        payload[:] = bytes(SIZE)
        with running(taking(carrier, server, got)):
            assert got.get() == BEFORE
            asked.join(PATIENCE_S)


@pytest.mark.parametrize("way", ["send_blob", "send_stream", "send_request", "broadcast_request", "fire_and_forget"])
def test_case_1_7_coroutines_take_a_copy(carrier: Carrier, way: str) -> None:
    got: Box[bytes] = Box()

    async def main() -> None:
        payload = bytearray(BEFORE)
        async with aio.CoreCell("server", listen=carrier.url, network=carrier.network, config=QUICK) as server:
            sender = aio.StreamCell(server) if way in ("send_blob", "send_stream") else server
            target = ["site"] if way in ("broadcast_request", "fire_and_forget") else "site"
            asked = asyncio.ensure_future(getattr(sender, way)("c", "t", target, Message({}, payload), copy=True))
            await asyncio.sleep(0)
            payload[:] = bytes(SIZE)
            with running(taking(carrier, server.cell, got)):
                assert await asyncio.to_thread(got.get) == BEFORE
                await asked

    asyncio.run(main())


@pytest.mark.parametrize(
    "make",
    [lambda: BytesStream(BEFORE), lambda: io.BytesIO(BEFORE), lambda: iter([BEFORE])],
    ids=["stream", "file", "iterator"],
)
def test_case_1_7_what_is_read_while_it_is_sent_cannot_be_copied(carrier: Carrier, make: Callable[[], Any]) -> None:
    with running(listening(carrier)) as server, pytest.raises(UsageError, match="copy=True copies bytes at the call"):
        StreamCell(server).send_stream("c", "t", "site", Message({}, make()), copy=True)
