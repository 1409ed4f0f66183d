"""What a listener does when more lanes arrive than it can answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from streamcell.transport import admission
from streamcell.transport.base import Carrier, LaneClosed, Listener
from streamcell.transport.grpc import newcomers
from streamcell.transport.grpc.environment import aio, grpc
from streamcell.transport.grpc.network import GrpcNetwork
from tests.kit.timing import scaled
from tests.shell.transport.running import Arrivals, hear, run, say, until

pytestmark = pytest.mark.slow

NETWORK = GrpcNetwork()
METHOD = "/streamcell.v1.CellService/Exchange"


@pytest.fixture(autouse=True)
def small_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is worked on, for as long as it takes, and two may wait."""
    monkeypatch.setattr(newcomers, "PLACE_S", 600.0)
    monkeypatch.setattr(admission, "NEWCOMERS", 1)
    monkeypatch.setattr(admission, "NEWCOMERS_WAITING", 2)


@contextlib.asynccontextmanager
async def listening(arrivals: Arrivals) -> AsyncIterator[Listener]:
    listener = await NETWORK.listen("grpc://127.0.0.1:0", arrivals, insecure=False)
    yield listener
    await listener.close()


async def dial(listener: Listener, arrivals: Arrivals, hello: bytes = b"") -> tuple[Carrier, Carrier]:
    """Return both ends of a lane on which something was said, unless it is empty."""
    dialled = await NETWORK.dial(listener.url, scaled(3))
    arrived = await arrivals.lanes.get()
    if hello:
        await say(dialled, hello)
    return dialled, arrived


async def refusal_at(listener: Listener) -> tuple[grpc.StatusCode, str]:
    """Dial as another make of cell does; return the status, and when to come again."""
    async with aio.insecure_channel(listener.url.removeprefix("grpc://")) as channel:
        call: aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)()
        code = await call.code()
        metadata = await call.trailing_metadata()
        assert metadata is not None
        return code, str(metadata["streamcell-retry-after-ms"])


async def is_heard(lane: Carrier) -> bytes:
    async with asyncio.timeout(scaled(10)):
        return await hear(lane)


def test_a_lane_is_heard_when_those_that_are_worked_on_were_answered() -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        async with listening(arrivals) as listener:
            lanes = [await dial(listener, arrivals, b"hello %d" % number) for number in range(3)]
            hearing = [asyncio.create_task(is_heard(arrived)) for _, arrived in lanes]
            # One at a time, in the order in which they come to be heard: which of them waits behind which is decided in
            # admission.
            left = {0, 1, 2}
            while left:
                await until(lambda: any(hearing[index].done() for index in left))
                (index,) = (index for index in left if hearing[index].done())
                assert await hearing[index] == b"hello %d" % index
                left.remove(index)
                await say(lanes[index][1], b"answer")
                assert await hear(lanes[index][0]) == b"answer"
            # From then on it is a lane like any other.
            await say(lanes[1][0], b"more")
            assert await hear(lanes[1][1]) == b"more"
            await asyncio.gather(*(each.close() for lane in lanes for each in lane))

    run(scenario())


def test_who_comes_when_the_house_is_full_is_told_when_to_come_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        async with listening(arrivals) as listener:
            lanes = [await dial(listener, arrivals) for _ in range(3)]
            for _ in range(2):
                code, retry_after_ms = await refusal_at(listener)
                assert code is grpc.StatusCode.UNAVAILABLE
                assert 500 <= int(retry_after_ms) <= 75_000
            late = await NETWORK.dial(listener.url, scaled(3))
            with pytest.raises(LaneClosed, match="come again later"):
                await hear(late)
            await late.close()
            # Nothing of it has reached anybody.
            assert arrivals.lanes.empty()
            await lanes[0][0].close()
            await until(arrivals.lanes.empty)
            with pytest.raises(LaneClosed):
                await is_heard(lanes[0][1])
            again = await dial(listener, arrivals, b"hello")
            assert await is_heard(again[1]) == b"hello"
            await asyncio.gather(*(each.close() for lane in [*lanes, again] for each in lane))

    run(scenario())
    [warning] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "told when to come again" in warning.getMessage()


def test_who_has_gone_is_not_heard() -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        async with listening(arrivals) as listener:
            first, second, third = [await dial(listener, arrivals, b"%d" % number) for number in range(3)]
            hearing = [asyncio.create_task(is_heard(arrived)) for _, arrived in (first, second, third)]
            assert await hearing[0] == b"0"
            await third[0].close()
            with pytest.raises(LaneClosed):
                await hearing[2]
            await say(first[1], b"answer")
            assert await hearing[1] == b"1"
            await asyncio.gather(*(each.close() for lane in (first, second, third) for each in lane))

    run(scenario())


def test_a_lane_that_waits_can_be_closed_here() -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        async with listening(arrivals) as listener:
            first, second = [await dial(listener, arrivals, b"%d" % number) for number in range(2)]
            hearing = [asyncio.create_task(is_heard(arrived)) for _, arrived in (first, second)]
            assert await hearing[0] == b"0"
            await second[1].close()
            with pytest.raises(LaneClosed, match="closed here"):
                await hearing[1]
            await asyncio.gather(*(each.close() for lane in (first, second) for each in lane))

    run(scenario())


def test_who_says_nothing_has_to_go_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MUTE_S", 0.0)

    async def scenario() -> None:
        arrivals = Arrivals()
        async with listening(arrivals) as listener:
            silent = [await dial(listener, arrivals) for _ in range(3)]
            fourth = await dial(listener, arrivals, b"hello")
            assert await is_heard(fourth[1]) == b"hello"
            for side in silent[0]:
                with pytest.raises(LaneClosed, match="come again later"):
                    await is_heard(side)
            await asyncio.gather(*(each.close() for lane in [*silent, fourth] for each in lane))

    run(scenario())


def test_a_place_is_not_kept_for_an_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "PLACE_S", 0.01)

    async def scenario() -> None:
        arrivals = Arrivals()
        async with listening(arrivals) as listener:
            first, second = [await dial(listener, arrivals, b"%d" % number) for number in range(2)]
            hearing = [asyncio.create_task(is_heard(arrived)) for _, arrived in (first, second)]
            assert await hearing[0] == b"0"
            assert await hearing[1] == b"1"
            await asyncio.gather(*(each.close() for lane in (first, second) for each in lane))

    run(scenario())
