"""Blobs: what arrives, where it is received into, digests, and who owns the bytes."""

from __future__ import annotations

import gc
import hashlib
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamcell import (
    CellConfig,
    HeaderValue,
    IterStream,
    Message,
    ReceivedStream,
    StreamError,
    StreamFuture,
    StreamIntegrityError,
    StreamRejected,
)
from streamcell.testing import FaultyNetwork
from tests.kit.cells import Carrier, Pair, connected_pair
from tests.kit.payloads import MIB, pattern
from tests.kit.waiting import PATIENCE_S, Box, eventually

DATA = pattern(5 * MIB + 321)


SHA256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


WRONG_SHA256 = f"sha256:{'0' * 64}"


@pytest.fixture
def blobs(pair: Pair) -> Box[StreamFuture]:
    """The futures of what arrives as blobs at the server on c/t."""
    box: Box[StreamFuture] = Box()
    pair.at_server.register_blob_cb("c", "t", box.put)
    return box


def send(pair: Pair, payload: Any, **more: Any) -> StreamFuture:
    return pair.at_site.send_blob("c", "t", "server", Message({}, payload), **more)


def can_be_resized(payload: bytearray) -> bool:
    try:
        payload.append(1)
    except BufferError:
        return False
    return True


def test_the_view_is_valid_as_long_as_it_is_held(pair: Pair, blobs: Box[StreamFuture]) -> None:
    views = []
    for number in range(4):
        send(pair, bytes([number]) * 5_000_000).result(PATIENCE_S)
        views.append(blobs.get().result()[number:])
    gc.collect()
    pair.server.stop()
    for number, view in enumerate(views):
        assert view == bytes([number]) * (5_000_000 - number)


# --- into=
@pytest.mark.parametrize("size", [0, 100, 5 * MIB])
@pytest.mark.parametrize(
    "make",
    [bytearray, lambda size: np.zeros(size, np.uint8), lambda size: memoryview(bytearray(size))],
    ids=["bytearray", "numpy", "view"],
)
def test_received_into_a_buffer_of_the_application(pair: Pair, size: int, make: Callable[[int], Any]) -> None:
    asked: Box[tuple[int | None, dict[str, HeaderValue]]] = Box()
    buffers: Box[Any] = Box()
    results: Box[tuple[Any, tuple[Any, ...], dict[str, Any]]] = Box()

    def into(size: int | None, headers: dict[str, HeaderValue]) -> Any:
        asked.put((size, headers))
        buffer = make((size or 0) + 10)
        buffers.put(buffer)
        return buffer

    def blob_cb(future: StreamFuture, *args: Any, **kwargs: Any) -> None:
        results.put((future.result(), args, kwargs))

    pair.at_server.register_blob_cb("c", "t", blob_cb, 1, 2, into=into, more=3)
    message = Message({"shape": "flat"}, DATA[:size])
    assert pair.at_site.send_blob("c", "t", "server", message).result(PATIENCE_S) == size
    result, args, kwargs = results.get()
    assert asked.get() == (size, {"shape": "flat"})
    assert (args, kwargs) == ((1, 2), {"more": 3})
    assert result is buffers.get()
    assert bytes(result[:size]) == DATA[:size]
    assert bytes(result[size:]) == bytes(10)


def test_received_into_anonymous_memory(pair: Pair) -> None:
    results: Box[bytes] = Box()
    with mmap.mmap(-1, len(DATA)) as memory:
        pair.at_server.register_blob_cb("c", "t", lambda future: results.put(b""), into=lambda size, headers: memory)
        assert send(pair, DATA).result(PATIENCE_S) == len(DATA)
        results.get()
        assert memory[:] == DATA


def test_into_of_unknown_size(pair: Pair) -> None:
    sizes: Box[int | None] = Box()
    results: Box[Any] = Box()

    def into(size: int | None, headers: dict[str, HeaderValue]) -> bytearray:
        sizes.put(size)
        return bytearray(1000)

    pair.at_server.register_blob_cb("c", "t", lambda future: results.put(future.result()), into=into)
    fits = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream([b"12", b"345"])))
    assert fits.result(PATIENCE_S) == 5
    assert sizes.get() is None
    assert results.get()[:6] == b"12345\0"
    outgrows = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream([bytes(600), bytes(600)])))
    with pytest.raises(StreamRejected, match="1000 bytes"):
        outgrows.result(PATIENCE_S)


@pytest.mark.parametrize(
    ("buffer", "words"),
    [
        (bytearray(99), "99 bytes, the blob has 100"),
        (bytes(100), "read-only bytes"),
        (memoryview(bytearray(200))[::2], "not contiguous"),
        (None, "NoneType"),
        ("x" * 100, "str"),
        (np.zeros((10, 20), np.uint8)[:, ::2], "not contiguous"),
    ],
    ids=["too small", "read-only", "with steps", "None", "text", "numpy not contiguous"],
)
def test_a_bad_buffer_rejects_the_blob(pair: Pair, buffer: Any, words: str) -> None:
    called: Box[StreamFuture] = Box()
    pair.at_server.register_blob_cb("c", "t", called.put, into=lambda size, headers: buffer)
    with pytest.raises(StreamRejected, match=words):
        send(pair, bytes(100)).result(PATIENCE_S)
    assert called.is_empty()


def test_into_that_raises_rejects_the_blob(pair: Pair) -> None:
    def into(size: int | None, headers: dict[str, HeaderValue]) -> Any:
        raise MemoryError("no room for weights")

    pair.at_server.register_blob_cb("c", "t", lambda future: None, into=into)
    with pytest.raises(StreamRejected, match=r"into\(\).*MemoryError: no room for weights"):
        send(pair, bytes(100)).result(PATIENCE_S)


# --- digests
@pytest.mark.parametrize("digest", ["sha256", SHA256, SHA256.upper().replace("SHA", "sha")])
def test_a_good_digest(pair: Pair, blobs: Box[StreamFuture], digest: str) -> None:
    assert send(pair, DATA, digest=digest).result(PATIENCE_S) == len(DATA)
    assert blobs.get().result() == DATA


@pytest.mark.parametrize("kind", ["bytes", "iterator", "small"])
@pytest.mark.parametrize("digest", ["sha256", "given"])
def test_a_good_digest_of_a_stream(pair: Pair, kind: str, digest: str) -> None:
    read: Box[bytes] = Box()
    pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: read.put(stream.read(-1)))
    data = DATA[:100] if kind == "small" else DATA
    payload: Any = IterStream([data[:50], data[50:]]) if kind == "iterator" else data
    if digest == "given":
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    future = pair.at_site.send_stream("c", "t", "server", Message({}, payload), digest=digest)
    assert future.result(PATIENCE_S) == len(data)
    assert read.get() == data


def test_a_wrong_digest_of_a_blob(pair: Pair, blobs: Box[StreamFuture]) -> None:
    with pytest.raises(StreamIntegrityError, match=r"digest sha256:[0-9a-f]{64}.* says sha256:0{64}"):
        send(pair, DATA, digest=WRONG_SHA256).result(PATIENCE_S)
    assert blobs.is_empty()
    assert pair.server.stats().blobs_failed == 1


def test_a_wrong_digest_of_a_stream(pair: Pair) -> None:
    outcomes: Box[Any] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        while stream.get_pos() < len(DATA):
            stream.read(MIB)
        # All bytes were there; that they are not the right ones is known at the end.
        with pytest.raises(StreamIntegrityError):
            stream.read(1)
        outcomes.put(future.exception(PATIENCE_S))

    pair.at_server.register_stream_cb("c", "t", read)
    future = pair.at_site.send_stream("c", "t", "server", Message({}, DATA), digest=WRONG_SHA256)
    with pytest.raises(StreamIntegrityError, match="digest"):
        future.result(PATIENCE_S)
    assert isinstance(outcomes.get(), StreamIntegrityError)


# --- who owns the bytes
@pytest.mark.parametrize("kind", ["send_blob", "send_stream"])
@pytest.mark.parametrize("size", [1, 100_000, MIB])
def test_up_to_a_chunk_is_copied_at_the_call(
    pair: Pair, network: FaultyNetwork, blobs: Box[StreamFuture], kind: str, size: int
) -> None:
    payload = bytearray(DATA[:size])
    views = [memoryview(payload)[: size // 2], memoryview(payload)[size // 2 :]]
    network.stall()
    futures = [getattr(pair.site, kind)("server", each) for each in (payload, views)]
    payload[:] = bytes(size)
    network.release()
    for future in futures:
        assert future.result(PATIENCE_S) == size
        assert blobs.get().result() == DATA[:size]


def test_a_larger_payload_is_let_go_when_the_future_settles(pair: Pair, blobs: Box[StreamFuture]) -> None:
    payload = bytearray(DATA)
    assert send(pair, payload).result(PATIENCE_S) == len(DATA)
    eventually(lambda: can_be_resized(payload), "the payload is still exported")


def test_a_larger_payload_is_let_go_after_a_failure(carrier: Carrier) -> None:
    with connected_pair(carrier, config=CellConfig(max_blob_bytes=MIB)) as pair:
        pair.at_server.register_blob_cb("c", "t", lambda future: None)
        payload = bytearray(DATA)
        with pytest.raises(StreamError):
            send(pair, payload).result(PATIENCE_S)
        cancelled = pair.at_site.send_blob("c", "t", "missing", Message({}, payload))
        cancelled.cancel()
        eventually(lambda: can_be_resized(payload), "the payload is still exported")


def test_headers_are_frozen_at_the_call(pair: Pair, blobs: Box[StreamFuture]) -> None:
    headers: dict[str, HeaderValue] = {"round": 1}
    message = Message(headers, DATA)
    future = pair.at_site.send_blob("c", "t", "server", message)
    message.set_header("round", 2)
    message.payload = b""
    headers["round"] = 3
    assert future.get_headers() == {"round": 1}
    there = blobs.get()
    assert (there.get_headers(), there.result()) == ({"round": 1}, DATA)
