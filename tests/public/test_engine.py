"""What happens when the engine dies of a bug: here, of a network that raises what it must not."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import CellError, ErrorCode, Message, ReceivedStream, StreamFuture
from streamcell.protocol.wire.frames import Parts
from tests.kit.cells import CHANNEL, TOPIC, Cells, Peer
from tests.kit.networks import TamperingNetwork
from tests.kit.payloads import MIB, pattern
from tests.kit.transfers import Reader, reading_when
from tests.kit.waiting import PATIENCE_S, Box, Gate, wait_for


class Bug:
    """Nothing, until it is let loose."""

    def __init__(self) -> None:
        self.loose = False

    def __call__(self, batch: Parts) -> Parts:
        if self.loose:
            raise ZeroDivisionError("a bug, for a test")
        return batch


def assert_internal(error: BaseException | None) -> None:
    assert isinstance(error, CellError)
    assert error.code is ErrorCode.INTERNAL
    assert "ZeroDivisionError: a bug, for a test" in str(error)


def provoke(peer: Peer) -> None:
    """Have a cell send something, whatever becomes of it."""
    peer.fire_and_forget(CHANNEL, TOPIC, "server", Message())


def test_engine_that_dies_of_a_bug_fails_every_future_and_logs_it_once_with_traceback(
    cells: Cells, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    hub = cells.listen()
    bug = Bug()
    doomed = cells.dial(hub, "doomed", network=TamperingNetwork(cells.network, bug))
    reader = Reader()

    def blocked(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        gate.pass_through()

    def endless() -> Iterator[bytes]:
        yield b"first"
        gate.pass_through()

    doomed.on_stream(reader)
    hub.on_stream(blocked)
    asked = threading.Event()

    def never(request: Message) -> concurrent.futures.Future[Message]:
        asked.set()
        return concurrent.futures.Future()

    hub.on_request(never)
    hub.send_stream(doomed, endless())
    futures: list[concurrent.futures.Future[Any]] = [
        doomed.send_stream(hub, pattern(4 * MIB)),
        doomed.send_blob("nobody", b"data"),
        reader.futures.get(),
    ]
    with caplog.at_level(logging.ERROR), concurrent.futures.ThreadPoolExecutor(1) as pool:
        futures.append(pool.submit(doomed.request, hub))
        wait_for(asked)
        bug.loose = True
        provoke(doomed)
        for future in futures:
            assert_internal(future.exception(PATIENCE_S))
        assert_internal(reader.outcomes.get()[1])
        # What was logged has reached the handlers.
        doomed.stop()
    logged = [record for record in caplog.records if record.exc_info and record.exc_info[0] is ZeroDivisionError]
    assert len(logged) == 1


def test_cell_that_died_of_a_bug_refuses_calls_and_can_be_stopped_and_made_again(cells: Cells) -> None:
    hub = cells.listen()
    bug = Bug()
    doomed = cells.dial(hub, "doomed", network=TamperingNetwork(cells.network, bug))
    ended = doomed.send_blob("nobody", b"data")
    bug.loose = True
    provoke(doomed)
    assert_internal(ended.exception(PATIENCE_S))
    calls: list[Callable[[], object]] = [
        lambda: doomed.send_blob(hub, b"data").result(PATIENCE_S),
        lambda: doomed.request(hub),
        doomed.stats,
        lambda: doomed.wait_connected(PATIENCE_S),
    ]
    for call in calls:
        with pytest.raises(CellError):
            call()
    doomed.stop()
    received = Box[bytes]()
    hub.on_blob(lambda future: received.put(bytes(future.result())))
    again = cells.dial(hub, "doomed")
    assert again.send_blob(hub, b"data").result(PATIENCE_S) == 4
    assert received.get() == b"data"


def test_cell_that_dies_of_a_bug_leaves_the_other_cells_of_the_process_alone(cells: Cells, gate: Gate) -> None:
    hub = cells.listen()
    bug = Bug()
    doomed = cells.dial(hub, "doomed", network=TamperingNetwork(cells.network, bug))
    healthy = cells.dial(hub, "healthy")
    read = Box[bytes]()
    hub.on_stream(reading_when(gate, read))
    under_way = healthy.send_stream(hub, pattern(4 * MIB))
    ended = doomed.send_blob("nobody", b"data")
    bug.loose = True
    provoke(doomed)
    assert_internal(ended.exception(PATIENCE_S))
    gate.open()
    assert under_way.result(PATIENCE_S) == 4 * MIB
    assert read.get() == pattern(4 * MIB)
