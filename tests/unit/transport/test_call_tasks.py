"""The tasks that read and write a call: what waits for them, what does not, and how they end."""

import asyncio

import pytest

from streamcell.errors import LinkError
from streamcell.transport.base import LaneClosed
from streamcell.transport.call_tasks import CallReader, CallWriter
from tests.unit.transport.running import run, until


class Call:
    """A call whose reads and writes finish when a test says so."""

    def __init__(self) -> None:
        self.reads = 0
        self.writes: list[bytes] = []
        self.arriving: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.room: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def read(self) -> bytes:
        self.reads += 1
        arrived = await self.arriving.get()
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    async def write(self, batch: bytes) -> None:
        self.writes.append(batch)
        failed = await self.room.get()
        if failed is not None:
            raise failed


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_reader_reads_no_more_than_a_batch_ahead() -> None:
    async def scenario() -> None:
        call = Call()
        reader = CallReader(call.read)
        for number in range(5):
            call.arriving.put_nowait(b"%d" % number)
        await settle()
        assert call.reads == 2
        assert await reader.get() == b"0"
        await settle()
        assert call.reads == 3
        assert [await reader.get() for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        reader.cancel()
        await reader.wait_ended()

    run(scenario())


def test_a_reader_gives_what_came_before_the_end_and_then_its_reason() -> None:
    async def scenario() -> None:
        call = Call()
        reader = CallReader(call.read)
        call.arriving.put_nowait(b"last")
        call.arriving.put_nowait(LaneClosed("it is over", LinkError("for good")))
        await reader.wait_ended()
        assert await reader.get() == b"last"
        for _ in range(2):
            with pytest.raises(LaneClosed, match="it is over") as caught:
                await reader.get()
            assert isinstance(caught.value.refusal, LinkError)

    run(scenario())


def test_a_reader_that_drops_reads_on_to_the_end() -> None:
    async def scenario() -> None:
        call = Call()
        reader = CallReader(call.read)
        getting = asyncio.create_task(reader.get())
        await settle()
        reader.drop("closed here")
        for _ in range(5):
            call.arriving.put_nowait(b"unwanted")
        call.arriving.put_nowait(LaneClosed("the end"))
        await reader.wait_ended()
        assert call.reads == 6
        with pytest.raises(LaneClosed, match="closed here"):
            await getting

    run(scenario())


async def busy_writer() -> tuple[Call, CallWriter, asyncio.Task[None]]:
    """Return a writer that writes ``1``, and who waits to put ``2``."""
    call = Call()
    writer = CallWriter(call.write)
    await writer.put(b"1")
    putting = asyncio.create_task(writer.put(b"2"))
    await settle()
    return call, writer, putting


def test_a_writer_takes_a_batch_when_the_one_before_is_written() -> None:
    async def scenario() -> None:
        call, writer, putting = await busy_writer()
        assert not putting.done()
        assert call.writes == [b"1"]
        call.room.put_nowait(None)
        await putting
        await until(lambda: call.writes == [b"1", b"2"])
        writer.cancel()
        await writer.wait_ended()

    run(scenario())


def test_a_writer_that_finishes_writes_what_it_has_and_takes_no_more() -> None:
    async def scenario() -> None:
        call, writer, putting = await busy_writer()
        writer.finish("closed here")
        for late in (putting, asyncio.create_task(writer.put(b"3"))):
            with pytest.raises(LaneClosed, match="closed here"):
                await late
        call.room.put_nowait(None)
        await writer.wait_ended()
        assert call.writes == [b"1"]

    run(scenario())


def test_a_failed_write_is_told_to_who_puts_next() -> None:
    async def scenario() -> None:
        call, writer, putting = await busy_writer()
        call.room.put_nowait(LaneClosed("broken"))
        for late in (putting, asyncio.create_task(writer.put(b"3"))):
            with pytest.raises(LaneClosed, match="broken"):
                await late
        await writer.wait_ended()
        assert call.writes == [b"1"]

    run(scenario())


def test_nobody_waits_for_a_task_that_failed_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        call = Call()
        reader = CallReader(call.read)
        getting = asyncio.create_task(reader.get())
        call.arriving.put_nowait(RuntimeError("a bug"))
        with pytest.raises(LaneClosed, match="a bug"):
            await getting

    run(scenario())
    [record] = caplog.records
    assert record.name == "streamcell.transport"
    assert record.exc_info is not None
    caplog.clear()
