"""What may be sent as a stream, how it is read, and that a source is closed exactly once."""

from __future__ import annotations

import array
import functools
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamcell import (
    BytesStream,
    CellConfig,
    FileStream,
    IterStream,
    Message,
    ReceivedStream,
    StreamCell,
    StreamError,
    StreamFuture,
    StreamUsageError,
)
from tests.kit.cells import Carrier, Pair, connected_pair
from tests.kit.payloads import Recorded, pattern
from tests.kit.transfers import Arrived, send
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

MIB = 1 << 20
DATA = pattern(2 * MIB + 54_321)


# --- kinds of sources


@pytest.mark.parametrize(
    "make",
    [
        lambda: BytesStream(DATA),
        lambda: BytesStream(bytearray(DATA)),
        lambda: BytesStream(memoryview(DATA)),
        lambda: IterStream([DATA[:7], b"", DATA[7:MIB], DATA[MIB:]]),
        lambda: IterStream((memoryview(DATA)[at : at + 999] for at in range(0, len(DATA), 999)), size=len(DATA)),
        lambda: Recorded(
            [DATA[:MIB], bytearray(DATA[MIB : MIB + 9]), memoryview(DATA)[MIB + 9 : MIB + 99], DATA[MIB + 99 :]]
        ),
        lambda: (DATA[at : at + MIB] for at in range(0, len(DATA), MIB)),
        lambda: iter([DATA]),
        lambda: io.BytesIO(DATA),
        lambda: DATA,
        lambda: [DATA[:5], bytearray(DATA[5:])],
        lambda: np.frombuffer(DATA, np.uint8),
    ],
    ids=[
        "BytesStream",
        "of a bytearray",
        "of a view",
        "IterStream",
        "of a generator",
        "Stream",
        "generator",
        "iterator",
        "file",
        "bytes",
        "list",
        "array",
    ],
)
def test_all_bytes_of_every_kind_of_source(pair: Pair, received: Box[Arrived], make: Callable[[], Any]) -> None:
    assert send(pair, make()).result(PATIENCE_S) == len(DATA)
    assert received.get()[0] == DATA


@pytest.mark.parametrize(
    "payload",
    [array.array("d", range(1000)), np.arange(5000, dtype="<i4").reshape(50, 100).T, [b"", b""], ()],
    ids=["doubles", "a transposed matrix", "empty parts", "no parts"],
)
def test_buffers_of_any_shape(pair: Pair, received: Box[Arrived], payload: Any) -> None:
    expected = b"".join(payload) if isinstance(payload, list | tuple) else memoryview(payload).tobytes()
    assert send(pair, payload).result(PATIENCE_S) == len(expected)
    assert received.get() == (expected, {}, len(expected))


@pytest.mark.parametrize("payload", ["text", {"a": b"dict"}, 3, object(), None, io.StringIO("text")])
def test_what_is_no_source(pair: Pair, payload: Any) -> None:
    with pytest.raises(
        StreamUsageError, match="text file" if isinstance(payload, io.StringIO) else type(payload).__name__
    ):
        send(pair, payload)


@pytest.mark.parametrize("size", [-5, 2**63, 10**30, "7", 1.5, None])
def test_a_source_whose_size_is_none(pair: Pair, size: Any) -> None:
    source = Recorded([b"data"])
    source.get_size = lambda: size  # type: ignore[method-assign]
    with pytest.raises(StreamUsageError, match=r"Recorded: get_size\(\) must be a whole number"):
        send(pair, source)
    with pytest.raises(StreamUsageError, match=r"IterStream: get_size\(\) must be a whole number"):
        send(pair, IterStream([b"data"], size=size))


def test_headers_of_the_source_and_of_the_message(pair: Pair, received: Box[Arrived], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    for source in (
        Recorded([DATA], headers={"a": "source", "b": "source"}),
        BytesStream(DATA, {"a": "source", "b": "source"}),
        IterStream([DATA], headers={"a": "source", "b": "source"}),
        FileStream(path, {"a": "source", "b": "source"}),
    ):
        future = send(pair, source, {"b": "message"})
        assert future.get_headers() == received.get()[1] == {"a": "source", "b": "message"}
        future.result(PATIENCE_S)


# --- files


def test_file_stream(pair: Pair, received: Box[Arrived], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    for name in (path, str(path)):
        source = FileStream(name)
        assert (source.get_size(), source.get_pos()) == (len(DATA), 0)
        assert send(pair, source).result(PATIENCE_S) == len(DATA)
        assert received.get() == (DATA, {}, len(DATA))
        eventually(functools.partial(is_closed, source))
    with pytest.raises(OSError, match="missing"):
        FileStream(tmp_path / "missing")


def is_closed(source: FileStream) -> bool:
    try:
        source.read(1)
    except (ValueError, OSError):
        return True
    return False


def test_sources_can_be_sent_from_the_middle(pair: Pair, received: Box[Arrived], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    for source in (FileStream(path), BytesStream(DATA)):
        source.seek(1000)
        assert (source.get_pos(), source.get_size()) == (1000, len(DATA))
        assert send(pair, source).result(PATIENCE_S) == len(DATA) - 1000
        assert received.get() == (DATA[1000:], {}, len(DATA) - 1000)
    with pytest.raises(io.UnsupportedOperation):
        IterStream([]).seek(1)


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_is_read_from_where_it_stands_and_left_open(
    pair: Pair, received: Box[Arrived], tmp_path: Path, buffering: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with path.open("rb", buffering) as file:
        file.read(100)
        assert send(pair, file).result(PATIENCE_S) == len(DATA) - 100
        assert received.get() == (DATA[100:], {}, len(DATA) - 100)
        assert not file.closed
        assert file.tell() == len(DATA)


def test_a_file_is_left_open_when_the_transfer_fails(pair: Pair) -> None:
    file = io.BytesIO(DATA)
    future = pair.at_site.send_stream("c", "nobody", "server", Message({}, file))
    assert isinstance(future.exception(PATIENCE_S), StreamError)
    assert not file.closed


def test_a_pipe_has_no_size(pair: Pair, received: Box[Arrived]) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb") as sink:
        future = send(pair, source)
        assert future.get_size() == 0
        sink.write(DATA)
        sink.close()
        assert future.result(PATIENCE_S) == len(DATA)
    assert received.get() == (DATA, {}, 0)


def test_a_text_file_is_refused(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with path.open() as file, pytest.raises(StreamUsageError, match="binary"):
        send(pair, file)


# --- how a source is read


def test_read_is_asked_for_no_more_than_a_chunk(carrier: Carrier) -> None:
    with connected_pair(carrier, config=CellConfig(chunk_bytes=5000)) as pair:
        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
        assert StreamCell(pair.site).get_chunk_size() == 5000
        source = Recorded([DATA[at : at + 1000] for at in range(0, 100_000, 1000)])
        assert send(pair, source).result(PATIENCE_S) == 100_000
        assert 1 <= min(source.asked) <= max(source.asked) <= 5000
        assert threading.current_thread() not in source.threads


def test_each_piece_is_delivered_as_it_comes(pair: Pair) -> None:
    arrived: Box[bytes] = Box()
    pieces: Box[bytes] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for piece in stream.pieces():
            arrived.put(bytes(piece))

    pair.at_server.register_stream_cb("c", "t", read)
    future = send(pair, IterStream(iter(pieces.get, b"")))
    for number in range(20):
        # The next piece is made only after this one has arrived.
        pieces.put(b"piece %d" % number)
        assert arrived.get() == b"piece %d" % number
    pieces.put(b"")
    future.result(PATIENCE_S)


def test_a_source_may_reuse_its_buffer(pair: Pair, received: Box[Arrived]) -> None:
    def refill() -> Iterator[memoryview]:
        buffer = bytearray(50_000)
        for number in range(60):
            buffer[:] = bytes([number]) * len(buffer)
            yield memoryview(buffer)

    assert send(pair, IterStream(refill())).result(PATIENCE_S) == 3_000_000
    assert received.get()[0] == b"".join(bytes([number]) * 50_000 for number in range(60))


def test_a_source_is_not_read_far_ahead_of_its_reader(carrier: Carrier) -> None:
    config = CellConfig(max_window_bytes=MIB, read_ahead_bytes=MIB)
    with connected_pair(carrier, config=config) as pair, Gate() as gate:
        given = itertools.count()

        def source() -> Iterator[bytes]:
            for number in given:
                yield number.to_bytes(4, "big") * 16_384

        def read_nothing(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            gate.pass_through()

        pair.at_server.register_stream_cb("c", "t", read_nothing)
        future = send(pair, IterStream(source()))
        gate.wait_arrived()
        eventually(lambda: pair.site.stats().protocol.sends[0].received > 0)
        # A request there and back: whatever was to be sent at once is sent.
        pair.server.register_request_cb("c", "r", lambda request: None)
        pair.site.send_request("c", "r", "server", Message(), PATIENCE_S)
        assert next(given) * 65_536 <= 4 * MIB
        future.cancel()


def test_all_options_are_accepted(pair: Pair) -> None:
    ids: Box[str] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        ids.put(stream.resume_id)
        assert stream.read(-1) == DATA

    pair.at_server.register_stream_cb("c", "t", read)
    for send_either in (pair.at_site.send_stream, pair.at_site.send_blob):
        future = send_either(
            "c",
            "t",
            "server",
            Message({}, DATA),
            False,
            True,
            resume_id="model-7",
            idle_timeout=0,
            unreachable_timeout=30,
            digest="sha256",
            retry_unknown=True,
            reliable=False,
        )
        assert future.result(PATIENCE_S) == len(DATA)
        assert ids.get() == "model-7"
