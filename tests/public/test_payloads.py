"""What may be sent as payload and headers, how it arrives, and how it is refused."""

from __future__ import annotations

import array
import dataclasses
import io
from typing import Any

import numpy as np
import pytest

from streamcell import BlobSizeError, HeaderValue, Message, ReceivedStream, StreamError, StreamFuture, UsageError
from tests.kit.cells import CHANNEL, QUICK, TOPIC, Cells, Pair
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box

WORDS = array.array("I", range(1, 200_000))


MATRIX = np.arange(120_000, dtype=np.float64).reshape(300, 400)


# What is sent, and its bytes.
PAYLOADS: dict[str, tuple[Any, bytes]] = {
    "bytes": (b"bytes", b"bytes"),
    "large bytes": (pattern(3 * MIB), pattern(3 * MIB)),
    "bytearray": (bytearray(b"bytearray"), b"bytearray"),
    "large bytearray": (bytearray(pattern(3 * MIB)), pattern(3 * MIB)),
    "memoryview": (memoryview(b"memoryview")[6:], b"view"),
    "memoryview of itemsize 4": (memoryview(WORDS), WORDS.tobytes()),
    "non-contiguous memoryview": (memoryview(pattern(3 * MIB))[::2], pattern(3 * MIB)[::2]),
    "non-contiguous memoryview of itemsize 4": (memoryview(WORDS)[::-3], WORDS[::-3].tobytes()),
    "memoryview of two dimensions": (memoryview(pattern(60)).cast("B", [6, 10]), pattern(60)),
    "array": (WORDS, WORDS.tobytes()),
    "list": ([b"some ", bytearray(b"of "), memoryview(b"these"), b""], b"some of these"),
    "large list": ([pattern(MIB, seed) for seed in range(5)], b"".join(pattern(MIB, seed) for seed in range(5))),
    "list with arrays": ([WORDS, MATRIX[:, 1]], WORDS.tobytes() + MATRIX[:, 1].tobytes()),
    "tuple": ((b"1", b"2"), b"12"),
    "empty list": ([], b""),
    "numpy array": (MATRIX, MATRIX.tobytes()),
    "non-contiguous numpy array": (MATRIX[::2, 5::3], MATRIX[::2, 5::3].tobytes()),
    "transposed numpy array": (MATRIX.T, MATRIX.T.tobytes()),
    "numpy array without dimensions": (np.array(2.5), np.array(2.5).tobytes()),
    "empty numpy array": (np.empty((0, 3)), b""),
    "numpy array of another byte order": (np.arange(50, dtype=">i4"), np.arange(50, dtype=">i4").tobytes()),
    "numpy array of bools": (np.array([True, False]), b"\x01\x00"),
    "empty bytes": (b"", b""),
}


# Neither streams nor blobs can be made of these.
WRONG_PAYLOADS: dict[str, Any] = {
    "str": "text",
    "int": 5,
    "float": 5.0,
    "dict": {b"key": b"value"},
    "object": object(),
    "list of str": ["text"],
    "list of int": [1, 2, 3],
    "list of lists": [[b"bytes"]],
    "numpy array of objects": np.array([object()]),
    "text file": io.StringIO("text"),
}


GOOD_HEADERS: dict[str, HeaderValue] = {
    "str": "text with ünïcode",
    "empty": "",
    "int": -(2**63),
    "large int": 2**63 - 1,
    "float": 0.1,
    "infinite": float("inf"),
    "infinitely negative": float("-inf"),
    "least": -(2**63),
    "most": 2**63 - 1,
    "": "no key",
    "control": "Grüße 🙂\n\0",
    "true": True,
    "false": False,
    "bytes": bytes(range(256)),
    "ключ": 1,
}


# Headers that cannot travel, and what the error names.
WRONG_HEADERS: dict[str, tuple[Any, str]] = {
    "None": ({"size": 1, "owner": None}, "'owner'.*NoneType"),
    "list": ({"tags": ["a"]}, "'tags'.*list"),
    "dict": ({"nested": {}}, "'nested'.*dict"),
    "bytearray": ({"raw": bytearray(b"x")}, "'raw'.*bytearray"),
    "numpy scalar": ({"loss": np.float32(0.1)}, "'loss'.*float32"),
    "65 bits": ({"count": 2**63}, "'count'.*64 bits"),
    "key of int": ({7: "seven"}, "7.*int"),
    "key of bytes": ({b"key": "value"}, "b'key'.*bytes"),
}


def headers_of(size: int) -> dict[str, HeaderValue]:
    """Return headers that take ``size`` bytes, but for some tens."""
    return {"table": bytes(size - KIB), "name": "x" * (KIB - 100)}


@pytest.mark.parametrize("name", PAYLOADS)
def test_blob_payload_is_accepted_and_sent_as_bytes(pair: Pair, name: str) -> None:
    sender, receiver = pair
    payload, expected = PAYLOADS[name]
    received = Box[StreamFuture]()
    receiver.on_blob(received.put)
    future = sender.send_blob(receiver, payload)
    assert future.get_size() == len(expected)
    assert future.result(PATIENCE_S) == len(expected)
    there = received.get()
    assert there.done()
    view = there.result(0)
    assert isinstance(view, memoryview)
    assert view.readonly
    assert (view.itemsize, view.ndim, view.nbytes) == (1, 1, len(expected))
    assert view == expected
    assert (there.get_size(), there.get_progress()) == (len(expected), len(expected))


@pytest.mark.parametrize("name", PAYLOADS)
def test_stream_payload_is_accepted_and_sent_as_bytes(pair: Pair, name: str) -> None:
    sender, receiver = pair
    payload, expected = PAYLOADS[name]
    received = Box[bytes]()
    receiver.on_stream(lambda future, stream, resume: received.put(stream.read(-1)))
    assert sender.send_stream(receiver, payload).result(PATIENCE_S) == len(expected)
    assert received.get() == expected


def test_blob_without_payload_is_empty_and_a_stream_needs_one(pair: Pair) -> None:
    sender, receiver = pair
    with pytest.raises(UsageError, match="NoneType"):
        sender.send_stream(receiver, None)
    received = Box[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    assert sender.send_blob(receiver, None).result(PATIENCE_S) == 0
    assert received.get() == b""


@pytest.mark.parametrize("name", WRONG_PAYLOADS)
@pytest.mark.parametrize("kind", ["stream", "blob"])
def test_payload_of_another_type_is_a_usage_error_at_the_call(pair: Pair, kind: str, name: str) -> None:
    sender, receiver = pair
    send = sender.send_blob if kind == "blob" else sender.send_stream
    with pytest.raises(UsageError) as caught:
        send(receiver, WRONG_PAYLOADS[name])
    assert isinstance(caught.value, StreamError)
    words = (name, type(WRONG_PAYLOADS[name]).__name__)
    assert any(word in str(caught.value) for word in words) or name.startswith(("list", "numpy"))


@pytest.mark.parametrize("name", set(WRONG_PAYLOADS) - {"list of str", "list of int", "list of lists"})
def test_request_payload_of_another_type_is_a_usage_error_at_the_call(pair: Pair, name: str) -> None:
    sender, receiver = pair
    with pytest.raises(UsageError):
        sender.request(receiver, WRONG_PAYLOADS[name])


def test_blob_larger_than_the_receivers_limit_is_refused_before_allocation(cells: Cells) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, max_blob_bytes=MIB))
    called = Box[object]()
    receiver.on_blob(called.put, into=lambda size, headers: called.put(size))
    error = stream_failure_of(sender.send_blob(receiver, bytes(MIB + 1)))
    assert isinstance(error, BlobSizeError)
    assert str(MIB) in str(error)
    assert receiver.fqcn in str(error)
    sender.meet(receiver)
    assert called.is_empty()
    assert receiver.stats().protocol.bytes_received == 0
    assert receiver.stats().protocol.receives == ()


def test_blob_of_the_receivers_limit_is_received(cells: Cells) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, max_blob_bytes=MIB))
    received = Box[bytes]()
    receiver.on_blob(lambda future: received.put(bytes(future.result())))
    assert sender.send_blob(receiver, pattern(MIB)).result(PATIENCE_S) == MIB
    assert received.get() == pattern(MIB)


def test_stream_of_unknown_size_to_a_blob_callback_is_refused_when_it_has_outgrown_the_limit(cells: Cells) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, max_blob_bytes=MIB))
    called = Box[StreamFuture]()
    receiver.on_blob(called.put)
    error = stream_failure_of(sender.send_stream(receiver, (bytes(100 * KIB) for _ in range(1000))))
    assert isinstance(error, BlobSizeError)
    sender.meet(receiver)
    assert called.is_empty()
    assert receiver.stats().protocol.bytes_received <= 2 * MIB


def test_headers_arrive_with_their_types(pair: Pair) -> None:
    sender, receiver = pair
    seen = Box[dict[str, HeaderValue]]()

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        seen.put(stream.headers)
        stream.read(-1)

    receiver.on_stream(on_stream, topic="stream")
    receiver.on_blob(lambda future: seen.put(future.get_headers()), topic="blob")
    receiver.on_request(lambda request: Message(request.headers))
    sender.send_stream(receiver, b"data", topic="stream", headers=GOOD_HEADERS)
    sender.send_blob(receiver, b"data", topic="blob", headers=GOOD_HEADERS)
    reply = sender.send_request(CHANNEL, TOPIC, receiver.fqcn, Message(GOOD_HEADERS), PATIENCE_S)
    for headers in (seen.get(), seen.get(), reply.headers):
        assert headers == GOOD_HEADERS
        assert [type(headers[key]) for key in GOOD_HEADERS] == [type(value) for value in GOOD_HEADERS.values()]


@pytest.mark.parametrize("name", WRONG_HEADERS)
def test_header_of_another_type_is_a_usage_error_at_the_call_that_names_key_and_type(pair: Pair, name: str) -> None:
    sender, receiver = pair
    headers, named = WRONG_HEADERS[name]
    for send in (sender.send_stream, sender.send_blob):
        with pytest.raises(UsageError, match=named) as caught:
            send(receiver, b"data", headers=headers)
        assert isinstance(caught.value, StreamError)
    with pytest.raises(UsageError, match=named):
        sender.send_request(CHANNEL, TOPIC, receiver.fqcn, Message(headers), PATIENCE_S)
    assert sender.stats().protocol.streams_opened == 0


@pytest.mark.parametrize("chunk_bytes", [64 * KIB, 4 * MIB])
def test_headers_up_to_one_mebibyte_are_fine(cells: Cells, chunk_bytes: int) -> None:
    sender, receiver = cells.pair(sender=dataclasses.replace(QUICK, chunk_bytes=chunk_bytes))
    seen = Box[tuple[dict[str, HeaderValue], bytes]]()

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        seen.put((stream.headers, stream.read(-1)))

    receiver.on_stream(on_stream, topic="stream")
    receiver.on_blob(lambda future: seen.put((future.get_headers(), bytes(future.result()))), topic="blob")
    receiver.on_request(lambda request: Message(request.headers, request.payload))
    headers, data = headers_of(MIB), pattern(5 * MIB)
    assert sender.send_stream(receiver, data, topic="stream", headers=headers).result(PATIENCE_S) == len(data)
    assert seen.get() == (headers, data)
    assert sender.send_blob(receiver, data, topic="blob", headers=headers).result(PATIENCE_S) == len(data)
    assert seen.get() == (headers, data)
    reply = sender.send_request(CHANNEL, TOPIC, receiver.fqcn, Message(headers, data), PATIENCE_S)
    assert (reply.headers, bytes(reply.payload)) == (headers, data)


def test_headers_up_to_one_mebibyte_are_fine_on_many_blobs_at_once(pair: Pair) -> None:
    sender, receiver = pair
    receiver.on_blob(lambda future: None)
    futures = [sender.send_blob(receiver, b"data", headers=headers_of(MIB)) for _ in range(20)]
    assert [future.result(PATIENCE_S) for future in futures] == [4] * 20
    assert sender.stats().protocol.reconnects == 0


def test_many_headers(pair: Pair) -> None:
    sender, receiver = pair
    arrived = Box[dict[str, HeaderValue]]()
    receiver.on_blob(lambda future: arrived.put(future.get_headers()))
    headers: dict[str, HeaderValue] = {f"key-{number}": "v" * 1000 for number in range(1000)}
    sender.send_blob(receiver, b"x" * 5000, headers=headers).result(PATIENCE_S)
    assert arrived.get() == headers


@pytest.mark.parametrize("kind", ["stream", "blob"])
def test_headers_above_one_mebibyte_are_a_usage_error_at_the_call(pair: Pair, kind: str) -> None:
    sender, receiver = pair
    send = sender.send_blob if kind == "blob" else sender.send_stream
    with pytest.raises(UsageError, match=str(MIB)):
        send(receiver, b"data", headers=headers_of(MIB + KIB))
