"""A source that several transfers share: read once by those that keep up, again by those that do not."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import BytesStream, IterStream, Stream, UsageError
from streamcell.runtime.sending.shared_source import SharedReader, SharedSource
from streamcell.runtime.sending.sources import Interruptible
from streamcell.runtime.threads.trace import stream_log
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, eventually

LOG = stream_log("me")


class Recorded(BytesStream):
    """A source that remembers where it was read, and how often it was closed."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[int] = []
        self.closes = 0

    def read(self, size: int) -> memoryview:
        self.reads.append(self.get_pos())
        return super().read(size)

    def close(self) -> None:
        self.closes += 1


def share(source: Stream, count: int, window: int = 1000, closed: Callable[[], None] = lambda: None) -> SharedSource:
    return SharedSource(source, count, window, LOG, closed)


def drain(reader: SharedReader, size: int = 100) -> bytes:
    data = bytearray()
    while piece := reader.read(size):
        data += piece
    return bytes(data)


def in_thread(work: Callable[[], Any]) -> Box[Any]:
    """Run ``work`` in a thread; the box gets what it returns."""
    box: Box[Any] = Box()
    threading.Thread(target=lambda: box.put(work()), daemon=True).start()
    return box


def test_those_that_keep_up_share_one_reading() -> None:
    data = pattern(2500)
    source = Recorded(data)
    readers = share(source, 3).readers
    got = [bytearray() for _ in readers]
    for _ in range(25):
        for reader, mine in zip(readers, got, strict=True):
            mine.extend(reader.read(100))
    assert [bytes(mine) for mine in got] == [data] * 3
    assert [reader.read(100) for reader in readers] == [b""] * 3
    assert source.reads == [*range(0, 2500, 100), 2500]


def test_one_that_falls_behind_reads_again_for_itself_and_joins_in_the_end() -> None:
    data = pattern(3000)
    source = Recorded(data)
    fast, slow = share(source, 2).readers
    assert slow.read(100) == data[:100]
    assert drain(fast) == data
    assert drain(slow) == data[100:]
    again = sorted(offset for offset in set(source.reads) if source.reads.count(offset) > 1)
    # What lies within a window of the end was still there, less the room for the read that found the end.
    assert again == list(range(100, 2100, 100))


def test_one_that_was_left_behind_and_catches_up_shares_again() -> None:
    data = pattern(5000)
    source = Recorded(data)
    fast, slow = share(source, 2).readers
    for _ in range(20):
        fast.read(100)
    while slow.position < 2000:
        slow.read(100)
    source.reads.clear()
    for _ in range(30):
        assert fast.read(100) == slow.read(100)
    assert source.reads == list(range(2000, 5000, 100))


def test_a_source_that_cannot_seek_goes_at_the_pace_of_the_slowest() -> None:
    data = pattern(3000)
    source = IterStream(data[start : start + 100] for start in range(0, 3000, 100))
    fast, slow = share(source, 2).readers
    result = in_thread(lambda: drain(fast))
    eventually(lambda: fast.position == 1000, "the fast one reads a window ahead")
    assert slow.read(100) == data[:100]
    eventually(lambda: fast.position == 1100, "and goes on when the slow one does")
    assert result.is_empty()
    assert drain(slow) == data[100:]
    assert result.get() == data


def test_the_others_go_on_when_the_slowest_leaves() -> None:
    data = pattern(3000)
    source = IterStream(data[start : start + 100] for start in range(0, 3000, 100))
    fast, slow = share(source, 2).readers
    result = in_thread(lambda: drain(fast))
    eventually(lambda: fast.position == 1000)
    slow.close()
    assert result.get() == data


def test_a_piece_larger_than_the_window_passes() -> None:
    data = pattern(3000)
    first, second = share(IterStream([data]), 2, window=10).readers
    assert first.read(3000) == data
    assert second.read(3000) == data


def test_what_the_source_raises_is_raised_to_all_after_what_came_before() -> None:
    class Broken(Stream):
        def read(self, size: int) -> bytes:
            if self._pos:
                raise RuntimeError("the disk is gone")
            self._pos = 5
            return b"start"

    for reader in share(Broken(), 2).readers:
        assert reader.read(100) == b"start"
        with pytest.raises(RuntimeError, match="the disk is gone"):
            reader.read(100)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            reader.read(100)


def test_what_a_late_reader_meets_is_raised_to_it_alone() -> None:
    class Once(Recorded):
        """Fails when it is read again."""

        def seek(self, offset: int) -> int:
            if offset == 100:
                raise OSError("cannot go back")
            return super().seek(offset)

    data = pattern(3000)
    fast, slow = share(Once(data), 2).readers
    slow.read(100)
    for _ in range(20):
        fast.read(100)
    with pytest.raises(OSError, match="cannot go back"):
        slow.read(100)
    assert drain(fast) == data[2000:]


@pytest.mark.parametrize(("given", "text"), [("text", "str"), (b"x" * 101, "at most")])
def test_what_breaks_the_rules_of_read_is_a_usage_error(given: Any, text: str) -> None:
    class Wrong(Stream):
        def read(self, size: int) -> Any:
            return given

    with pytest.raises(UsageError, match=text):
        share(Wrong(), 1).readers[0].read(100)


def test_a_source_that_reuses_its_buffer_gives_correct_data() -> None:
    buffer = bytearray(4)

    class Reusing(Stream):
        def read(self, size: int) -> bytearray:
            self._pos += 1
            buffer[:] = self._pos.to_bytes(4, "big")
            return buffer if self._pos < 4 else bytearray()

    first, second = share(Reusing(), 2).readers
    assert drain(first) == drain(second) == b"".join(number.to_bytes(4, "big") for number in (1, 2, 3))


def test_offsets_count_from_where_the_source_stands() -> None:
    source = Recorded(pattern(1000))
    source.seek(300)
    first, second = share(source, 2).readers
    assert drain(first) == pattern(1000)[300:]
    second.seek(100)
    assert second.read(50) == pattern(1000)[400:450]


def test_one_goes_back_in_a_source_that_can_seek() -> None:
    data = pattern(3000)
    first, second = share(Recorded(data), 2).readers
    assert drain(first) == data
    first.seek(200)
    assert drain(first) == data[200:]
    assert drain(second) == data


def test_one_goes_back_within_what_is_kept_and_no_further_in_one_that_cannot() -> None:
    data = pattern(900)
    first, second = share(IterStream(data[start : start + 100] for start in range(0, 900, 100)), 2).readers
    assert drain(first) == data
    first.seek(0)
    assert drain(first) == data
    while second.position < 500:
        second.read(100)
    with pytest.raises(io.UnsupportedOperation, match="cannot go to 100"):
        first.seek(100)
    first.seek(600)
    assert drain(first) == data[600:]


def test_the_last_to_leave_closes_the_source_once() -> None:
    closed: list[int] = []
    source = Recorded(b"data")
    first, second = share(source, 2, closed=lambda: closed.append(source.closes)).readers
    first.close()
    assert (source.closes, closed) == (0, [])
    second.close()
    assert (source.closes, closed) == (1, [1])


def test_many_readers_in_threads_of_their_own_get_everything() -> None:
    data = pattern(200_000)
    readers = share(Recorded(data), 8, window=20_000).readers
    boxes = [in_thread(functools.partial(drain, reader, 700 + 90 * number)) for number, reader in enumerate(readers)]
    assert all(box.get(PATIENCE_S) == data for box in boxes)


class Waiting(Stream, Interruptible):
    """Gives one piece, and then waits until it is interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = threading.Event()
        self.asked = Box[int]()

    def read(self, size: int) -> bytes:
        if self.get_pos() == 0:
            self._pos = 1
            return b"x"
        self.asked.put(size)
        self.interrupted.wait(PATIENCE_S)
        return b""

    def interrupt(self) -> None:
        self.interrupted.set()


def test_a_source_is_interrupted_when_all_that_are_left_are_leaving() -> None:
    source = Waiting()
    one, other = share(source, 2).readers
    assert one.read(1) == other.read(1) == b"x"
    waiting = in_thread(lambda: one.read(1))
    source.asked.get()
    one.interrupt()
    assert not source.interrupted.is_set()
    other.close()
    assert source.interrupted.is_set()
    assert waiting.get() == b""


def test_one_that_waits_for_the_slowest_and_is_leaving_waits_no_longer() -> None:
    shared = share(IterStream([bytes(100)] * 30), 2)
    fast, slow = shared.readers
    assert len(slow.read(100)) == 100
    waiting = in_thread(functools.partial(drain, fast))
    eventually(lambda: fast.position >= 1000)
    fast.interrupt()
    assert len(waiting.get()) == fast.position
    fast.close()
    assert len(drain(slow)) == 2900
