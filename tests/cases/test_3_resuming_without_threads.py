"""A coroutine chooses where a stream goes on while the system refuses threads for a moment. Case 3.1."""

from __future__ import annotations

import io
import threading

import pytest

from streamcell import BytesStream, Message, aio
from tests.kit.aio_cells import AioPair, with_pair
from tests.kit.cells import Carrier
from tests.kit.fixtures import carrier
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box

__all__ = ["carrier"]

DATA = pattern(1000)
OFFSET = 400
REFUSALS = 2


def refuse_first_threads(patch: pytest.MonkeyPatch) -> None:
    """Have the system refuse the next threads, and give those that are asked for after that."""
    left, start = list(range(REFUSALS)), threading.Thread.start

    def refuse_or_start(thread: threading.Thread) -> None:
        if left:
            left.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", refuse_or_start)


@pytest.mark.parametrize("has_file", [False, True])
def test_case_3_1_a_coroutine_that_resumes_waits_for_a_thread(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch, has_file: bool
) -> None:
    arrived: Box[bytes] = Box()

    async def go_on(_future: aio.StreamFuture, stream: aio.ReceivedStream, _resume: bool) -> None:
        with monkeypatch.context() as patch:
            refuse_first_threads(patch)
            await stream.resume_from(OFFSET, io.BytesIO(DATA) if has_file else None)
        arrived.put(await stream.read())

    async def send(pair: AioPair) -> None:
        pair.at_server.register_stream_cb("c", "t", go_on)
        message = Message({}, BytesStream(DATA))
        sent = await pair.at_site.send_stream("c", "t", "server", message, digest="sha256", resume_id="name")
        assert await sent == len(DATA)

    with_pair(carrier, send)
    assert arrived.get(PATIENCE_S) == DATA[OFFSET:]
