"""The public test doubles do what their docstrings say, over the in-memory network and over gRPC."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell.errors import UsageError
from streamcell.protocol.wire.frames import Chunk, Frame, Pong, StreamKey
from streamcell.testing import Direction, FakeClock, FaultyNetwork, InMemoryNetwork
from streamcell.transport.base import Carrier, LaneClosed
from streamcell.transport.codec import decode_batch, encode_batch
from streamcell.transport.grpc.network import GrpcNetwork
from tests.kit.timing import scaled
from tests.shell.transport.running import Pair, hear, open_pair, read_to_end, run, say, until

# Over real connections, some with waits that are part of the promise: not in the quick check.
pytestmark = pytest.mark.slow

TO_LISTENER, TO_DIALLER = Direction.TO_LISTENER, Direction.TO_DIALLER


@pytest.fixture(params=["memory", "grpc"])
def network(request: pytest.FixtureRequest) -> FaultyNetwork:
    return InMemoryNetwork() if request.param == "memory" else FaultyNetwork(GrpcNetwork())


@pytest.fixture
def url(network: FaultyNetwork) -> str:
    return "memory://" if isinstance(network, InMemoryNetwork) else "grpc://127.0.0.1:0"


def in_another_thread(do: Callable[[], object]) -> None:
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


async def is_still_waiting(task: asyncio.Task[object]) -> bool:
    done, _ = await asyncio.wait({task}, timeout=scaled(0.1))
    return not done


async def exchange(pair: Pair, batch: bytes) -> None:
    """Sends a batch both ways and checks that it arrives."""
    for sender, receiver in (pair.dialled, pair.arrived), (pair.arrived, pair.dialled):
        await say(sender, batch)
        assert await hear(receiver) == batch


def test_a_fake_clock_moves_when_told() -> None:
    clock = FakeClock(5.0)
    assert clock() == clock() == 5.0
    assert clock.advance(2.5) == 7.5
    assert clock() == 7.5
    for seconds in (-1.0, float("nan")):
        with pytest.raises(UsageError):
            clock.advance(seconds)


def test_without_faults_everything_passes(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            for number in range(20):
                await exchange(pair, b"%d" % number)
            assert network.dials == 1
            [lane] = network.lanes
            assert lane is pair.dialled
            assert lane.info.address == pair.listener.url
        assert network.lanes == ()

    run(scenario())


def test_a_cut_ends_lanes_on_both_sides(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            waiting = [
                asyncio.create_task(read_to_end(pair.dialled)),
                asyncio.create_task(read_to_end(pair.arrived)),
            ]
            in_another_thread(network.cut)
            await asyncio.gather(*waiting)
            with pytest.raises(LaneClosed, match="cut"):
                await say(pair.dialled, b"late")
            assert network.lanes == ()

    run(scenario())


def test_one_lane_can_be_cut_alone(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            other = await network.dial(pair.listener.url, scaled(3))
            first, _ = network.lanes
            in_another_thread(first.cut)
            with pytest.raises(LaneClosed):
                await hear(pair.dialled)
            assert network.lanes == (other,)
            await say(other, b"still here")
            await other.close()

    run(scenario())


def test_the_end_of_lanes_can_be_announced(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            announced = asyncio.Event()
            in_another_thread(network.announce_ends)
            pair.dialled.watch(announced.set)
            in_another_thread(network.announce_ends)
            await announced.wait()
            announced.clear()
            in_another_thread(network.announce_ends)
            await exchange(pair, b"still here")
            assert not announced.is_set()
            # Nobody is told of the end of a lane that has ended.
            other = await network.dial(pair.listener.url, scaled(3))
            other.watch(announced.set)
            (lane,) = set(network.lanes) - {pair.dialled}
            in_another_thread(lane.cut)
            in_another_thread(lane.announce_end)
            with pytest.raises(LaneClosed):
                await hear(other)
            assert not announced.is_set()
            await other.close()

    run(scenario())


@pytest.mark.parametrize("direction", Direction)
def test_the_nth_batch_can_cut_its_lane(network: FaultyNetwork, url: str, direction: Direction) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.cut_after(batches=3, direction=direction)
            sides = (pair.dialled, pair.arrived)
            sender, receiver = sides if direction is TO_LISTENER else sides[::-1]
            reading = asyncio.create_task(read_to_end(receiver))
            with pytest.raises(LaneClosed):
                await send_for_ever(sender)
            assert await reading == [b"0", b"1"]
        async with await open_pair(network, url) as pair:
            await exchange(pair, b"it happens once")

    run(scenario())


async def send_for_ever(lane: Carrier) -> None:
    number = 0
    while True:
        await say(lane, b"%d" % number)
        number += 1
        await asyncio.sleep(0)


def test_the_nth_byte_can_cut_its_lane(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.cut_after(size_bytes=25)
            await say(pair.dialled, bytes(10))
            await say(pair.dialled, bytes(10))
            with pytest.raises(LaneClosed):
                await say(pair.dialled, bytes(10))
            assert await read_to_end(pair.arrived) == [bytes(10)] * 2

    run(scenario())


@pytest.mark.parametrize("arguments", [{}, {"batches": 0}, {"size_bytes": -1}, {"batches": 1, "size_bytes": 1}])
def test_cut_after_needs_one_number(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        InMemoryNetwork().cut_after(**arguments)


def test_dialling_can_be_refused(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.refuse_dials()
            with pytest.raises(LaneClosed, match="refuses") as caught:
                await network.dial(pair.listener.url, scaled(3))
            assert caught.value.refusal is None
            await exchange(pair, b"the lanes that there are stay")
            network.refuse_dials(False)
            await (await network.dial(pair.listener.url, scaled(3))).close()
            assert network.dials == 3

    run(scenario())


def test_a_stall_holds_everything_back_until_released(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.stall()
            sending = asyncio.create_task(say(pair.dialled, b"there"))
            receiving = asyncio.create_task(hear(pair.dialled))
            await say(pair.arrived, b"back")
            assert await is_still_waiting(sending)
            assert await is_still_waiting(receiving)
            in_another_thread(network.release)
            assert await hear(pair.arrived) == b"there"
            assert await receiving == b"back"

    run(scenario())


def test_a_stall_may_be_one_way(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.stall(TO_DIALLER)
            await say(pair.dialled, b"there")
            assert await hear(pair.arrived) == b"there"
            receiving = asyncio.create_task(hear(pair.dialled))
            await say(pair.arrived, b"back")
            assert await is_still_waiting(receiving)
            network.release()
            assert await receiving == b"back"

    run(scenario())


def test_dialling_into_a_stall_takes_its_time(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.stall()
            with pytest.raises(LaneClosed, match="did not answer"):
                await network.dial(pair.listener.url, 0.05)
            dialling = asyncio.create_task(network.dial(pair.listener.url, scaled(3)))
            assert await is_still_waiting(dialling)
            network.heal()
            await (await dialling).close()

    run(scenario())


def test_a_stall_hides_the_end_of_a_lane(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.stall()
            receiving = asyncio.create_task(hear(pair.arrived))
            await pair.dialled.close()
            with pytest.raises(LaneClosed):
                await hear(pair.dialled)
            assert await is_still_waiting(receiving)
            network.release()
            with pytest.raises(LaneClosed):
                await receiving
        async with await open_pair(network, url) as pair:
            network.stall()
            receiving = asyncio.create_task(hear(pair.dialled))
            closing = asyncio.create_task(pair.arrived.close())
            assert await is_still_waiting(receiving)
            network.release()
            with pytest.raises(LaneClosed):
                await receiving
            await closing

    run(scenario())


def test_a_stalled_lane_can_be_cut(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.stall()
            sending = asyncio.create_task(say(pair.dialled, b"there"))
            assert await is_still_waiting(sending)
            network.cut()
            with pytest.raises(LaneClosed):
                await sending
            with pytest.raises(LaneClosed):
                await hear(pair.arrived)
            network.release()

    run(scenario())


def test_a_corrupted_payload_differs_in_one_byte(network: FaultyNetwork, url: str) -> None:
    def chunk(payload: bytes) -> Frame:
        return Chunk(StreamKey("a", 1, 1), "b", 1, "c", "t", 0, 0, False, 1, 0, payload)

    batches: list[list[Frame]] = [[Pong(1)], [chunk(b"first")], [Pong(2), chunk(b"second")]]

    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.corrupt_payload(2)
            for batch in (*batches, *batches):
                await pair.dialled.send(encode_batch(batch))
            for batch in batches[:2]:
                assert decode_batch(await pair.arrived.receive()) == batch
            pong, corrupt = decode_batch(await pair.arrived.receive())
            assert pong == Pong(2)
            assert isinstance(corrupt, Chunk)
            differing = [a != b for a, b in zip(corrupt.payload, b"second", strict=True)]
            assert differing.count(True) == 1
            for batch in batches:
                assert decode_batch(await pair.arrived.receive()) == batch

    run(scenario())


def test_a_delay_holds_each_batch(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.delay(0.05)
            started = asyncio.get_running_loop().time()
            for _ in range(3):
                await exchange(pair, b"slowly")
            assert asyncio.get_running_loop().time() - started >= 6 * 0.05 * 0.9
            network.heal()

    run(scenario())


def test_healing_takes_back_what_has_not_happened(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        async with await open_pair(network, url) as pair:
            network.cut_after(batches=1)
            network.corrupt_payload()
            network.refuse_dials()
            network.stall()
            network.heal()
            await exchange(pair, b"as before")
            await (await network.dial(pair.listener.url, scaled(3))).close()

    run(scenario())


def test_faults_may_be_set_while_no_loop_runs(network: FaultyNetwork, url: str) -> None:
    async def scenario() -> None:
        await network.dial(listener_url, scaled(3))

    async def open_and_leave() -> str:
        async with await open_pair(network, url) as pair:
            network.stall()
            await pair.dialled.close()
            network.release()
            await until(lambda: network.lanes == ())
            return pair.listener.url

    listener_url = run(open_and_leave())
    for fault in (network.cut, network.stall, network.release, network.heal):
        fault()
    with pytest.raises(LaneClosed):
        run(scenario())
