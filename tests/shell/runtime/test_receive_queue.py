import queue
import threading
from typing import Any

import pytest

from streamcell import CellError, StreamCancelled, StreamError, StreamIntegrityError
from streamcell.digest import Digest, Hasher
from streamcell.runtime.receiving.queue import REPORT_BYTES, REPORT_S, ReceiveQueue
from streamcell.testing import FakeClock
from tests.kit.timing import scaled


class Owner:
    """Notes what the queue tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.urgent: list[bool] = []

    def on_consumed(self, offset: int, *, urgent: bool) -> None:
        self.told.append(("consumed", offset))
        self.urgent.append(urgent)

    def on_end_reached(self, size_bytes: int) -> None:
        self.told.append(("end", size_bytes))

    def on_corrupt(self, error: StreamIntegrityError) -> None:
        self.told.append(("corrupt", error))

    def on_closed(self, offset: int) -> None:
        self.told.append(("closed", offset))


@pytest.fixture
def owner() -> Owner:
    return Owner()


def make_queue(
    owner: Owner, *pieces: bytes | memoryview, hashing: bool = False, clock: FakeClock | None = None
) -> ReceiveQueue:
    received = ReceiveQueue(owner, hashing, clock or FakeClock())
    for piece in pieces:
        received.put(piece)
    return received


def take_all(received: ReceiveQueue, limit: int = 1 << 30) -> bytes:
    parts = []
    while part := received.take(limit):
        parts.append(bytes(part))
    return b"".join(parts)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_bytes_come_out_in_order(owner: Owner, limit: int) -> None:
    received = make_queue(owner, b"abc", memoryview(b"de"), b"", b"f")
    received.end(6, None)
    assert take_all(received, limit) == b"abcdef"
    assert received.position == 6
    assert received.take(limit) == b""


def test_a_take_returns_part_of_one_piece(owner: Owner) -> None:
    received = make_queue(owner, b"abc", b"def")
    assert [bytes(received.take(limit) or b"") for limit in (2, 2, 2)] == [b"ab", b"c", b"de"]


def test_a_take_waits_for_data_and_for_the_end(owner: Owner) -> None:
    received = make_queue(owner)
    taken: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        for _ in range(2):
            taken.put(received.take(10))

    reader = threading.Thread(target=read)
    reader.start()
    received.put(b"abc")
    assert taken.get(timeout=scaled(5)) == b"abc"
    received.end(3, None)
    assert taken.get(timeout=scaled(5)) == b""
    reader.join()


def test_a_take_need_not_wait(owner: Owner) -> None:
    received = make_queue(owner)
    assert received.take(10, wait=False) is None
    received.put(b"abc")
    assert received.take(10, wait=False) == b"abc"
    received.end(3, None)
    assert received.take(10, wait=False) == b""


def test_the_end_is_reached_with_the_last_byte(owner: Owner) -> None:
    received = make_queue(owner, b"abc")
    received.end(3, None)
    assert owner.told == []
    received.take(3)
    assert owner.told == [("end", 3)]


def test_the_end_is_reached_when_it_becomes_known_after_the_last_byte(owner: Owner) -> None:
    received = make_queue(owner, b"abc")
    received.take(3)
    assert owner.told == [("consumed", 3)]
    received.end(3, None)
    assert owner.told == [("consumed", 3), ("end", 3)]


def test_an_empty_stream_is_at_its_end(owner: Owner) -> None:
    received = make_queue(owner)
    received.end(0, None)
    assert owner.told == [("end", 0)]
    assert received.take(1) == b""


def test_consumption_is_told_in_steps_while_more_is_there(owner: Owner) -> None:
    received = make_queue(owner, bytes(REPORT_BYTES), bytes(REPORT_BYTES))
    received.take(REPORT_BYTES - 1)
    assert owner.told == []
    received.take(1)
    assert owner.told == [("consumed", REPORT_BYTES)]


def test_consumption_is_urgent_when_a_part_of_the_window_is_new(owner: Owner) -> None:
    received = ReceiveQueue(owner, False, FakeClock())
    for _ in range(5):
        received.put(b"abc", 6)
        received.take(3)
    assert owner.told == [("consumed", offset) for offset in (3, 6, 9, 12, 15)]
    assert owner.urgent == [False, True, False, True, False]


def test_little_consumption_is_told_after_some_time(owner: Owner) -> None:
    # Else a reader that takes little by little would look as if it did not read.
    clock = FakeClock()
    received = make_queue(owner, bytes(1000), clock=clock)
    received.take(10)
    clock.advance(REPORT_S)
    assert owner.told == []
    received.take(10)
    received.take(10)
    assert owner.told == [("consumed", 20)]
    clock.advance(REPORT_S)
    received.take(10)
    assert owner.told == [("consumed", 20), ("consumed", 40)]


def test_consumption_is_urgent_after_some_time(owner: Owner) -> None:
    # Else a slow reader's progress would wait for whatever wakes the engine next.
    clock = FakeClock()
    received = make_queue(owner, clock=clock)
    for _ in range(4):
        received.put(bytes(REPORT_BYTES), 100 * REPORT_BYTES)
    received.take(REPORT_BYTES)
    clock.advance(REPORT_S)
    received.take(REPORT_BYTES)
    received.take(REPORT_BYTES)
    clock.advance(REPORT_S)
    received.take(REPORT_BYTES)
    assert owner.urgent == [False, True, False, True]


def test_consumption_is_told_when_the_queue_runs_empty(owner: Owner) -> None:
    # Else the sender might wait for credit for ever.
    received = make_queue(owner, b"ab")
    received.take(1)
    assert owner.told == []
    received.take(1)
    assert owner.told == [("consumed", 2)]


def test_what_arrived_before_a_failure_is_readable(owner: Owner) -> None:
    received = make_queue(owner, b"abc")
    received.fail(StreamError("lost"), discard=False)
    assert received.take(10) == b"abc"
    for _ in range(2):
        with pytest.raises(StreamError, match="lost"):
            received.take(10)


def test_a_discarding_failure_is_raised_at_once(owner: Owner) -> None:
    received = make_queue(owner, b"abc")
    received.fail(StreamCancelled("gone"), discard=True)
    with pytest.raises(StreamCancelled):
        received.take(10)


def test_a_failure_wakes_a_reader_that_waits(owner: Owner) -> None:
    received = make_queue(owner)
    raised: queue.SimpleQueue[CellError] = queue.SimpleQueue()

    def read() -> None:
        try:
            received.take(10)
        except CellError as error:
            raised.put(error)

    reader = threading.Thread(target=read)
    reader.start()
    received.fail(StreamError("lost"), discard=False)
    assert str(raised.get(timeout=scaled(5))) == "lost"
    reader.join()


def test_the_first_failure_counts(owner: Owner) -> None:
    received = make_queue(owner)
    assert received.error is None
    received.fail(StreamError("first"), discard=False)
    received.fail(StreamError("second"), discard=True)
    with pytest.raises(StreamError, match="first") as caught:
        received.take(1)
    assert received.error is caught.value


def test_a_failure_after_the_end_was_reached_changes_nothing(owner: Owner) -> None:
    received = make_queue(owner, b"abc")
    received.end(3, None)
    received.take(3)
    received.fail(StreamError("late"), discard=True)
    assert received.take(3) == b""


def test_closing_tells_how_far_the_reader_came(owner: Owner) -> None:
    received = make_queue(owner, b"abcdef")
    received.take(2)
    received.close()
    received.close()
    assert owner.told == [("closed", 2)]
    with pytest.raises(ValueError, match="closed"):
        received.take(1)


def test_closing_wakes_a_reader_that_waits(owner: Owner) -> None:
    received = make_queue(owner)
    raised = threading.Event()

    def read() -> None:
        with pytest.raises(ValueError, match="closed"):
            received.take(1)
        raised.set()

    reader = threading.Thread(target=read)
    reader.start()
    received.close()
    assert raised.wait(scaled(5))
    reader.join()


def test_what_comes_after_closing_is_dropped(owner: Owner) -> None:
    received = make_queue(owner)
    received.close()
    received.put(b"abc")
    received.end(3, None)
    assert received.waiting == 0
    assert owner.told == [("closed", 0)]


@pytest.mark.parametrize(("data", "told"), [(b"abc", ("end", 3)), (b"abd", "corrupt")])
def test_the_digest_is_compared_after_closing_at_the_end(owner: Owner, data: bytes, told: Any) -> None:
    received = make_queue(owner, b"abc", hashing=True)
    received.take(3)
    received.close()
    received.end(3, Digest.of([data]))
    assert owner.told[:2] == [("consumed", 3), ("closed", 3)]
    assert owner.told[2] == told or owner.told[2][0] == told
    assert len(owner.told) == 3


def test_of_end_and_failure_the_first_counts(owner: Owner) -> None:
    error, later = StreamError("no"), StreamError("no again")
    received = make_queue(owner)
    received.end(0, None)
    assert received.fail(error, False) is None
    assert received.take(1) == b""
    received = make_queue(owner, b"a")
    assert received.fail(error, False) is error
    assert received.fail(later, False) is error
    received.take(1)
    received.end(1, None)
    with pytest.raises(StreamError) as raised:
        received.take(1)
    assert raised.value is error


class ClosingHash:
    """Is fed while no lock is held: closes the queue then, as another thread may."""

    received: ReceiveQueue

    def update(self, piece: bytes) -> None:
        self.received.close()


def test_a_piece_under_way_while_the_queue_is_closed_does_not_count(owner: Owner) -> None:
    """Its reader gets it all the same; but what the sender is told stays true."""
    prefix: Any = ClosingHash()
    prefix.received = received = ReceiveQueue(owner, True, FakeClock())
    received.start_at(1, prefix)
    received.put(b"abc")
    received.end(4, None)
    assert received.take(3) == b"abc"
    assert received.position == 1
    assert owner.told == [("closed", 1)]


@pytest.mark.parametrize("limit", [2, 100])
def test_the_right_digest_is_the_end(owner: Owner, limit: int) -> None:
    received = make_queue(owner, b"abc", b"def", hashing=True)
    received.end(6, Digest.of([b"abcdef"]))
    assert take_all(received, limit) == b"abcdef"
    assert owner.told[-1] == ("end", 6)


@pytest.mark.parametrize("right", [True, False])
def test_a_reader_that_waits_for_the_end_does_not_see_it_before_the_digest_is_compared(
    owner: Owner, right: bool
) -> None:
    for _ in range(200):
        received = make_queue(owner, b"abc", hashing=True)
        assert received.take(3) == b"abc"
        seen: list[bool | StreamIntegrityError] = []

        def read(received: ReceiveQueue = received, seen: list[bool | StreamIntegrityError] = seen) -> None:
            try:
                assert received.take(1) == b""
            except StreamIntegrityError as error:
                seen.append(error)
            else:
                seen.append(received.digest_checked)

        reader = threading.Thread(target=read)
        reader.start()
        received.end(3, Digest.of([b"abc" if right else b"abd"]))
        reader.join()
        assert seen[0] is True if right else isinstance(seen[0], StreamIntegrityError)


def test_where_a_stream_begins_counts(owner: Owner) -> None:
    received = ReceiveQueue(owner, True, FakeClock())
    below = Hasher()
    below.update(b"abc")
    received.start_at(3, below)
    received.put(b"def")
    received.end(6, Digest.of([b"abcdef"]))
    assert received.position == 3
    assert take_all(received) == b"def"
    assert received.position == 6
    assert received.digest_checked


def test_a_digest_of_which_the_beginning_is_not_known_is_not_checked(owner: Owner) -> None:
    received = ReceiveQueue(owner, True, FakeClock())
    received.start_at(3, None)
    received.put(b"def")
    received.end(6, Digest.of([b"whatever"]))
    assert take_all(received) == b"def"
    assert not received.digest_checked


def test_a_wrong_digest_fails_instead_of_the_end(owner: Owner) -> None:
    received = make_queue(owner, b"abc", hashing=True)
    received.end(3, Digest.of([b"abd"]))
    assert received.take(10) == b"abc"
    with pytest.raises(StreamIntegrityError, match="digest"):
        received.take(10)
    assert [name for name, _ in owner.told] == ["corrupt"]


def test_lines(owner: Owner) -> None:
    received = make_queue(owner, b"ab\ncd", memoryview(b"e\n\nf"))
    received.end(9, None)
    parts = [received.take_line_part(100) for _ in range(6)]
    assert parts == [b"ab\n", b"cd", b"e\n", b"\n", b"f", b""]


def test_parts_of_lines_are_limited(owner: Owner) -> None:
    received = make_queue(owner, b"abc\n")
    assert [received.take_line_part(2) for _ in range(2)] == [b"ab", b"c\n"]


def test_readiness_is_called_at_once_or_when_there_is_something(owner: Owner) -> None:
    received = make_queue(owner)
    ready: list[int] = []
    received.call_when_ready(lambda: ready.append(1))
    assert ready == []
    received.put(b"a")
    assert ready == [1]
    received.call_when_ready(lambda: ready.append(2))
    assert ready == [1, 2]
    received.put(b"b")
    assert ready == [1, 2]
