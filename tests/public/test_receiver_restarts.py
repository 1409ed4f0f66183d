"""What goes on after a restart of the receiver, and where."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamcell import (
    BytesStream,
    CellError,
    FileStream,
    IterStream,
    Message,
    ReceivedStream,
    Stream,
    StreamError,
    StreamFuture,
    StreamOutcomeUnknown,
    StreamRejected,
    StreamResumeError,
    UsageError,
    aio,
)
from streamcell.testing import FaultyNetwork
from tests.kit.cells import CHANNEL, TOPIC, Cells, Pair
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.restarting import DIGEST, READ, SIZE, SMALL, Rest, begin, make_file, restart_receiver
from tests.kit.transfers import failure_of
from tests.kit.waiting import IDLE_S, PATIENCE_S, Box, Gate, eventually, wait_for


class Seekable(Stream):
    """An application's own source, which counts from 100."""

    def __init__(self) -> None:
        super().__init__(SIZE + 100)
        self._file = io.BytesIO(bytes(100) + pattern(SIZE))
        self._file.seek(100)
        self._pos = 100

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int) -> None:
        self._file.seek(offset)


def file_stream(path: Path) -> Any:
    return FileStream(path)


def open_file(path: Path) -> Any:
    file = io.BytesIO(b"before it " + pattern(SIZE))
    file.seek(10)
    return file


SOURCES: dict[str, Callable[[Path], Any]] = {
    "FileStream": file_stream,
    "open file": open_file,
    "BytesStream": lambda _: BytesStream(pattern(SIZE)),
    "bytes": lambda _: pattern(SIZE),
    "pieces": lambda _: [pattern(SIZE)[:MIB], pattern(SIZE)[MIB:]],
    "own": lambda _: Seekable(),
}


@pytest.mark.parametrize("digest", ["", "sha256", DIGEST], ids=["no digest", "computed", "given"])
@pytest.mark.parametrize("source", SOURCES)
def test_stream_goes_on_where_the_restarted_receiver_says(
    cells: Cells, tmp_path: Path, source: str, digest: str
) -> None:
    _site, hub, future, part = begin(cells, SOURCES[source](make_file(tmp_path)), digest=digest)
    rest = Rest(READ, part.file)
    restart_receiver(cells, hub, rest)
    assert rest.calls.get() == (True, "")
    assert rest.outcomes.get() == (READ, pattern(SIZE)[READ:], bool(digest))
    assert rest.results.get() == SIZE
    assert future.result(PATIENCE_S) == SIZE
    assert future.get_progress() == SIZE


@pytest.mark.parametrize("offset", [0, 1, READ // 2, 2 * MIB, SIZE])
def test_receiver_may_have_less_or_more_than_it_has_acknowledged(cells: Cells, offset: int) -> None:
    _site, hub, future, _part = begin(cells, BytesStream(pattern(SIZE)), digest="sha256")
    rest = Rest(offset)
    restart_receiver(cells, hub, rest)
    # What nobody has shown the bytes below of cannot be checked.
    assert rest.outcomes.get() == (offset, pattern(SIZE)[offset:], offset == 0)
    assert future.result(PATIENCE_S) == SIZE


def test_progress_falls_to_what_the_restarted_receiver_has(cells: Cells, gate: Gate) -> None:
    _site, hub, future, _part = begin(cells, pattern(SIZE))

    def callback(_future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        stream.resume_from(10)
        gate.pass_through()
        stream.readall()

    restart_receiver(cells, hub, callback)
    eventually(lambda: 10 <= future.get_progress() <= 10 + 256 * KIB)
    gate.open()
    assert future.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("returned", [READ, 0, None])
def test_offset_that_the_callback_returns_counts_for_a_thread_of_its_own(cells: Cells, returned: Any) -> None:
    _site, hub, future, _part = begin(cells, BytesStream(pattern(SIZE)))
    offset = returned or 0
    read = Box[tuple[int, bytes]]()
    reading = threading.Event()

    def read_on(stream: ReceivedStream) -> None:
        reading.set()
        data = stream.readall()
        read.put((stream.get_pos(), data))

    def callback(_future: StreamFuture, stream: ReceivedStream, resume: bool) -> Any:
        assert resume
        threading.Thread(target=read_on, args=(stream,)).start()
        wait_for(reading)
        return returned

    restart_receiver(cells, hub, callback)
    assert read.get() == (SIZE, pattern(SIZE)[offset:])
    assert future.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("returned", [-5, 10**30, True, "nothing"])
def test_what_the_callback_returns_is_an_offset_or_the_stream_is_rejected(
    cells: Cells, returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _site, hub, future, _part = begin(cells, BytesStream(pattern(SIZE)))
    reader = Box[ReceivedStream]()

    def callback(_future: StreamFuture, stream: ReceivedStream, resume: bool) -> Any:
        reader.put(stream)
        return returned

    again = restart_receiver(cells, hub, callback)
    error = failure_of(future)
    assert isinstance(error, StreamRejected)
    assert "the offset that it returns must be a whole number from 0" in str(error)
    with pytest.raises(StreamRejected):
        reader.get().readall()
    eventually(lambda: "the offset that it returns" in caplog.text)
    assert again.stats().callbacks_failed == 1


@pytest.mark.parametrize("way", ["read", "readinto", "readline", "pieces"])
def test_reading_first_in_the_callback_means_0(cells: Cells, way: str) -> None:
    _site, hub, future, _part = begin(cells, BytesStream(pattern(SIZE)))
    read = Box[bytes]()
    late = Box[StreamResumeError]()

    def first(stream: ReceivedStream) -> bytes:
        if way == "readinto":
            buffer = bytearray(1)
            stream.readinto(buffer)
            return bytes(buffer)
        if way == "pieces":
            return bytes(next(stream.pieces()))
        return stream.read(1) if way == "read" else stream.readline(1)

    def callback(_future: StreamFuture, stream: ReceivedStream, resume: bool) -> int:
        data = first(stream)
        with pytest.raises(StreamResumeError) as raised:
            stream.resume_from(READ)
        late.put(raised.value)
        read.put(data + stream.readall())
        return READ

    restart_receiver(cells, hub, callback)
    assert read.get() == pattern(SIZE)
    assert "told before to go on at 0" in str(late.get())
    assert future.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("digest", ["", "sha256"])
def test_receiver_with_other_bytes_reads_from_0(cells: Cells, tmp_path: Path, source: str, digest: str) -> None:
    _site, hub, future, _part = begin(cells, SOURCES[source](make_file(tmp_path)), digest=digest)
    rest = Rest(READ, io.BytesIO(bytes(READ)))
    restart_receiver(cells, hub, rest)
    assert "differs" in str(rest.refused.get())
    assert rest.outcomes.get() == (0, pattern(SIZE), bool(digest))
    assert future.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("unknown", [False, True])
def test_receiver_that_wants_more_than_there_is_reads_from_0(cells: Cells, unknown: bool) -> None:
    source = BytesStream(pattern(SIZE))
    if unknown:
        source.get_size = lambda: 0  # type: ignore[method-assign]
    _site, hub, future, _part = begin(cells, source)
    rest = Rest(SIZE + 1)
    restart_receiver(cells, hub, rest)
    rest.refused.get()
    assert rest.outcomes.get() == (0, pattern(SIZE), False)
    assert future.result(PATIENCE_S) == SIZE


def test_wrong_argument_of_resume_from_changes_nothing(cells: Cells) -> None:
    _site, hub, future, part = begin(cells, BytesStream(pattern(SIZE)))
    raised = Box[CellError]()
    outcomes = Box[bytes]()

    def callback(_future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for offset, have in ((-1, None), (10**30, None), (READ + 1, part.file)):
            with pytest.raises(CellError) as caught:
                stream.resume_from(offset, have)
            raised.put(caught.value)
        stream.resume_from(READ, part.file)
        assert part.file.tell() == READ
        outcomes.put(stream.readall())

    restart_receiver(cells, hub, callback)
    assert "whole number from 0" in str(raised.get())
    assert "whole number from 0" in str(raised.get())
    assert "only" in str(raised.get())
    assert outcomes.get() == pattern(SIZE)[READ:]
    assert future.result(PATIENCE_S) == SIZE


def test_source_that_cannot_go_back_fails_both_sides_with_a_clear_error(cells: Cells) -> None:
    pieces = (pattern(SIZE)[at : at + 64 * KIB] for at in range(0, SIZE, 64 * KIB))
    _site, hub, future, _part = begin(cells, IterStream(pieces, SIZE))
    failed = Box[tuple[StreamError, StreamError]]()

    def callback(received: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        with pytest.raises(StreamError) as raised:
            stream.resume_from(10)
        failed.put((raised.value, received.exception(PATIENCE_S)))  # type: ignore[arg-type]

    restart_receiver(cells, hub, callback)
    errors = (failure_of(future), *failed.get())
    assert all(isinstance(error, StreamResumeError) for error in errors), errors
    assert "IterStream cannot seek" in str(errors[0])


def test_source_that_cannot_seek_is_read_on_to_where_it_is_needed(cells: Cells) -> None:
    pieces = (pattern(SIZE)[at : at + 64 * KIB] for at in range(0, SIZE, 64 * KIB))
    _site, hub, future, _part = begin(cells, IterStream(pieces), digest="sha256")
    rest = Rest(SIZE - 1)
    restart_receiver(cells, hub, rest)
    assert rest.outcomes.get() == (SIZE - 1, pattern(SIZE)[-1:], False)
    assert future.result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("blob", [False, True])
def test_stream_waits_for_its_callback_to_be_registered_after_the_restart(cells: Cells, blob: bool) -> None:
    site, hub, future, _part = begin(cells, BytesStream(pattern(SIZE)))
    again = restart_receiver(cells, hub, None)
    eventually(lambda: any(send.state == "awaiting_offset" for send in site.stats().protocol.sends))
    again.meet(site)
    assert not future.done()
    got = Box[bytes]()
    if blob:
        again.on_blob(lambda received: got.put(bytes(received.result())))
    else:
        again.on_stream(lambda _future, stream, resume: got.put(stream.readall()))
    assert got.get() == pattern(SIZE)
    assert future.result(PATIENCE_S) == SIZE


def test_stream_that_waits_for_its_callback_gives_up_after_idle_timeout(cells: Cells) -> None:
    _site, hub, future, _part = begin(cells, BytesStream(pattern(SIZE)), idle_timeout=IDLE_S)
    restart_receiver(cells, hub, None)
    error = failure_of(future)
    assert isinstance(error, StreamRejected)
    assert error.code.name == "NO_CALLBACK"


def test_new_stream_without_callback_does_not_wait(pair: Pair) -> None:
    site, hub = pair
    assert isinstance(failure_of(site.send_stream(hub, b"data", resume_id="name")), StreamRejected)


def test_blob_whose_end_was_not_sent_is_sent_again_and_one_whose_end_was_is_unknown(cells: Cells, gate: Gate) -> None:
    site, hub = cells.pair(sender=SMALL, receiver=SMALL)
    # A callback thread that is busy keeps blobs from being confirmed; into= one from being received.
    hub.on_blob(lambda _future: None, topic="begun", into=lambda size, _headers: gate.pass_through())
    hub.on_blob(lambda _future: None, topic="sent", into=lambda size, _headers: gate.pass_through())
    begun = site.send_blob(hub, pattern(SIZE), topic="begun")
    sent = site.send_blob(hub, b"small", topic="sent")
    retried = site.send_blob(hub, b"small", topic="sent", retry_unknown=True)
    eventually(lambda: all(send.received for send in site.stats().protocol.sends))
    cells.kill(hub)
    again = cells.make("server", listen=hub.listen_urls[0], config=SMALL)
    got = Box[bytes]()
    again.on_blob(lambda future: got.put(bytes(future.result())), topic="*")
    again.start()
    assert isinstance(failure_of(sent), StreamOutcomeUnknown)
    assert begun.result(PATIENCE_S) == SIZE
    assert retried.result(PATIENCE_S) == 5
    assert sorted([got.get(), got.get()], key=len) == [b"small", pattern(SIZE)]
    assert got.is_empty()


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_request_whose_target_has_ended_does_not_wait_for_its_timeout(cells: Cells, gate: Gate, way: str) -> None:
    site, hub = cells.pair()
    called = threading.Event()

    def callback(_request: Message) -> None:
        called.set()
        gate.pass_through()

    hub.on_request(callback)
    errors = Box[CellError]()

    def ask() -> None:
        with pytest.raises(CellError) as raised:
            site.request(hub, b"question", timeout=1000)
        errors.put(raised.value)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(called)
    eventually(lambda: not site.stats().protocol.sends)
    if way == "killed":
        cells.kill(hub)
        cells.make("server", listen=hub.listen_urls[0]).start()
    else:
        hub.stop(grace=0)
    assert isinstance(errors.get(), StreamOutcomeUnknown)
    asking.join()


# The same for asyncio.


@pytest.mark.parametrize("way", ["resume_from", "have", "other bytes", "return", "read", "negative"])
def test_coroutine_callback_chooses_as_others_do(cells: Cells, network: FaultyNetwork, way: str) -> None:
    _site, hub, future, part = begin(cells, BytesStream(pattern(SIZE)), digest="sha256")
    url = hub.listen_urls[0]
    cells.kill(hub)
    outcomes = Box[tuple[bool, int, bytes, bool]]()
    begun: list[asyncio.Task[None]] = []

    async def read_rest(stream: aio.ReceivedStream, resume: bool) -> None:
        data = await stream.read()
        outcomes.put((resume, stream.get_pos() - len(data), data, stream.digest_checked))

    async def callback(_future: aio.StreamFuture, stream: aio.ReceivedStream, resume: bool) -> int | None:
        if way == "resume_from":
            await stream.resume_from(READ)
        elif way == "have":
            await stream.resume_from(READ, part.file)
        elif way == "other bytes":
            with pytest.raises(StreamResumeError):
                await stream.resume_from(READ, io.BytesIO(bytes(READ)))
        elif way == "negative":
            with pytest.raises(UsageError):
                await stream.resume_from(-1)
        elif way == "return":
            begun.append(asyncio.create_task(read_rest(stream, resume)))
            # It comes to its read, which waits.
            await asyncio.sleep(0)
            return READ
        await read_rest(stream, resume)
        return None

    async def receive() -> None:
        cell = aio.CoreCell("server", listen=url, config=SMALL, network=network)
        streams = aio.StreamCell(cell)
        streams.register_stream_cb(CHANNEL, TOPIC, callback)
        async with cell:
            await asyncio.wait_for(asyncio.wrap_future(future), PATIENCE_S)
            await asyncio.gather(*begun)

    asyncio.run(receive())
    offset = READ if way in ("resume_from", "have", "return") else 0
    checked = way not in ("resume_from", "return")
    assert outcomes.get() == (True, offset, pattern(SIZE)[offset:], checked)
