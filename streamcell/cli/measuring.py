"""The work of ``ping`` and ``bench``."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Iterator

from streamcell.core_cell import CoreCell
from streamcell.daemon.conventions import ECHO_TOPIC, MEASURE_CHANNEL, SINK_TOPIC
from streamcell.errors import RequestFailed, StreamError, UsageError
from streamcell.limits import MIB
from streamcell.message import Message
from streamcell.stream_cell import StreamCell

# Of a request: what a small message has.
_REQUEST_BYTES = 1024
_PIECE_BYTES = MIB
# Before throughput is counted: windows grow, and the receiver's memory is touched.
_WARM_UP_S = 0.5


def ping_cell(cell: CoreCell, target: str, count: int, interval_s: float, wait_s: float) -> Iterator[float]:
    """Ask ``target`` for a sign of life ``count`` times; give the seconds that each took.

    A cell that does not echo is alive too: its refusal is the sign.

    Raises:
        CellError: no answer within ``wait_s``.
    """
    for number in range(count):
        if number:
            time.sleep(interval_s)
        began = time.perf_counter()
        try:
            cell.send_request(MEASURE_CHANNEL, ECHO_TOPIC, target, Message(), timeout=wait_s)
        except RequestFailed:
            pass
        yield time.perf_counter() - began


def find_way(cell: CoreCell, target: str, wait_s: float) -> list[str]:
    """Return the names of the cells on the way to one that has answered, itself the last; none if it has gone since."""
    try:
        return [hop.fqcn for hop in cell.trace(target, wait_s)]
    except StreamError:
        return []


def measure_round_trips(cell: CoreCell, target: str, seconds: float, wait_s: float) -> list[float]:
    """Send one request after the other for so long; return the seconds that each took, in order of size.

    Raises:
        UsageError: ``target`` does not echo.
        CellError: it cannot be reached.
    """
    request = Message(None, bytes(_REQUEST_BYTES))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        try:
            cell.send_request(MEASURE_CHANNEL, ECHO_TOPIC, target, request, timeout=wait_s)
        except RequestFailed as error:
            raise UsageError(
                f"{target} does not answer benchmarks: measure to a cell that 'streamcell serve' or 'recv' runs"
            ) from error
        times.append(time.perf_counter() - began)
    return sorted(times)


def measure_throughput(cell: CoreCell, target: str, seconds: float, wait_s: float) -> float:
    """Send zeros for so long; return the bytes a second that arrived.

    Raises:
        CellError: the stream failed.
    """
    piece = bytes(_PIECE_BYTES)
    measured = threading.Event()

    def zeros() -> Iterator[bytes]:
        while not measured.is_set():
            yield piece

    future = StreamCell(cell).send_stream(
        MEASURE_CHANNEL, SINK_TOPIC, target, Message(None, zeros()), unreachable_timeout=wait_s
    )
    try:
        # Both end early only if the stream fails.
        concurrent.futures.wait([future], _WARM_UP_S)
        began, before = time.perf_counter(), future.get_progress()
        concurrent.futures.wait([future], seconds)
        ended, after = time.perf_counter(), future.get_progress()
    finally:
        measured.set()
    future.result()
    return (after - before) / (ended - began)
