"""Reading and writing a call: what is under way when it is closed, and how it ends."""

import asyncio

import pytest

from streamcell.errors import LinkError
from streamcell.protocol.wire.frames import Parts
from streamcell.transport.base import LaneClosed
from streamcell.transport.grpc.call_use import CallUse
from tests.shell.transport.running import run


class Call:
    """A call whose reads and writes finish when a test says so."""

    def __init__(self) -> None:
        self.reads = 0
        self.writes: list[Parts] = []
        self.arriving: asyncio.Queue[bytes | BaseException] = asyncio.Queue()
        self.room: asyncio.Queue[BaseException | None] = asyncio.Queue()
        self.use = CallUse(self.read, self.write)

    async def read(self) -> bytes:
        self.reads += 1
        arrived = await self.arriving.get()
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived

    async def write(self, batch: Parts) -> None:
        self.writes.append(batch)
        failed = await self.room.get()
        if failed is not None:
            raise failed


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_nothing_is_read_before_somebody_wants_it() -> None:
    async def scenario() -> None:
        call = Call()
        for number in range(3):
            call.arriving.put_nowait(b"%d" % number)
        await settle()
        assert call.reads == 0
        assert [await call.use.receive() for _ in range(3)] == [b"0", b"1", b"2"]
        assert call.reads == 3

    run(scenario())


def test_the_reason_of_the_end_is_told_each_time() -> None:
    async def scenario() -> None:
        call = Call()
        call.arriving.put_nowait(b"last")
        call.arriving.put_nowait(LaneClosed("it is over", LinkError("for good")))
        assert await call.use.receive() == b"last"
        for _ in range(2):
            with pytest.raises(LaneClosed, match="it is over") as caught:
                await call.use.receive()
            assert isinstance(caught.value.refusal, LinkError)
        call.use.close("closed here")
        await call.use.wait_ended()
        assert call.reads == 2

    run(scenario())


@pytest.mark.parametrize("waiting", [True, False])
def test_after_closing_everything_up_to_the_end_is_dropped(waiting: bool) -> None:
    async def scenario() -> None:
        call = Call()
        receiving = [asyncio.create_task(call.use.receive())] if waiting else []
        await settle()
        call.use.close("closed here")
        for _ in range(5):
            call.arriving.put_nowait(b"unwanted")
        call.arriving.put_nowait(LaneClosed("the end"))
        await call.use.wait_ended()
        assert call.reads == 6
        for late in (*receiving, asyncio.create_task(call.use.receive())):
            with pytest.raises(LaneClosed, match="closed here"):
                await late

    run(scenario())


def test_a_write_that_is_under_way_is_waited_for_and_no_other_begins() -> None:
    async def scenario() -> None:
        call = Call()
        call.arriving.put_nowait(LaneClosed("the end"))
        sending = asyncio.create_task(call.use.send([b"1"]))
        await settle()
        call.use.close("closed here")
        with pytest.raises(LaneClosed, match="closed here"):
            await call.use.send([b"2"])
        written = asyncio.create_task(call.use.wait_written())
        await settle()
        assert not written.done()
        call.room.put_nowait(None)
        await sending
        await written
        await call.use.wait_ended()
        assert call.writes == [[b"1"]]

    run(scenario())


def test_after_a_failed_write_what_has_arrived_can_be_read() -> None:
    async def scenario() -> None:
        call = Call()
        call.room.put_nowait(LaneClosed("broken"))
        for batch in (b"1", b"2"):
            with pytest.raises(LaneClosed, match="broken"):
                await call.use.send([batch])
        assert call.writes == [[b"1"]]
        call.arriving.put_nowait(b"last words")
        assert await call.use.receive() == b"last words"

    run(scenario())


def test_a_call_that_does_not_end_can_be_left() -> None:
    async def scenario() -> None:
        call = Call()
        call.use.close("closed here")
        await settle()
        call.use.cancel()
        await call.use.wait_ended()
        assert call.reads == 1

    run(scenario())


def test_a_call_that_is_cancelled_has_ended() -> None:
    async def scenario() -> None:
        call = Call()
        call.arriving.put_nowait(asyncio.CancelledError())
        with pytest.raises(LaneClosed, match="was ended"):
            await call.use.receive()
        call.room.put_nowait(asyncio.CancelledError())
        with pytest.raises(LaneClosed, match="was ended"):
            await call.use.send([b"late"])

    run(scenario())


def test_a_task_that_is_cancelled_is(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        call = Call()
        receiving = asyncio.create_task(call.use.receive())
        await settle()
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        await call.use.wait_ended()

    run(scenario())
    assert caplog.records == []


def test_what_fails_otherwise_is_logged_and_ends_the_lane(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        call = Call()
        call.arriving.put_nowait(RuntimeError("a bug"))
        with pytest.raises(LaneClosed, match="a bug"):
            await call.use.receive()

    run(scenario())
    [record] = caplog.records
    assert record.name == "streamcell.transport"
    assert record.exc_info is not None
    caplog.clear()


def test_a_call_that_was_let_go_is_used_no_more() -> None:
    async def scenario() -> None:
        call = Call()
        call.use.let_go()
        with pytest.raises(LaneClosed, match="was ended"):
            await call.use.receive()
        with pytest.raises(LaneClosed, match="was ended"):
            await call.use.send([b"late"])

    run(scenario())
