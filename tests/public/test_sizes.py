"""What a sender declares of a stream, seen from the receiver: sizes, digests, headers.

The public classes of the sender notice a wrong size themselves, or cannot declare one, so the declaration is changed on
its way, as by a sender in another language.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import pytest

from streamcell import ErrorCode, StreamFuture, StreamIntegrityError
from streamcell.protocol.wire.frames import Chunk, Frame
from tests.kit.cells import QUICK, Cells, Peer
from tests.kit.networks import TamperingNetwork, for_each_frame
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.transfers import Reader, failure_of, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box


def declare(size: int) -> Callable[[Frame], Frame]:
    """Return what changes the declared size of every stream that begins, but for requests."""

    def change(frame: Frame) -> Frame:
        if (
            isinstance(frame, Chunk)
            and frame.open is not None
            and frame.open.description.kind.name in {"STREAM", "BLOB"}
        ):
            description = dataclasses.replace(frame.open.description, size=size)
            return dataclasses.replace(frame, open=dataclasses.replace(frame.open, description=description))
        return frame

    return change


def liar(cells: Cells, hub: Peer, size: int) -> Peer:
    """Return a cell that declares ``size`` whatever it sends."""
    return cells.dial(hub, network=TamperingNetwork(cells.network, for_each_frame(declare(size))))


SIZES = [(100, 99), (100, 101), (3 * MIB, 3 * MIB - 1), (3 * MIB, 3 * MIB + 1), (0, 1), (1, 0), (100, 10 * MIB)]


@pytest.mark.parametrize(("size", "declared"), SIZES)
def test_declared_size_that_is_wrong_fails_the_blob(cells: Cells, size: int, declared: int) -> None:
    hub = cells.listen()
    called = Box[StreamFuture]()
    hub.on_blob(called.put)
    sender = liar(cells, hub, declared)
    error = stream_failure_of(sender.send_blob(hub, pattern(size)))
    assert isinstance(error, StreamIntegrityError)
    assert str(declared) in str(error)
    sender.meet(hub)
    assert called.is_empty()


@pytest.mark.parametrize(("size", "declared"), SIZES)
def test_declared_size_that_is_wrong_fails_the_stream_and_its_reader(cells: Cells, size: int, declared: int) -> None:
    hub = cells.listen()
    reader = Reader()
    hub.on_stream(reader)
    sender = liar(cells, hub, declared)
    error = stream_failure_of(sender.send_stream(hub, pattern(size)))
    assert isinstance(error, StreamIntegrityError)
    assert str(declared) in str(error)
    sender.meet(hub)
    if reader.futures.is_empty():
        # The first chunk gave it away: the stream has not begun.
        return
    data, raised = reader.outcomes.get()
    assert pattern(size).startswith(data)
    assert isinstance(raised, StreamIntegrityError)
    assert raised.code is ErrorCode.INTEGRITY
    assert isinstance(failure_of(reader.futures.get()), StreamIntegrityError)


@pytest.mark.parametrize("size", [0, 100, 3 * MIB])
def test_digest_that_is_wrong_fails_the_blob_and_its_callback_is_not_called(cells: Cells, size: int) -> None:
    sender, receiver = cells.pair()
    called = Box[StreamFuture]()
    receiver.on_blob(called.put)
    error = failure_of(sender.send_blob(receiver, pattern(size), digest="sha256:" + 64 * "0"))
    assert isinstance(error, StreamIntegrityError)
    assert receiver.stats().blobs_failed == 1
    assert called.is_empty()
    digest = hashlib.sha256(pattern(size)).hexdigest()
    for good in ("sha256", f"sha256:{digest}", f"sha256:{digest.upper()}"):
        assert sender.send_blob(receiver, pattern(size), digest=good).result(PATIENCE_S) == size
        assert bytes(called.get().result()) == pattern(size)


def test_headers_are_sent_once_per_attempt(cells: Cells) -> None:
    hub = cells.listen()
    reader = Reader()
    hub.on_stream(reader)
    opened: list[tuple[int, int]] = []

    def look(frame: Frame) -> Frame:
        if isinstance(frame, Chunk) and frame.open is not None and frame.open.description.headers:
            opened.append((frame.key.stream_id, frame.attempt))
        return frame

    network = TamperingNetwork(cells.network, for_each_frame(look))
    sender = cells.dial(hub, network=network, config=dataclasses.replace(QUICK, chunk_bytes=64 * KIB))
    cells.network.cut_after(size_bytes=3 * MIB)
    future = sender.send_stream(hub, pattern(8 * MIB), headers={"table": bytes(100 * KIB)})
    assert future.result(PATIENCE_S) == 8 * MIB
    assert reader.outcomes.get() == (pattern(8 * MIB), None)
    assert sender.stats().protocol.resumes >= 1
    assert len(opened) == len(set(opened)) >= 2
