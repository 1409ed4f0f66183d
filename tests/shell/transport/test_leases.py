"""What the network in memory lends: counted, overwritten when it comes back, and copied when too much is out."""

import asyncio
import threading

from streamcell.limits import MIB
from streamcell.protocol.wire.frames import Parts
from streamcell.transport.memory.leases import LENT_FROM_BYTES, Lease, Leases
from streamcell.transport.memory.network import MemoryNetwork
from tests.shell.transport.running import open_pair, run

LARGE = b"1" * MIB


def lend(leases: Leases, *parts: bytes | memoryview) -> Parts:
    return leases.hand_out(leases.store(parts))


def test_a_lease_lasts_as_long_as_any_view() -> None:
    leases = Leases()
    [part] = lend(leases, LARGE)
    assert (leases.given, leases.open, leases.open_bytes) == (1, 1, MIB)
    within = memoryview(part)[5:50]
    again = memoryview(within)
    del part, within
    assert leases.open == 1
    assert again == LARGE[5:50]
    del again
    assert (leases.given, leases.open, leases.open_bytes) == (1, 0, 0)


def test_what_is_small_and_cannot_be_changed_is_not_lent() -> None:
    leases = Leases()
    small = b"1" * (LENT_FROM_BYTES - 1)
    [part] = lend(leases, small)
    assert part is small
    parts = lend(leases, memoryview(b"a view"), b"1" * LENT_FROM_BYTES)
    assert leases.given == len(parts) == 2


def test_what_came_back_is_overwritten() -> None:
    seen: list[bytes] = []

    class Watched(Lease):
        def __del__(self) -> None:
            super().__del__()
            seen.append(bytes(self))

    for size in (MIB, MIB + 1, 10):
        view = Watched(bytes(size), Leases()).hand_out()
        assert seen == []
        del view
        assert seen.pop() == b"\xdd" * size


def test_when_too_much_is_out_who_receives_gets_copies() -> None:
    leases = Leases(most_bytes=2 * MIB)
    lent = [part for _ in range(4) for part in lend(leases, LARGE)]
    assert [isinstance(part, memoryview) for part in lent] == [True, True, False, False]
    assert (leases.open, leases.open_bytes) == (2, 2 * MIB)
    assert all(part == LARGE for part in lent)
    del lent[0]
    lent += lend(leases, LARGE)
    assert isinstance(lent[-1], memoryview)


def test_leases_end_in_any_thread() -> None:
    leases = Leases(most_bytes=1000 * MIB)
    views = [part for _ in range(200) for part in lend(leases, bytes(LENT_FROM_BYTES))]
    shares = [views[start::4] for start in range(4)]
    views.clear()
    threads = [threading.Thread(target=share.clear) for share in shares]
    for thread in threads:
        thread.start()
    for _ in range(200):
        lend(leases, bytes(LENT_FROM_BYTES))
    for thread in threads:
        thread.join()
    assert (leases.given, leases.open, leases.open_bytes) == (400, 0, 0)


def test_what_nobody_takes_out_of_a_lane_is_no_lease_and_goes_with_it() -> None:
    async def scenario() -> None:
        network = MemoryNetwork()
        async with await open_pair(network, "memory://") as pair:
            await pair.dialled.send([LARGE])
            await pair.dialled.send([LARGE])
            held = await pair.arrived.receive()
            assert network.leases.open == network.leases.given == 1
        assert network.leases.given == 1
        assert held[0] == LARGE
        del held
        assert network.leases.open == 0

    run(scenario())


def test_a_network_counts_all_of_its_lanes() -> None:
    async def scenario() -> None:
        network = MemoryNetwork()
        async with await open_pair(network, "memory://") as one, await open_pair(network, "memory://") as two:
            held = []
            for sender, reader in (
                (one.dialled, one.arrived),
                (one.arrived, one.dialled),
                (two.dialled, two.arrived),
            ):
                await asyncio.gather(sender.send([LARGE]))
                held.append(await reader.receive())
            assert network.leases.open_bytes == 3 * MIB

    run(scenario())
