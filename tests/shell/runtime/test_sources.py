import io
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import (
    CellError,
    ErrorCode,
    StreamError,
    StreamIntegrityError,
    StreamResumeError,
    StreamUsageError,
)
from streamcell.digest import Digest
from streamcell.runtime.sending.sources import SourceReader
from streamcell.runtime.threads.trace import stream_log
from streamcell.runtime.threads.workers import WorkerPool
from tests.kit.timing import scaled
from tests.shell.runtime.starters import STARTER

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

    def on_end(self, digest: Digest | None) -> None:
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
    pool = WorkerPool("source", 4, STARTER)
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
    assert [owner.next() for _ in range(2)] == [("piece", b"6789"), ("end", None)]


def test_each_piece_is_handed_on_at_once(owner: Owner, pool: WorkerPool) -> None:
    feed: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    reader = read_source(Source(lambda _: feed.get(timeout=scaled(5))), owner, pool)
    reader.want(100)
    for piece in (b"a", b"b", b""):
        feed.put(piece)
        assert owner.next() == (("piece", piece) if piece else ("end", None))


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
    assert told[-1] == ("end", Digest.of([b"0123456789"]))


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


class Seekable(Source):
    """Ten digits that can be read from anywhere, in a count that begins at 100."""

    def __init__(self, data: bytes = b"0123456789") -> None:
        self.file = io.BytesIO(data)
        self.seeks: list[int] = []
        super().__init__(self.file.read)

    def get_pos(self) -> int:
        return 100

    def seek(self, offset: int) -> None:
        self.seeks.append(offset - 100)
        self.file.seek(offset - 100)


def told(owner: Owner, count: int) -> list[tuple[str, Any]]:
    return [owner.next() for _ in range(count)]


def sha256(data: bytes) -> Digest:
    return Digest.of([data])


READ_ALL = [("piece", b"0123"), ("piece", b"4567"), ("piece", b"89")]


def test_it_goes_where_it_is_told_and_reads_on(owner: Owner, pool: WorkerPool) -> None:
    source = Seekable()
    reader = read_source(source, owner, pool, size=10)
    reader.want(100)
    assert told(owner, 4) == [*READ_ALL, ("end", None)]
    reader.seek(7, None)
    assert owner.next() == ("moved", 7)
    reader.want(100)
    assert told(owner, 2) == [("piece", b"789"), ("end", None)]
    reader.seek(10, None)
    assert owner.next() == ("moved", 10)
    assert source.seeks == [7]
    reader.stop()
    reader.seek(0, None)
    assert source.closed.get(timeout=scaled(5))
    assert owner.told.empty()


@pytest.mark.parametrize("forward", [3, 7])
def test_the_digest_is_that_of_the_whole_whatever_is_passed_over(owner: Owner, pool: WorkerPool, forward: int) -> None:
    reader = read_source(Seekable(), owner, pool, hashing=True, size=10)
    reader.want(5)
    assert told(owner, 2) == [("piece", b"0123"), ("piece", b"4")]
    for offset in (forward, 1):
        reader.seek(offset, None)
        assert owner.next() == ("moved", offset)
    reader.want(100)
    assert told(owner, 4)[-1] == ("end", sha256(b"0123456789"))


@pytest.mark.parametrize("size", [None, 10])
def test_beyond_its_end_it_goes_back_to_the_start(owner: Owner, pool: WorkerPool, size: int | None) -> None:
    """A source of known size is not asked to go there: the core knows better."""
    reader = read_source(Seekable(), owner, pool, hashing=size is not None, size=size)
    reader.seek(11, None)
    assert owner.next() == ("moved", 0)
    reader.want(100)
    assert told(owner, 3) == READ_ALL


@pytest.mark.parametrize(("prefix", "lands"), [(b"01234", 5), (b"x1234", 0)])
def test_what_lies_below_is_compared(owner: Owner, pool: WorkerPool, prefix: bytes, lands: int) -> None:
    reader = read_source(Seekable(), owner, pool, hashing=True)
    reader.want(9)
    told(owner, 3)
    reader.seek(5, sha256(prefix))
    assert owner.next() == ("moved", lands)
    reader.want(100)
    pieces = told(owner, 3 if lands else 4)
    assert b"".join(piece for kind, piece in pieces if kind == "piece") == b"0123456789"[lands:]
    assert pieces[-1] == ("end", sha256(b"0123456789"))


def test_what_cannot_seek_is_read_on_but_does_not_go_back(owner: Owner, pool: WorkerPool) -> None:
    reader = read_source(Source(io.BytesIO(b"0123456789").read), owner, pool, size=10)
    reader.want(2)
    assert owner.next() == ("piece", b"01")
    reader.seek(6, None)
    assert owner.next() == ("moved", 6)
    reader.seek(6, sha256(b"012345"))
    kind, error = owner.next()
    assert kind == "stuck"
    assert isinstance(error, StreamResumeError)
    assert "from 6 to 0" in str(error)
    assert "this source cannot" in str(error)


def test_what_it_raises_on_the_way_is_told(owner: Owner, pool: WorkerPool) -> None:
    data = io.BytesIO(b"0123")

    def read(size: int) -> bytes:
        piece = data.read(size)
        if not piece:
            raise OSError("the disk is gone")
        return piece

    reader = read_source(Source(read), owner, pool)
    reader.seek(6, None)
    kind, error = owner.next()
    assert kind == "stuck"
    assert "the disk is gone" in str(error)


def test_a_source_that_has_changed_says_so(owner: Owner, pool: WorkerPool) -> None:
    class Changed(Seekable):
        def seek(self, offset: int) -> None:
            raise StreamIntegrityError("it has changed")

    reader = read_source(Changed(), owner, pool, size=10)
    reader.seek(6, None)
    kind, error = owner.next()
    assert kind == "stuck"
    assert isinstance(error, StreamIntegrityError)


def test_what_is_read_while_it_is_told_to_go_elsewhere_is_dropped(owner: Owner, pool: WorkerPool) -> None:
    entered, go_on = threading.Event(), threading.Event()
    file = io.BytesIO(b"0123456789")

    class Slow(Seekable):
        def __init__(self) -> None:
            super().__init__()
            self.read = self.slow_read

        def slow_read(self, size: int) -> bytes:
            entered.set()
            go_on.wait(scaled(5))
            return file.read(size)

        def seek(self, offset: int) -> None:
            file.seek(offset - 100)

    reader = read_source(Slow(), owner, pool, size=10)
    reader.want(100)
    assert entered.wait(scaled(5))
    reader.seek(8, None)
    go_on.set()
    assert owner.next() == ("moved", 8)
    reader.want(100)
    assert told(owner, 2) == [("piece", b"89"), ("end", None)]


def test_stopping_while_it_moves_tells_nothing(owner: Owner, pool: WorkerPool) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Seekable):
        def seek(self, offset: int) -> None:
            entered.set()
            go_on.wait(scaled(5))

    source = Slow()
    reader = read_source(source, owner, pool, size=10)
    reader.seek(8, None)
    assert entered.wait(scaled(5))
    reader.stop()
    go_on.set()
    assert source.closed.get(timeout=scaled(5))
    assert owner.told.empty()
