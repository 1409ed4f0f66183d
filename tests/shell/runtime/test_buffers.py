import errno
import gc
import mmap
import random
import threading

import psutil
import pytest

from streamcell.limits import GIB, MIB
from streamcell.runtime.buffers import POOLED_FROM_BYTES, BufferPool, round_up
from tests.kit.timing import scaled


class Pool(BufferPool):
    """A pool that counts what came back."""

    def __init__(self, most_idle_bytes: int = GIB) -> None:
        self.returned = 0
        super().__init__(most_idle_bytes, self.count)

    def count(self) -> None:
        self.returned += 1


@pytest.mark.parametrize("size", [1, 5000, POOLED_FROM_BYTES - 1, POOLED_FROM_BYTES, 5 * MIB + 1])
def test_buffers_are_writable_and_of_the_size_asked_for(size: int) -> None:
    buffer = Pool().allocate(size)
    buffer[0], buffer[-1] = 5, 7
    assert (len(buffer), buffer.nbytes, buffer.format, buffer.readonly, buffer[-1]) == (size, size, "B", False, 7)


def test_large_memory_comes_back_with_the_last_view() -> None:
    gc.disable()
    try:
        pool = Pool()
        buffer = pool.allocate(8 * MIB)
        part = buffer.toreadonly()[10:20]
        del buffer
        assert (pool.returned, pool.idle_bytes) == (0, 0)
        del part
        assert (pool.returned, pool.idle_bytes) == (1, 8 * MIB)
    finally:
        gc.enable()


def test_it_is_used_again_for_about_the_same_size() -> None:
    pool = Pool()
    pool.allocate(8 * MIB)[5] = 77
    buffer = pool.allocate(8 * MIB - 1)
    assert (buffer[5], pool.idle_bytes) == (77, 0)
    assert pool.allocate(16 * MIB)[5] == 0


def test_two_buffers_never_share_memory() -> None:
    pool = Pool()
    first, second = pool.allocate(5 * MIB), pool.allocate(5 * MIB)
    first[0], second[0] = 1, 2
    assert (first[0], second[0]) == (1, 2)


def test_small_memory_does_not_come_back() -> None:
    pool = Pool()
    pool.allocate(POOLED_FROM_BYTES - 1)
    assert (pool.returned, pool.idle_bytes) == (0, 0)


def test_trimming_gives_everything_up() -> None:
    pool = Pool()
    pool.allocate(8 * MIB)
    pool.trim()
    assert pool.idle_bytes == 0


def test_a_closed_pool_keeps_nothing_and_its_buffers_stay_valid() -> None:
    pool = Pool()
    pool.allocate(8 * MIB)
    buffer = pool.allocate(4 * MIB)
    pool.close()
    assert pool.idle_bytes == 0
    buffer[-1] = 7
    assert buffer[-1] == 7
    del buffer
    assert (pool.returned, pool.idle_bytes) == (2, 0)


def test_what_is_kept_is_bounded() -> None:
    pool = Pool(32 * MIB)
    buffers = [pool.allocate(8 * MIB) for _ in range(6)]
    del buffers
    assert (pool.returned, pool.idle_bytes) == (6, 32 * MIB)


def test_with_a_bound_of_zero_nothing_is_kept() -> None:
    pool = Pool(0)
    pool.allocate(8 * MIB)[5] = 77
    assert (pool.returned, pool.idle_bytes) == (1, 0)
    assert pool.allocate(8 * MIB)[5] == 0


def test_what_is_larger_than_the_bound_is_not_kept_and_displaces_nothing() -> None:
    pool = Pool(8 * MIB)
    small, large = pool.allocate(4 * MIB), pool.allocate(16 * MIB)
    del small, large
    assert (pool.returned, pool.idle_bytes) == (2, 4 * MIB)


def test_memory_becomes_resident_as_it_is_written() -> None:
    pool, process = Pool(), psutil.Process()
    before = process.memory_info().rss
    buffers = [pool.allocate(8 * MIB) for _ in range(64)]
    for buffer in buffers:
        buffer[0] = 1
    grown = process.memory_info().rss - before
    # A huge page each would be 128 MiB.
    assert grown < 32 * MIB
    buffers[0][:] = bytes(8 * MIB)
    assert process.memory_info().rss - before > grown + 7 * MIB


@pytest.mark.parametrize("size", [*range(1, 64), 1000, 4 * MIB, 4 * MIB + 1, 512 * MIB, 3 * 512 * MIB - 1])
def test_sizes_are_rounded_up_by_a_quarter_at_most(size: int) -> None:
    assert size <= round_up(size) <= size * 1.25
    assert round_up(round_up(size)) == round_up(size)


def test_any_thread_may_drop_a_buffer() -> None:
    pool = Pool()
    held = [pool.allocate(4 * MIB) for _ in range(20)]
    random.shuffle(held)
    threads = [threading.Thread(target=held.pop) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(5))
    assert (pool.returned, pool.idle_bytes) == (20, 80 * MIB)


def test_what_the_system_refuses_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    really_map = mmap.mmap
    pool = BufferPool(64 * MIB, lambda: None)
    lent = pool.allocate(8 * MIB)
    del lent
    assert pool.idle_bytes == 8 * MIB

    def refuse(*_args: object, **_named: object) -> mmap.mmap:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    # Small ones and those that are there need nothing of the system.
    assert pool.can_lend(1000)
    assert pool.can_lend(8 * MIB)
    assert not pool.can_lend(16 * MIB)
    # What was idle has been given back before it counted as refused.
    assert pool.idle_bytes == 0
    with pytest.raises(MemoryError, match="Cannot allocate memory"):
        pool.allocate(8 * MIB)
    monkeypatch.setattr(mmap, "mmap", really_map)
    assert pool.can_lend(16 * MIB)
    assert len(pool.allocate(16 * MIB)) == 16 * MIB


def test_a_kernel_without_huge_pages_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(mmap.mmap):
        def madvise(self, *_args: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Plain)
    assert len(BufferPool(0, lambda: None).allocate(8 * MIB)) == 8 * MIB
