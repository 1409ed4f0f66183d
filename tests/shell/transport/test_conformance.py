"""What every carrier of lanes guarantees, as `base` says it."""

import asyncio
import contextlib
import gc
import random
import threading
from pathlib import Path

import pytest

from streamcell.errors import ErrorCode, LinkError, UsageError
from streamcell.limits import MESSAGE_BYTES, MIB
from streamcell.protocol.wire.frames import Parts, Payload
from streamcell.transport.base import Carrier, LaneClosed
from streamcell.transport.parts import join
from tests.kit.timing import scaled
from tests.shell.transport.carriers import CARRIERS, Place
from tests.shell.transport.running import Arrivals, hear, open_pair, read_to_end, run, say, until

# Over real connections, some with waits that are part of the promise: not in the quick check.
pytestmark = pytest.mark.slow


@pytest.fixture(params=CARRIERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return CARRIERS[request.param](tmp_path)


def test_batches_arrive_in_order_and_unchanged_both_ways(place: Place) -> None:
    batches = [bytes([number % 256]) * (number * 97) for number in range(300)]

    async def send_all(lane: Carrier) -> None:
        for batch in batches:
            await say(lane, batch)

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            sending = asyncio.gather(send_all(pair.dialled), send_all(pair.arrived))
            for batch in batches:
                assert await hear(pair.arrived) == batch
                assert await hear(pair.dialled) == batch
            await sending

    run(scenario())


def test_a_batch_may_be_empty_or_as_large_as_the_limit(place: Place) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            for size in (0, 1, MESSAGE_BYTES):
                # Together: there may be no room for a large one before somebody reads.
                _, batch = await asyncio.gather(say(pair.dialled, bytes(size)), hear(pair.arrived))
                assert batch == bytes(size)

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_parts_are_one_batch_however_it_is_cut(place: Place, from_dialler: bool) -> None:
    large = random.Random(2).randbytes(MIB)
    batches: list[list[Payload]] = [
        [],
        [b""],
        [b"a", b"", b"b"],
        [memoryview(large)],
        [b"head", memoryview(large)[1:], b"tail"],
        [large, large[:70_000], memoryview(large)[5:10]],
        [memoryview(bytearray(large)), memoryview(large)[::1]],
        [b"x"] * 3000,
    ]

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            sender, reader = pair.sides(from_dialler)
            for batch in batches:
                _, arrived = await asyncio.gather(sender.send(batch), hear(reader))
                assert arrived == b"".join(batch)

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_what_is_sent_may_be_changed_as_soon_as_it_was_taken(place: Place, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            sender, reader = pair.sides(from_dialler)
            for size in (10, 100_000):
                mine = bytearray(b"1") * size
                await sender.send([b"head ", memoryview(mine)])
                mine[:] = b"2" * size
                assert await hear(reader) == b"head " + b"1" * size
                # Nothing is held of it, so that it may become longer, too.
                mine.append(3)

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_what_is_received_is_read_only_and_stays_as_it_is_while_it_is_held(place: Place, from_dialler: bool) -> None:
    """Whatever travels meanwhile, beyond what any carrier could lend, and after the end of the lane."""
    count = 90

    def batch(number: int) -> bytes:
        return bytes([number]) * MIB

    async def scenario() -> None:
        held: list[Payload] = []
        async with await open_pair(place.network, place.url) as pair:
            sender, reader = pair.sides(from_dialler)
            for number in range(count):
                _, parts = await asyncio.gather(sender.send([batch(number)]), reader.receive())
                # A slice of a view, and nothing else, is held of each.
                held.append(memoryview(join_views(parts))[7:-7])
        for number, view in enumerate(held):
            assert memoryview(view).readonly
            assert view == batch(number)[7:-7]
        held.clear()
        # And then others can use the memory.
        async with await open_pair(place.network, place.url) as pair:
            sender, reader = pair.sides(from_dialler)
            for number in range(3):
                _, arrived = await asyncio.gather(sender.send([batch(number)]), hear(reader))
                assert arrived == batch(number)

    def join_views(parts: Parts) -> Payload:
        return parts[0] if len(parts) == 1 else join(parts)

    run(scenario(), timeout_s=40)


def test_a_lane_may_end_while_what_it_brought_is_in_use(place: Place) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            _, parts = await asyncio.gather(pair.dialled.send([b"x" * MIB]), pair.arrived.receive())
            await asyncio.gather(pair.dialled.close(), pair.arrived.close())
            await pair.listener.close()
            assert join(parts) == b"x" * MIB

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_batch_over_the_limit_is_refused(place: Place, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            sender = pair.dialled if from_dialler else pair.arrived
            with pytest.raises(LaneClosed) as caught:
                await sender.send([bytes(MESSAGE_BYTES), b"1"])
            assert isinstance(caught.value.refusal, LinkError)
            assert caught.value.refusal.code is ErrorCode.LIMIT
            # Only that batch is refused.
            receiver = pair.arrived if from_dialler else pair.dialled
            await say(sender, b"still here")
            assert await hear(receiver) == b"still here"

    run(scenario())


def test_a_carrier_knows_what_it_is_and_the_other_side(place: Place) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            here, there = pair.dialled.info, pair.arrived.info
            assert here.address == pair.listener.url
            assert there.address
            assert here.identity == there.identity == ""
            assert here.name == there.name == place.name

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_sender_waits_for_a_reader_that_does_not_read(place: Place, from_dialler: bool) -> None:
    sent = 0

    async def send_all(lane: Carrier) -> None:
        nonlocal sent
        for _ in range(200):
            await say(lane, bytes(MIB))
            sent += 1

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            sender, reader = pair.sides(from_dialler)
            sending = asyncio.create_task(send_all(sender))
            done, _ = await asyncio.wait({sending}, timeout=scaled(0.5))
            assert not done
            assert sent < 100
            for _ in range(200):
                await hear(reader)
            await sending

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_delivers_what_was_sent_before(place: Place, from_dialler: bool) -> None:
    batches = [b"%d" % number * 1000 for number in range(500)]

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            closer, other = pair.sides(from_dialler)
            reading = asyncio.create_task(read_to_end(other))
            for batch in batches:
                await say(closer, batch)
            closing = asyncio.create_task(closer.close())
            assert await reading == batches
            await other.close()
            await closing

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_a_send_that_fails_does_not_lose_what_has_arrived(place: Place, from_dialler: bool) -> None:
    async def send_for_ever(lane: Carrier) -> None:
        while True:
            await say(lane, bytes(50_000))

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            closer, other = pair.sides(from_dialler)
            sending = asyncio.create_task(send_for_ever(other))
            for number in range(20):
                await say(closer, b"%d" % number)
                await hear(closer)
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
def test_closing_delivers_although_a_receive_waits(place: Place, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            closer, other = pair.sides(from_dialler)
            receiving = asyncio.create_task(hear(closer))
            await asyncio.sleep(0)
            await say(closer, b"last words")
            closing = asyncio.create_task(closer.close())
            assert await read_to_end(other) == [b"last words"]
            await other.close()
            await closing
            with pytest.raises(LaneClosed, match="closed here"):
                await receiving

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_reads_on_so_that_the_other_side_can_end(place: Place, from_dialler: bool) -> None:
    """What nobody takes any more does not keep the other side's last batches from being written."""

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            closer, other = pair.sides(from_dialler)
            sending = asyncio.create_task(send_all(other))
            await hear(closer)
            closing = asyncio.create_task(closer.close())
            with pytest.raises(LaneClosed):
                await sending
            await other.close()
            await closing

    async def send_all(lane: Carrier) -> None:
        while True:
            await say(lane, bytes(MIB))

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_closing_wakes_who_waits_on_the_lane(place: Place, from_dialler: bool) -> None:
    async def send_for_ever(lane: Carrier) -> None:
        while True:
            await say(lane, bytes(MIB))

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            lane, other = pair.sides(from_dialler)
            waiting = (
                asyncio.create_task(send_for_ever(lane)),
                asyncio.create_task(hear(lane)),
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
def test_a_lane_that_was_closed_says_so(place: Place, from_dialler: bool) -> None:
    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            lane = pair.dialled if from_dialler else pair.arrived
            await asyncio.gather(lane.close(), lane.close())
            await lane.close()
            with pytest.raises(LaneClosed, match="closed here"):
                await say(lane, b"late")
            with pytest.raises(LaneClosed, match="closed here"):
                await hear(lane)

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_the_other_side_of_a_closed_lane_learns_it(place: Place, from_dialler: bool) -> None:
    async def send_for_ever(lane: Carrier) -> None:
        while True:
            await say(lane, b"are you there?")
            await asyncio.sleep(0)

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            closer, other = pair.sides(from_dialler)
            closing = asyncio.create_task(closer.close())
            with pytest.raises(LaneClosed) as caught:
                await hear(other)
            assert caught.value.refusal is None
            await other.close()
            with pytest.raises(LaneClosed):
                await send_for_ever(other)
            await closing

    run(scenario())


def test_a_lane_that_is_closed_or_breaks_was_not_leaving(place: Place) -> None:
    """Who watches is told of an end that is announced, and of no other."""

    async def scenario() -> None:
        told: list[str] = []
        async with await open_pair(place.network, place.url) as pair:
            pair.dialled.watch(lambda: told.append("dialled"))
            pair.arrived.watch(lambda: told.append("arrived"))
            await pair.listener.close()
            with pytest.raises(LaneClosed):
                await hear(pair.dialled)
        pair.dialled.watch(lambda: told.append("late"))
        assert told == []

    run(scenario())


@pytest.mark.parametrize("from_dialler", [True, False])
def test_who_is_woken_by_the_end_was_not_cancelled_and_may_go_on(place: Place, from_dialler: bool) -> None:
    """The end of a lane is an exception, which a task may catch; a cancellation is the task's own."""

    async def outlive(lane: Carrier) -> str:
        with contextlib.suppress(LaneClosed):
            await lane.receive()
        await asyncio.sleep(0)
        return "alive"

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:
            lane, other = pair.sides(from_dialler)
            here, there = (asyncio.create_task(outlive(side)) for side in (lane, other))
            await asyncio.sleep(0)
            await lane.close()
            assert await there == "alive"
            await other.close()
            assert await here == "alive"

    run(scenario())


@pytest.mark.parametrize("waiting_to", ["send", "receive"])
def test_a_task_that_is_cancelled_all_the_same_is_cancelled(place: Place, waiting_to: str) -> None:
    """It may end the lane, and does not hold up anything: both sides can close, and the next lane works."""

    async def scenario() -> None:
        async with await open_pair(place.network, place.url) as pair:

            async def wait() -> None:
                while True:
                    await (pair.dialled.send([bytes(MIB)]) if waiting_to == "send" else pair.dialled.receive())

            task = asyncio.create_task(wait())
            await asyncio.wait({task}, timeout=scaled(0.3))
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() or isinstance(task.exception(), LaneClosed)
            await asyncio.gather(pair.dialled.close(), pair.arrived.close())
            again = await place.network.dial(pair.listener.url, scaled(3))
            await again.close()

    run(scenario())


def test_dialling_nobody_fails_at_once(place: Place) -> None:
    async def scenario() -> None:
        with pytest.raises(LaneClosed) as caught:
            await place.network.dial(place.nobody, scaled(10))
        assert place.nobody in str(caught.value)
        assert caught.value.refusal is None

    run(scenario(), timeout_s=5)


def test_dialling_can_be_cancelled_at_any_time(place: Place) -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        listener = await place.network.listen(place.url, arrivals, insecure=False)
        for turns in range(30):
            dialling = asyncio.create_task(place.network.dial(listener.url, scaled(3)))
            for _ in range(turns):
                await asyncio.sleep(0)
            dialling.cancel()
            await asyncio.wait({dialling})
            if not dialling.cancelled():
                await dialling.result().close()
        await listener.close()

    run(scenario())


def test_a_busy_address_is_an_error(place: Place) -> None:
    async def scenario() -> None:
        listener = await place.network.listen(place.url, Arrivals(), insecure=False)
        with pytest.raises(LinkError, match="cannot listen at"):
            await place.network.listen(listener.url, Arrivals(), insecure=False)
        await (await place.network.dial(listener.url, scaled(3))).close()
        await listener.close()

    run(scenario())


def test_an_address_can_be_used_again_after_close(place: Place) -> None:
    async def scenario() -> None:
        first = await place.network.listen(place.url, Arrivals(), insecure=False)
        url = first.url
        await first.close()
        async with await open_pair(place.network, url) as pair:
            assert pair.listener.url == url
            await first.close()
            await say(pair.dialled, b"still here")
            assert await hear(pair.arrived) == b"still here"

    run(scenario())


@pytest.mark.parametrize("url", ["", "http://host:80", "grpc://host", "memory://a b", "unix://x"])
def test_a_malformed_address_is_a_usage_error(place: Place, url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError):
            await place.network.dial(url, 1)
        with pytest.raises(UsageError):
            await place.network.listen(url, Arrivals(), insecure=True)

    run(scenario())


def test_closing_the_listener_ends_its_lanes(place: Place) -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        listener = await place.network.listen(place.url, arrivals, insecure=False)
        dialled = [await place.network.dial(listener.url, scaled(3)) for _ in range(3)]
        arrived = [await arrivals.lanes.get() for _ in range(3)]
        for lane in arrived:
            await say(lane, b"goodbye")
        reading = [asyncio.create_task(read_to_end(lane)) for lane in dialled]
        await listener.close()
        assert await asyncio.gather(*reading) == [[b"goodbye"]] * 3
        for lane in (*arrived, *dialled):
            await lane.close()
            with pytest.raises(LaneClosed):
                await hear(lane)
        with pytest.raises(LaneClosed):
            await place.network.dial(listener.url, scaled(3))

    run(scenario())


def test_many_lanes_at_once_do_not_mix(place: Place) -> None:
    async def echo(lane: Carrier) -> None:
        for _ in range(10):
            await say(lane, await hear(lane))

    async def converse(lane: Carrier, number: int) -> None:
        for turn in range(10):
            batch = b"%d %d" % (number, turn)
            await say(lane, batch)
            assert await hear(lane) == batch

    async def scenario() -> None:
        arrivals = Arrivals()
        listener = await place.network.listen(place.url, arrivals, insecure=False)
        dialled = [await place.network.dial(listener.url, scaled(3)) for _ in range(30)]
        arrived = [await arrivals.lanes.get() for _ in range(30)]
        await asyncio.gather(
            *(echo(lane) for lane in arrived),
            *(converse(lane, number) for number, lane in enumerate(dialled)),
        )
        await asyncio.gather(*(lane.close() for lane in (*dialled, *arrived)))
        await listener.close()

    run(scenario())


def test_opening_and_closing_leaves_nothing_behind(place: Place) -> None:
    async def once() -> None:
        async with await open_pair(place.network, place.url) as pair:
            reading = [asyncio.create_task(read_to_end(pair.dialled))]
            await say(pair.dialled, b"hello")
            await hear(pair.arrived)
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
