import hashlib
import io
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import CellError, ErrorCode, StreamError, StreamUsageError
from streamcell.runtime.sources import SourceReader
from streamcell.runtime.trace import stream_log
from streamcell.runtime.workers import WorkerPool
from tests.timing import scaled

CHUNK = 4


class Source:
    """Gives what a function gives, and counts how often it was closed and by whom."""

    def __init__(self, read: Callable[[int], Any]) -> None:
        self.read = read
        self.closed: queue.SimpleQueue[str] = queue.SimpleQueue()

    def get_pos(self) -> int:
        return 0

    def seek(self, offset: int) -> None:
        raise io.UnsupportedOperation("this source cannot")

    def close(self) -> None:
        self.closed.put(threading.current_thread().name)


class Owner:
    """Hands on what the reader tells."""

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def on_piece(self, piece: bytes) -> None:
        self.told.put(("piece", piece))

    def on_end(self, digest: str) -> None:
        self.told.put(("end", digest))

    def on_source_moved(self, offset: int) -> None:
        self.told.put(("moved", offset))

    def on_source_stuck(self, error: CellError) -> None:
        self.told.put(("stuck", error))

    def on_source_failed(self, error: CellError) -> None:
        self.told.put(("failed", error))

    def next(self) -> tuple[str, Any]:
        return self.told.get(timeout=scaled(5))


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool("source", 4)
    yield pool
    pool.close()


@pytest.fixture
def owner() -> Owner:
    return Owner()


def read_source(
    source: Source, owner: Owner, pool: WorkerPool, *, hashing: bool = False, size: int | None = None
) -> SourceReader:
    return SourceReader(
        source,
        owner,
        pool,
        name="the source",
        size=size,
        chunk_bytes=CHUNK,
        hashing=hashing,
        failure_level=logging.DEBUG,
        log=stream_log("site-1"),
    )


def test_nothing_is_read_before_it_is_wanted(owner: Owner, pool: WorkerPool) -> None:
    read_source(Source(io.BytesIO(b"abc").read), owner, pool)
    assert pool.stats().threads == 0


def test_it_reads_in_chunks_up_to_what_is_wanted_and_goes_on_later(owner: Owner, pool: WorkerPool) -> None:
    asked: list[int] = []
    data = io.BytesIO(b"0123456789")

    def read(size: int) -> bytes:
        asked.append(size)
        return data.read(size)

    reader = read_source(Source(read), owner, pool)
    reader.want(6)
    assert [owner.next() for _ in range(2)] == [("piece", b"0123"), ("piece", b"45")]
    assert asked == [4, 2]
    reader.want(100)
    assert [owner.next() for _ in range(2)] == [("piece", b"6789"), ("end", "")]


def test_each_piece_is_handed_on_at_once(owner: Owner, pool: WorkerPool) -> None:
    feed: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    reader = read_source(Source(lambda _: feed.get(timeout=scaled(5))), owner, pool)
    reader.want(100)
    for piece in (b"a", b"b", b""):
        feed.put(piece)
        assert owner.next() == (("piece", piece) if piece else ("end", ""))


def test_a_source_may_reuse_its_buffer(owner: Owner, pool: WorkerPool) -> None:
    buffer = bytearray(2)
    count = 0

    def read(_: int) -> memoryview:
        nonlocal count
        count += 1
        buffer[:] = bytes([count, count])
        return memoryview(buffer) if count < 4 else memoryview(b"")

    read_source(Source(read), owner, pool).want(100)
    assert [owner.next()[1] for _ in range(3)] == [b"\1\1", b"\2\2", b"\3\3"]


def test_a_digest_is_computed_when_asked_for(owner: Owner, pool: WorkerPool) -> None:
    reader = read_source(Source(io.BytesIO(b"0123456789").read), owner, pool, hashing=True)
    reader.want(100)
    told = [owner.next() for _ in range(4)]
    assert told[-1] == ("end", f"sha256:{hashlib.sha256(b'0123456789').hexdigest()}")


def test_what_a_read_raises_fails_the_source_with_its_text(owner: Owner, pool: WorkerPool) -> None:
    def read(_: int) -> bytes:
        raise OSError("the disk\nis gone")

    read_source(Source(read), owner, pool).want(1)
    kind, error = owner.next()
    assert kind == "failed"
    assert isinstance(error, StreamError)
    assert (error.code, str(error)) == (ErrorCode.SOURCE, "the source raised OSError: the disk is gone")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [(b"12345", r"returned 5 bytes from read\(4\)"), ("text", "returned a str"), (None, "returned a NoneType")],
)
def test_a_source_that_breaks_the_rules_fails(owner: Owner, pool: WorkerPool, given: Any, sentence: str) -> None:
    read_source(Source(lambda _: given), owner, pool).want(100)
    kind, error = owner.next()
    assert kind == "failed"
    with pytest.raises(StreamUsageError, match=sentence):
        raise error


def test_stopping_closes_once_in_a_thread_of_the_pool(owner: Owner, pool: WorkerPool) -> None:
    source = Source(io.BytesIO(b"abc").read)
    reader = read_source(source, owner, pool)
    reader.stop()
    reader.stop()
    assert source.closed.get(timeout=scaled(5)) == "source"
    reader.want(100)
    # Jobs of one pool with one busy thread would run in order: this one comes after anything that stop() has begun.
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(scaled(5))
    assert source.closed.empty()


def test_stopping_waits_for_a_read_that_runs(owner: Owner, pool: WorkerPool) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def read(_: int) -> bytes:
        entered.set()
        go_on.wait(scaled(5))
        return b"late"

    source = Source(read)
    reader = read_source(source, owner, pool)
    reader.want(100)
    assert entered.wait(scaled(5))
    reader.stop()
    assert source.closed.empty()
    go_on.set()
    assert source.closed.get(timeout=scaled(5)) == "source"
    assert owner.told.empty()


@pytest.mark.parametrize("data", [b"", b"abc"])
def test_stopping_after_the_end_closes(owner: Owner, pool: WorkerPool, data: bytes) -> None:
    source = Source(io.BytesIO(data).read)
    reader = read_source(source, owner, pool)
    reader.want(100)
    while owner.next()[0] != "end":
        pass
    assert source.closed.empty()
    reader.stop()
    assert source.closed.get(timeout=scaled(5)) == "source"


def test_a_close_that_raises_is_logged(owner: Owner, pool: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    closed = threading.Event()

    class Failing(Source):
        def close(self) -> None:
            closed.set()
            raise OSError("cannot close")

    caplog.set_level(logging.DEBUG)
    read_source(Failing(io.BytesIO(b"").read), owner, pool).stop()
    assert closed.wait(scaled(5))
    done = threading.Event()
    pool.close()
    pool.submit(done.set)
    assert done.wait(scaled(5))
