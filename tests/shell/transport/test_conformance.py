"""What every carrier of lanes guarantees, as `base` says it: in memory, over TCP, over unix
sockets."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamcell.errors import ErrorCode, LinkError, UsageError
from streamcell.limits import MESSAGE_BYTES, MIB
from streamcell.transport.base import Lane, LaneClosed, Network
from streamcell.transport.grpc.network import GrpcNetwork
from streamcell.transport.memory import MemoryNetwork
from tests.kit.timing import scaled
from tests.shell.transport.running import Arrivals, open_pair, read_to_end, run, until

# Over real connections, some with waits that are part of the promise: not in the quick check.
pytestmark = pytest.mark.slow


@dataclass
class Carrier:
    """A network, where to listen on it, and where nobody does."""

    network: Network
    url: str
    nobody: str


@pytest.fixture(params=["memory", "tcp", "unix"])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carrier]:
    if request.param == "memory":
        yield Carrier(MemoryNetwork(), "memory://", "memory://nobody")
    elif request.param == "tcp":
        yield Carrier(GrpcNetwork(), "grpc://127.0.0.1:0", "grpc://127.0.0.1:1")
    else:
        yield Carrier(GrpcNetwork(), f"unix://{tmp_path}/cell", f"unix://{tmp_path}/nobody")


def test_batches_arrive_in_order_and_unchanged_both_ways(carrier: Carrier) -> None:
    batches = [bytes([number % 256]) * (number * 97) for number in range(300)]

    async def send_all(lane: Lane) -> None:
        for batch in batches:
            await lane.send(batch)

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sending = asyncio.gather(send_all(pair.dialled), send_all(pair.arrived))
            for batch in batches:
                assert await pair.arrived.receive() == batch
                assert await pair.dialled.receive() == batch
            await sending

    run(scenario())


def test_a_batch_may_be_empty_or_as_large_as_the_limit(carrier: Carrier) -> None:
    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            for size in (0, 1, MESSAGE_BYTES):
                # Together: there may be no room for a large one before somebody reads.
                _, batch = await asyncio.gather(pair.dialled.send(bytes(size)), pair.arrived.receive())
                assert batch == bytes(size)

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_batch_over_the_limit_is_refused(carrier: Carrier, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sender = pair.dialled if from_dialler else pair.arrived
            with pytest.raises(LaneClosed) as caught:
                await sender.send(bytes(MESSAGE_BYTES + 1))
            assert isinstance(caught.value.refusal, LinkError)
            assert caught.value.refusal.code is ErrorCode.LIMIT

    run(scenario())


def test_a_lane_knows_its_peer(carrier: Carrier) -> None:
    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            assert pair.dialled.peer.address == pair.listener.url
            assert pair.arrived.peer.address
            assert pair.dialled.peer.identity == pair.arrived.peer.identity == ""

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_sender_waits_for_a_reader_that_does_not_read(carrier: Carrier, from_dialler: bool) -> None:
    sent = 0

    async def send_all(lane: Lane) -> None:
        nonlocal sent
        for _ in range(200):
            await lane.send(bytes(MIB))
            sent += 1

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            sender, reader = sides if from_dialler else sides[::-1]
            sending = asyncio.create_task(send_all(sender))
            done, _ = await asyncio.wait({sending}, timeout=scaled(0.5))
            assert not done
            assert sent < 100
            for _ in range(200):
                await reader.receive()
            await sending

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_delivers_what_was_sent_before(carrier: Carrier, from_dialler: bool) -> None:
    batches = [b"%d" % number * 1000 for number in range(500)]

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            closer, other = sides if from_dialler else sides[::-1]
            reading = asyncio.create_task(read_to_end(other))
            for batch in batches:
                await closer.send(batch)
            closing = asyncio.create_task(closer.close())
            assert await reading == batches
            await other.close()
            await closing

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_send_that_fails_does_not_lose_what_has_arrived(carrier: Carrier, from_dialler: bool) -> None:
    async def send_for_ever(lane: Lane) -> None:
        while True:
            await lane.send(bytes(50_000))

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            closer, other = sides if from_dialler else sides[::-1]
            sending = asyncio.create_task(send_for_ever(other))
            for number in range(20):
                await closer.send(b"%d" % number)
                await closer.receive()
            closing = asyncio.create_task(closer.close())
            if not from_dialler:  # who closes an arrived lane reads no more: sending fails
                with pytest.raises(LaneClosed):
                    await sending
            assert await read_to_end(other) == [b"%d" % number for number in range(20)]
            await other.close()
            await asyncio.wait({sending})
            assert isinstance(sending.exception(), LaneClosed)
            await closing

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_delivers_although_a_receive_waits(carrier: Carrier, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            closer, other = sides if from_dialler else sides[::-1]
            receiving = asyncio.create_task(closer.receive())
            await asyncio.sleep(0)
            await closer.send(b"last words")
            closing = asyncio.create_task(closer.close())
            assert await read_to_end(other) == [b"last words"]
            await other.close()
            await closing
            with pytest.raises(LaneClosed, match="closed here"):
                await receiving

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_reads_on_so_that_the_other_side_can_end(carrier: Carrier, from_dialler: bool) -> None:
    """What nobody takes any more does not keep the other side's last batches from being written."""

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            closer, other = sides if from_dialler else sides[::-1]
            sending = asyncio.create_task(send_all(other))
            await closer.receive()
            closing = asyncio.create_task(closer.close())
            with pytest.raises(LaneClosed):
                await sending
            await other.close()
            await closing

    async def send_all(lane: Lane) -> None:
        while True:
            await lane.send(bytes(MIB))

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_wakes_who_waits_on_the_lane(carrier: Carrier, from_dialler: bool) -> None:
    async def send_for_ever(lane: Lane) -> None:
        while True:
            await lane.send(bytes(MIB))

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            lane, other = sides if from_dialler else sides[::-1]
            waiting = (
                asyncio.create_task(send_for_ever(lane)),
                asyncio.create_task(lane.receive()),
            )
            await asyncio.wait(waiting, timeout=scaled(0.3))
            await lane.close()
            await other.close()
            for task in waiting:
                with pytest.raises(LaneClosed):
                    await task
                assert task.cancelling() == 0

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_lane_that_was_closed_says_so(carrier: Carrier, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            lane = pair.dialled if from_dialler else pair.arrived
            await asyncio.gather(lane.close(), lane.close())
            await lane.close()
            with pytest.raises(LaneClosed, match="closed here"):
                await lane.send(b"late")
            with pytest.raises(LaneClosed, match="closed here"):
                await lane.receive()

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_the_other_side_of_a_closed_lane_learns_it(carrier: Carrier, from_dialler: bool) -> None:
    async def send_for_ever(lane: Lane) -> None:
        while True:
            await lane.send(b"are you there?")
            await asyncio.sleep(0)

    async def scenario() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            sides = (pair.dialled, pair.arrived)
            closer, other = sides if from_dialler else sides[::-1]
            closing = asyncio.create_task(closer.close())
            with pytest.raises(LaneClosed) as caught:
                await other.receive()
            assert caught.value.refusal is None
            await other.close()
            with pytest.raises(LaneClosed):
                await send_for_ever(other)
            await closing

    run(scenario())


def test_dialling_nobody_fails_at_once(carrier: Carrier) -> None:
    async def scenario() -> None:
        with pytest.raises(LaneClosed) as caught:
            await carrier.network.dial(carrier.nobody, scaled(10))
        assert carrier.nobody in str(caught.value)
        assert caught.value.refusal is None

    run(scenario(), timeout_s=5)


def test_dialling_can_be_cancelled_at_any_time(carrier: Carrier) -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        listener = await carrier.network.listen(carrier.url, arrivals, insecure=False)
        for turns in range(30):
            dialling = asyncio.create_task(carrier.network.dial(listener.url, scaled(3)))
            for _ in range(turns):
                await asyncio.sleep(0)
            dialling.cancel()
            await asyncio.wait({dialling})
            if not dialling.cancelled():
                await dialling.result().close()
        await listener.close()

    run(scenario())


def test_a_busy_address_is_an_error(carrier: Carrier) -> None:
    async def scenario() -> None:
        listener = await carrier.network.listen(carrier.url, Arrivals(), insecure=False)
        with pytest.raises(LinkError, match="cannot listen at"):
            await carrier.network.listen(listener.url, Arrivals(), insecure=False)
        await (await carrier.network.dial(listener.url, scaled(3))).close()
        await listener.close()

    run(scenario())


def test_an_address_can_be_used_again_after_close(carrier: Carrier) -> None:
    async def scenario() -> None:
        first = await carrier.network.listen(carrier.url, Arrivals(), insecure=False)
        url = first.url
        await first.close()
        async with await open_pair(carrier.network, url) as pair:
            assert pair.listener.url == url
            await first.close()
            await pair.dialled.send(b"still here")
            assert await pair.arrived.receive() == b"still here"

    run(scenario())


@pytest.mark.parametrize("url", ["", "http://host:80", "grpc://host", "memory://a b", "unix://x"])
def test_a_malformed_address_is_a_usage_error(carrier: Carrier, url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError):
            await carrier.network.dial(url, 1)
        with pytest.raises(UsageError):
            await carrier.network.listen(url, Arrivals(), insecure=True)

    run(scenario())


def test_closing_the_listener_ends_its_lanes(carrier: Carrier) -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        listener = await carrier.network.listen(carrier.url, arrivals, insecure=False)
        dialled = [await carrier.network.dial(listener.url, scaled(3)) for _ in range(3)]
        arrived = [await arrivals.lanes.get() for _ in range(3)]
        for lane in arrived:
            await lane.send(b"goodbye")
        reading = [asyncio.create_task(read_to_end(lane)) for lane in dialled]
        await listener.close()
        assert await asyncio.gather(*reading) == [[b"goodbye"]] * 3
        for lane in (*arrived, *dialled):
            await lane.close()
            with pytest.raises(LaneClosed):
                await lane.receive()
        with pytest.raises(LaneClosed):
            await carrier.network.dial(listener.url, scaled(3))

    run(scenario())


def test_many_lanes_at_once_do_not_mix(carrier: Carrier) -> None:
    async def echo(lane: Lane) -> None:
        for _ in range(10):
            await lane.send(await lane.receive())

    async def converse(lane: Lane, number: int) -> None:
        for turn in range(10):
            batch = b"%d %d" % (number, turn)
            await lane.send(batch)
            assert await lane.receive() == batch

    async def scenario() -> None:
        arrivals = Arrivals()
        listener = await carrier.network.listen(carrier.url, arrivals, insecure=False)
        dialled = [await carrier.network.dial(listener.url, scaled(3)) for _ in range(30)]
        arrived = [await arrivals.lanes.get() for _ in range(30)]
        await asyncio.gather(
            *(echo(lane) for lane in arrived),
            *(converse(lane, number) for number, lane in enumerate(dialled)),
        )
        await asyncio.gather(*(lane.close() for lane in (*dialled, *arrived)))
        await listener.close()

    run(scenario())


def test_opening_and_closing_leaves_nothing_behind(carrier: Carrier) -> None:
    async def once() -> None:
        async with await open_pair(carrier.network, carrier.url) as pair:
            reading = [asyncio.create_task(read_to_end(pair.dialled))]
            await pair.dialled.send(b"hello")
            await pair.arrived.receive()
        await asyncio.gather(*reading)

    def open_files() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0

    async def scenario() -> None:
        await once()
        files, threads = open_files(), threading.active_count()
        for _ in range(50):
            await once()
        await until(lambda: open_files() <= files)
        assert threading.active_count() <= threads

    run(scenario(), timeout_s=40)
