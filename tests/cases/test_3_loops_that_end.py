"""A program of ``streamcell.aio`` that leaves its event loop without ``stop()``: the cell ends, and says so once."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import streamcell
from streamcell import CellError, ErrorCode, Message, RequestFailed, StreamFuture, StreamOutcomeUnknown, UsageError, aio
from tests.kit.cells import QUICK, Carrier, Pair
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

Main = Callable[[], Coroutine[Any, Any, None]]


def leave_by_run(main: Main) -> None:
    asyncio.run(main())


def leave_by_closing(main: Main) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


class OtherLoop(asyncio.SelectorEventLoop):
    """A loop of another make."""


def leave_by_runner(main: Main) -> None:
    with asyncio.Runner(loop_factory=OtherLoop) as runner:
        runner.run(main())


WAYS = {"run": leave_by_run, "close": leave_by_closing, "runner": leave_by_runner}


@pytest.fixture(params=WAYS)
def leave(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """A way to run a program on a loop and to leave it."""
    way: Callable[[Main], None] = WAYS[request.param]
    return way


def site_of(carrier: Carrier, pair: Pair, name: str = "left") -> aio.CoreCell:
    return aio.CoreCell(name, connect=pair.server.listen_urls, network=carrier.network, config=QUICK)


def has_ended(name: str = "left") -> bool:
    return name not in {cell.fqcn for cell in streamcell.running_cells()}


LINE = "the event loop of the cell has ended before stop() was awaited"


def assert_one_line(caplog: pytest.LogCaptureFixture, cells: int = 1) -> None:
    """The log has a line for each cell that was left, and no other warning of theirs."""
    eventually(lambda: sum(LINE in record.getMessage() for record in caplog.records) == cells)
    gc.collect()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [each for each in warnings if LINE not in each and "[cell=server]" not in each] == []


def test_case_3_5_streams_that_arrive(
    carrier: Carrier, pair: Pair, leave: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    count = 30
    sent: list[StreamFuture] = []
    with Gate() as gate:

        def items() -> Iterator[bytes]:
            yield b"first"
            gate.pass_through()

        async def main() -> None:
            begun = asyncio.Semaphore(0)

            async def read(future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> None:
                begun.release()
                await stream.read(-1)

            site = site_of(carrier, pair)
            aio.StreamCell(site).register_stream_cb("c", "t", read)
            await site.start()
            await site.wait_connected(PATIENCE_S)
            message = [Message({}, items()) for _ in range(count)]
            sent.extend(pair.at_server.send_stream("c", "t", "left", each) for each in message)
            for _ in range(count):
                await begun.acquire()

        caplog.set_level(logging.INFO)
        leave(main)
        for future in sent:
            error = future.exception(PATIENCE_S)
            assert isinstance(error, CellError)
            assert error.code is ErrorCode.STOPPING, error
        eventually(has_ended)
    assert_one_line(caplog)


def test_case_3_5_request_that_is_answered(
    carrier: Carrier, pair: Pair, leave: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    outcome: Box[BaseException] = Box()

    def ask() -> None:
        with pytest.raises(CellError) as caught:
            pair.server.send_request("c", "t", "left", Message(), PATIENCE_S)
        outcome.put(caught.value)

    asking = threading.Thread(target=ask, daemon=True)

    async def main() -> None:
        begun = asyncio.Event()

        async def answer(request: Message) -> None:
            begun.set()
            await asyncio.Event().wait()

        site = site_of(carrier, pair)
        site.register_request_cb("c", "t", answer)
        await site.start()
        await site.wait_connected(PATIENCE_S)
        asking.start()
        await begun.wait()

    caplog.set_level(logging.INFO)
    leave(main)
    assert isinstance(outcome.get(), RequestFailed | StreamOutcomeUnknown)
    eventually(has_ended)
    assert_one_line(caplog)


def test_case_3_5_while_it_sends_and_asks(
    carrier: Carrier, pair: Pair, leave: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    futures: list[aio.StreamFuture] = []
    asked: list[weakref.ref[asyncio.Task[Any]]] = []

    async def main() -> None:
        site = site_of(carrier, pair)
        await site.start()
        await site.wait_connected(PATIENCE_S)
        with Gate() as gate:
            pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: gate.pass_through())
            sending = aio.StreamCell(site).send_stream("c", "t", "server", Message({}, bytes(3 << 20)))
            futures.append(await sending)
            await asyncio.to_thread(gate.wait_arrived)
            task = asyncio.get_running_loop().create_task(site.cells())
            task.add_done_callback(_take)
            asked.append(weakref.ref(task))

    caplog.set_level(logging.INFO)
    leave(main)
    futures[0].future.exception(PATIENCE_S)
    eventually(has_ended)
    eventually(lambda: sum(LINE in record.getMessage() for record in caplog.records) == 1)
    # asyncio says of a task that it goes unfinished when that is collected. It is not for the next test to hear.
    eventually(lambda: gc.collect() >= 0 and asked[0]() is None)
    assert not [record for record in caplog.records if "is closed" in record.getMessage()]


def _take(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def test_case_3_5_two_cells_of_one_loop(
    carrier: Carrier, pair: Pair, leave: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        for name in ("one", "two"):
            await site_of(carrier, pair, name).start()
        assert {cell.fqcn for cell in aio.running_cells()} == {"one", "two"}

    caplog.set_level(logging.INFO)
    leave(main)
    eventually(lambda: has_ended("one") and has_ended("two"))
    assert_one_line(caplog, cells=2)


def test_case_3_5_cell_that_was_stopped_or_never_started_says_nothing(
    carrier: Carrier, pair: Pair, leave: Callable[[Main], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        site_of(carrier, pair, "never")
        async with site_of(carrier, pair) as site:
            assert aio.running_cells() == [site]
        assert aio.running_cells() == []

    caplog.set_level(logging.INFO)
    leave(main)
    assert_one_line(caplog, cells=0)


def test_case_3_5_loop_that_rests_and_goes_on_keeps_its_cell(carrier: Carrier) -> None:
    loop = asyncio.new_event_loop()

    async def answer(request: Message) -> Message:
        return Message({}, b"answer")

    async def begin() -> aio.CoreCell:
        cell = aio.CoreCell("resting", listen=carrier.url, network=carrier.network, config=QUICK)
        cell.register_request_cb("c", "t", answer)
        await cell.start()
        return cell

    cell = loop.run_until_complete(begin())
    reply = loop.run_until_complete(cell.send_request("c", "t", "resting", Message()))
    assert bytes(reply.payload) == b"answer"
    loop.run_until_complete(cell.stop())
    loop.close()


def test_case_3_2_request_that_would_block_its_own_loop_is_refused(carrier: Carrier) -> None:
    async def answer(request: Message) -> Message:
        return Message({}, b"answer")

    async def main() -> None:
        async with aio.CoreCell("self", listen=carrier.url, network=carrier.network, config=QUICK) as cell:
            cell.register_request_cb("c", "t", answer)
            blocking = cell.cell
            with pytest.raises(UsageError, match="await the method"):
                blocking.send_request("c", "t", "self", Message())
            with pytest.raises(UsageError, match="await the method"):
                blocking.broadcast_request("c", "t", ["self"], Message())
            # What needs no callback is answered.
            assert blocking.stats() is not None
            reply = await asyncio.to_thread(blocking.send_request, "c", "t", "self", Message())
            assert bytes(reply.payload) == b"answer"

    asyncio.run(main())
