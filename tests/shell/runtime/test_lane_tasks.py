"""The tasks of a lane, between a core, a codec and a carrier that do what the test says."""

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple

import pytest

from streamcell.errors import CellError, LinkError, ProtocolError
from streamcell.limits import WRITTEN_FRAMES
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Chunk, Frame, Parts, Pong, StreamKey
from streamcell.runtime.network.lane_tasks import LaneTasks
from streamcell.runtime.threads.trace import cell_log
from streamcell.transport.base import LaneClosed
from tests.kit.timing import scaled

Args = TypeVarTuple("Args")
T = TypeVar("T")

LANE = 7
KEY = StreamKey("site-1", 1, 1)


class Memory(bytearray):
    """What a carrier lends; a test sees when nobody holds it any more."""


def chunk(payload: bytes | memoryview) -> Chunk:
    return Chunk(KEY, "server", 1, "c", "t", 0, 0, False, 1, 0, payload)


class Core:
    """Says what the test wants said, and counts what it is told without keeping it."""

    def __init__(self) -> None:
        self.batches: list[list[Frame]] = []
        self.heard: list[str] = []
        self.rejected: list[str] = []
        self.closed: list[tuple[str, CellError | None]] = []
        self.deferred: list[float] = []

    def frames_to_send(self, lane_id: int, now: float) -> list[Frame]:
        assert (lane_id, now) == (LANE, 1.0)
        return self.batches.pop(0) if self.batches else []

    def receive(self, lane_id: int, frames: Sequence[Frame], now: float) -> None:
        assert (lane_id, now) == (LANE, 1.0)
        self.heard += [bytes(each.payload).decode() for each in frames if isinstance(each, Chunk)]

    def reject_batch(self, lane_id: int, sentence: str, now: float) -> None:
        self.rejected.append(sentence)

    def dial_deferred(self, lane_id: int, wait_s: float, now: float) -> None:
        self.deferred.append(wait_s)

    def lane_closed(self, lane_id: int, reason: str, refusal: CellError | None, now: float) -> None:
        self.closed.append((reason, refusal))


class Host:
    """A cell that is always at the same moment."""

    def step(self, verb: Callable[[*Args, float], T], *args: *Args) -> T | None:
        return verb(*args, 1.0)

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        raise NotImplementedError


class Codec:
    """A batch is the payloads of its chunks, a part each."""

    def __init__(self) -> None:
        self.make_error: Callable[[], Exception] | None = None

    def encode_batch(self, frames: Sequence[Frame]) -> Parts:
        self.fail()
        return [each.payload for each in frames if isinstance(each, Chunk)]

    def decode_in_turns(self, parts: Parts) -> Iterator[list[Frame]]:
        self.fail()
        frames: list[Frame] = [chunk(part) for part in parts]
        return (frames[at : at + WRITTEN_FRAMES] for at in range(0, len(frames), WRITTEN_FRAMES))

    def fail(self) -> None:
        if self.make_error is not None:
            raise self.make_error()


class Carrier:
    """Hands out what the test puts into it, and forgets what it is given."""

    info = CarrierInfo("test", "there")

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[Parts | Exception] = asyncio.Queue()
        self.sent: list[str] = []
        self.closed = False

    async def send(self, batch: Parts) -> None:
        self.sent.append(b"".join(batch).decode())

    async def receive(self) -> Parts:
        arrived = await self.arriving.get()
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    def watch(self, on_leaving: Callable[[], None]) -> None:
        pass

    async def close(self) -> None:
        self.closed = True
        self.arriving.put_nowait(LaneClosed("closed for the test"))


class Lane:
    """A lane and all around it."""

    def __init__(self) -> None:
        self.core, self.codec, self.carrier = Core(), Codec(), Carrier()
        self.tasks = LaneTasks(LANE, self.carrier, self.codec, self.core, Host(), cell_log("site-1"))
        self.running = asyncio.get_running_loop().create_task(self.tasks.run())

    def say(self, *frames: Frame) -> None:
        self.core.batches.append(list(frames))
        self.tasks.wake()

    async def end(self) -> None:
        self.tasks.abort()
        await self.running


def in_loop(test: Callable[[Lane], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(scaled(20)):
            await test(Lane())

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def test_frames_go_through_the_codec_both_ways() -> None:
    async def check(lane: Lane) -> None:
        lane.say(chunk(b"to "), chunk(b"there"))
        await until(lambda: bool(lane.carrier.sent))
        assert lane.carrier.sent == ["to there"]
        lane.carrier.arriving.put_nowait([b"and", b"back"])
        await until(lambda: bool(lane.core.heard))
        assert lane.core.heard == ["and", "back"]
        await lane.end()
        assert lane.carrier.closed
        assert lane.core.closed == [("closed here", None)]

    in_loop(check)


def test_a_batch_with_very_many_frames_lets_others_have_their_turns() -> None:
    async def check(lane: Lane) -> None:
        heard: list[int] = []
        lane.carrier.arriving.put_nowait([b"x"] * (3 * WRITTEN_FRAMES + 1))
        while not heard or heard[-1] <= 3 * WRITTEN_FRAMES:
            await asyncio.sleep(0)
            heard.append(len(lane.core.heard))
        assert {WRITTEN_FRAMES, 2 * WRITTEN_FRAMES, 3 * WRITTEN_FRAMES} <= set(heard)
        await lane.end()

    in_loop(check)


def test_the_rest_of_a_batch_is_not_handed_on_when_the_lane_has_ended() -> None:
    async def check(lane: Lane) -> None:
        lane.carrier.arriving.put_nowait([b"x"] * (3 * WRITTEN_FRAMES))
        await until(lambda: bool(lane.core.heard))
        await lane.end()
        assert len(lane.core.heard) == WRITTEN_FRAMES

    in_loop(check)


def test_a_lane_knows_whether_anything_came() -> None:
    async def check(lane: Lane) -> None:
        assert not lane.tasks.heard
        lane.carrier.arriving.put_nowait([])
        await until(lambda: lane.tasks.heard)
        await lane.end()

    in_loop(check)


@pytest.mark.parametrize(("said_s", "deferred"), [(0.0, []), (2.5, [2.5])])
def test_a_lane_that_was_refused_for_now_tells_for_how_long(said_s: float, deferred: list[float]) -> None:
    async def check(lane: Lane) -> None:
        lane.carrier.arriving.put_nowait(LaneClosed("busy", None, said_s))
        await lane.running
        assert (lane.core.closed, lane.core.deferred) == ([("busy", None)], deferred)

    in_loop(check)


def test_who_waits_to_read_holds_nothing_that_was_lent() -> None:
    async def check(lane: Lane) -> None:
        memory = Memory(b"lent")
        watched = weakref.ref(memory)
        lane.carrier.arriving.put_nowait([memoryview(memory)])
        del memory
        await until(lambda: lane.core.heard == ["lent"])
        await until(lambda: watched() is None)
        await lane.end()

    in_loop(check)


def test_who_waits_to_write_holds_nothing_that_was_sent() -> None:
    async def check(lane: Lane) -> None:
        memory = Memory(b"sent")
        watched = weakref.ref(memory)
        lane.say(chunk(memoryview(memory)))
        del memory
        await until(lambda: lane.carrier.sent == ["sent"])
        await until(lambda: watched() is None)
        await lane.end()

    in_loop(check)


def test_a_batch_that_nobody_can_read_is_told_and_nothing_is_read_after_it() -> None:
    async def check(lane: Lane) -> None:
        memory = Memory(b"nonsense")
        watched = weakref.ref(memory)
        lane.codec.make_error = lambda: ProtocolError("that is no batch")
        lane.carrier.arriving.put_nowait([memoryview(memory)])
        lane.carrier.arriving.put_nowait([b"more"])
        del memory
        await until(lambda: lane.core.rejected == ["that is no batch"])
        await until(lambda: watched() is None)
        lane.codec.make_error = None
        lane.say(chunk(b"goodbye"))
        lane.tasks.drain()
        await lane.running
        assert lane.carrier.sent == ["goodbye"]
        assert lane.core.heard == []

    in_loop(check)


@pytest.mark.parametrize("writing", [True, False])
def test_without_memory_for_a_batch_the_lane_ends(writing: bool) -> None:
    async def check(lane: Lane) -> None:
        lane.codec.make_error = MemoryError
        if writing:
            lane.say(chunk(b"too much"))
        else:
            lane.carrier.arriving.put_nowait([b"too much"])
        await lane.running
        [(reason, refusal)] = lane.core.closed
        assert "had no memory" in reason
        assert refusal is None

    in_loop(check)


def test_without_memory_for_what_arrives_the_lane_ends() -> None:
    async def check(lane: Lane) -> None:
        lane.carrier.arriving.put_nowait(MemoryError())
        await lane.running
        assert "had no memory" in lane.core.closed[0][0]

    in_loop(check)


def test_the_core_is_told_why_a_carrier_has_ended() -> None:
    async def check(lane: Lane) -> None:
        refusal = LinkError("not you")
        lane.carrier.arriving.put_nowait(LaneClosed("it is over", refusal))
        await lane.running
        assert lane.core.closed == [("it is over", refusal)]
        assert lane.tasks.reason == "it is over"

    in_loop(check)


def test_a_bug_of_the_codec_is_not_hidden() -> None:
    async def check(lane: Lane) -> None:
        lane.codec.make_error = lambda: ZeroDivisionError("a bug")
        lane.say(Pong(1))
        with pytest.raises(ZeroDivisionError):
            await lane.running
        assert lane.carrier.closed

    in_loop(check)
