"""The memory that blobs are received into: used again when nobody looks at it any more, and never before."""

from __future__ import annotations

import ctypes
import dataclasses
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamcell import HeaderValue, StreamFuture
from tests.kit.cells import QUICK, Cells, Pair, Peer
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# Of the sizes that share buffers. Blobs of SIZE and of one byte less are received into buffers of the same size.
SIZE = 5 * MIB
MARK = 0xA5


def address_of(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def byte_at(address: int) -> int:
    return ctypes.string_at(address, 1)[0]


def send_marked(sender: Peer, receiver: Peer) -> None:
    """Leave only buffers behind that can be told from fresh memory by their last byte, though there be two."""
    marked = bytes([MARK]) * SIZE
    for future in [sender.send_blob(receiver, marked) for _ in range(3)]:
        future.result(PATIENCE_S)


class Beyond:
    """A blob callback that tells the byte behind a blob that is one byte shorter than its buffer."""

    def __init__(self) -> None:
        self.bytes = Box[int]()

    def __call__(self, future: StreamFuture) -> None:
        view = future.result()
        if len(view) == SIZE - 1:
            self.bytes.put(byte_at(address_of(view) + SIZE - 1))


def test_buffer_of_a_dropped_blob_is_used_again(pair: Pair) -> None:
    sender, receiver = pair
    beyond = Beyond()
    receiver.on_blob(beyond)
    data = pattern(SIZE - 1)

    def is_used_again() -> bool:
        # The sender has its answer a moment before the callback has dropped the blob.
        send_marked(sender, receiver)
        assert sender.send_blob(receiver, data).result(PATIENCE_S) == len(data)
        return beyond.bytes.get() == MARK

    eventually(is_used_again)


def test_buffer_of_a_dropped_blob_is_not_used_again_when_none_may_be_kept(cells: Cells) -> None:
    sender, receiver = cells.pair(receiver=dataclasses.replace(QUICK, idle_buffer_bytes=0))
    beyond = Beyond()
    receiver.on_blob(beyond)
    for _ in range(3):
        send_marked(sender, receiver)
        sender.send_blob(receiver, pattern(SIZE - 1)).result(PATIENCE_S)
        assert beyond.bytes.get() == 0


# What an application may hold of a blob, and which part of the blob that is.
HOLDS: dict[str, tuple[Callable[[StreamFuture], Any], slice]] = {
    "view": (lambda future: future.result(), slice(None)),
    "future": (lambda future: future, slice(None)),
    "slice": (lambda future: future.result()[KIB:-KIB], slice(KIB, -KIB)),
    "slice of a slice": (lambda future: future.result()[1:][2:][:MIB], slice(3, MIB + 3)),
    "single byte": (lambda future: future.result()[-1:], slice(-1, None)),
    "strided": (lambda future: future.result()[::7], slice(None, None, 7)),
    "cast": (lambda future: future.result().cast("I"), slice(None)),
    "numpy array": (lambda future: np.frombuffer(future.result(), np.uint8), slice(None)),
    "numpy array of a slice": (
        lambda future: np.frombuffer(future.result()[8 * KIB :], np.float64),
        slice(8 * KIB, None),
    ),
    "part of a numpy array": (
        lambda future: np.frombuffer(future.result(), np.uint8).reshape(-1, MIB)[3],
        slice(3 * MIB, 4 * MIB),
    ),
}


def bytes_of(held: Any) -> bytes:
    return bytes(held.result(0) if isinstance(held, StreamFuture) else held)


@pytest.mark.parametrize("name", HOLDS)
def test_blob_of_which_anything_is_held_is_never_overwritten(pair: Pair, name: str) -> None:
    sender, receiver = pair
    hold, part = HOLDS[name]
    held = queue.SimpleQueue[tuple[Any, int]]()
    later = Box[int]()
    receiver.on_blob(lambda future: held.put((hold(future), address_of(future.result()))), topic="held")
    receiver.on_blob(lambda future: later.put(address_of(future.result())), topic="later")
    data = pattern(SIZE)
    sender.send_blob(receiver, data, topic="held").result(PATIENCE_S)
    kept, address = held.get(timeout=PATIENCE_S)
    for seed in range(1, 9):
        sender.send_blob(receiver, bytes([seed]) * SIZE, topic="later").result(PATIENCE_S)
        there = later.get()
        assert not there - SIZE < address < there + SIZE
        assert bytes_of(kept) == data[part]


def test_blob_that_another_thread_looks_at_is_never_overwritten(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    seen = Box[tuple[bytes, bytes]]()

    def look(view: memoryview, first: bytes) -> None:
        gate.pass_through()
        seen.put((first, bytes(view)))

    def on_blob(future: StreamFuture) -> None:
        # In a thread of the application's, with nothing of it left here.
        threading.Thread(target=look, args=(future.result(), bytes(future.result()[:1])), daemon=True).start()

    receiver.on_blob(on_blob)
    receiver.on_blob(lambda future: None, topic="dropped")
    blobs = [bytes([seed]) * SIZE for seed in range(6)]
    futures = [sender.send_blob(receiver, blob) for blob in blobs]
    futures += [sender.send_blob(receiver, bytes([0xFF]) * SIZE, topic="dropped") for _ in range(6)]
    assert [future.result(PATIENCE_S) for future in futures] == [SIZE] * 12
    sender.send_blob(receiver, bytes([0xFF]) * SIZE, topic="dropped").result(PATIENCE_S)
    gate.open()
    assert dict(seen.get() for _ in blobs) == {blob[:1]: blob for blob in blobs}


def test_blobs_whose_callbacks_still_run_are_never_overwritten(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    seen = Box[bytes]()

    def on_blob(future: StreamFuture) -> None:
        view = future.result()
        gate.pass_through()
        seen.put(bytes(view))

    receiver.on_blob(on_blob)
    receiver.on_blob(lambda future: None, topic="dropped")
    blobs = [bytes([seed]) * SIZE for seed in range(6)]
    for blob in blobs:
        assert sender.send_blob(receiver, blob).result(PATIENCE_S) == SIZE
        assert sender.send_blob(receiver, bytes([0xFF]) * SIZE, topic="dropped").result(PATIENCE_S) == SIZE
    gate.open()
    assert sorted(seen.get() for _ in blobs) == blobs


@pytest.mark.parametrize("size_known", [True, False])
def test_numpy_array_is_received_straight_into(pair: Pair, size_known: bool) -> None:
    sender, receiver = pair
    weights = np.zeros((3, MIB // 8), np.float64)
    address = weights.ctypes.data
    asked = Box[int | None]()
    results = Box[Any]()

    def into(size: int | None, headers: dict[str, HeaderValue]) -> Any:
        asked.put(size)
        return weights

    receiver.on_blob(lambda future: results.put(future.result()), into=into)
    for seed in range(1, 4):
        sent = np.random.default_rng(seed).random(weights.shape)
        data = sent.tobytes()
        if size_known:
            future = sender.send_blob(receiver, sent)
        else:
            future = sender.send_stream(receiver, (data[at : at + 100 * KIB] for at in range(0, len(data), 100 * KIB)))
        assert future.result(PATIENCE_S) == sent.nbytes
        assert asked.get() == (sent.nbytes if size_known else None)
        assert results.get() is weights
        assert weights.ctypes.data == address
        np.testing.assert_array_equal(weights, sent)


def test_part_of_a_numpy_array_is_received_into_and_the_rest_is_left_alone(pair: Pair) -> None:
    sender, receiver = pair
    everything = np.full((4, MIB), 7, np.uint8)
    receiver.on_blob(lambda future: None, into=lambda size, headers: everything[2])
    data = pattern(MIB)
    assert sender.send_blob(receiver, data).result(PATIENCE_S) == MIB
    assert everything[2].tobytes() == data
    assert (np.delete(everything, 2, axis=0) == 7).all()
