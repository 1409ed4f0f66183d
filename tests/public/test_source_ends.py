"""However a transfer ends, its source is closed exactly once, and what it gave before is not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamcell import (
    CellError,
    Message,
    StreamError,
    StreamIntegrityError,
    StreamUsageError,
)
from tests.kit.cells import Pair
from tests.kit.payloads import MIB, Recorded, pattern
from tests.kit.transfers import Arrived, send
from tests.kit.waiting import PATIENCE_S, Box, eventually

DATA = pattern(2 * MIB + 54_321)


def end_well(pair: Pair, source: Recorded) -> None:
    assert send(pair, source).result(PATIENCE_S) == len(DATA)


def end_by_rejection(pair: Pair, source: Recorded) -> None:
    with pytest.raises(StreamError):
        pair.at_site.send_stream("c", "nobody", "server", Message({}, source)).result(PATIENCE_S)


def end_by_cancel(pair: Pair, source: Recorded) -> None:
    assert send(pair, source).cancel()


def end_by_a_source_that_raises(pair: Pair, source: Recorded) -> None:
    source.left.append(OSError("no more"))
    with pytest.raises(StreamError, match="no more"):
        send(pair, source).result(PATIENCE_S)


def end_by_a_wrong_size(pair: Pair, source: Recorded) -> None:
    source.left.append(b"more")
    with pytest.raises(StreamIntegrityError):
        send(pair, source).result(PATIENCE_S)


def end_by_too_much_at_once(pair: Pair, source: Recorded) -> None:
    source.left.append(bytearray(5 * MIB))
    with pytest.raises(StreamUsageError, match="at most as many"):
        send(pair, source).result(PATIENCE_S)


def end_by_what_is_not_bytes(pair: Pair, source: Recorded) -> None:
    source.left.append("text")
    with pytest.raises(StreamUsageError, match="str"):
        send(pair, source).result(PATIENCE_S)


def end_by_stop(pair: Pair, source: Recorded) -> None:
    future = pair.at_site.send_stream("c", "t", "missing", Message({}, source))
    pair.site.stop(0)
    assert isinstance(future.exception(PATIENCE_S), CellError)


def end_by_secure(pair: Pair, source: Recorded) -> None:
    with pytest.raises(CellError):
        pair.at_site.send_stream("c", "t", "server", Message({}, source), secure=True).result(PATIENCE_S)


def end_at_once(pair: Pair, source: Recorded) -> None:
    with pytest.raises(StreamError):
        pair.at_site.send_stream("c", "t", "missing", Message({}, source), optional=True).result(PATIENCE_S)


@pytest.mark.parametrize(
    "end",
    [
        end_well,
        end_by_rejection,
        end_by_cancel,
        end_by_a_source_that_raises,
        end_by_a_wrong_size,
        end_by_too_much_at_once,
        end_by_what_is_not_bytes,
        end_by_stop,
        end_by_secure,
        end_at_once,
    ],
)
def test_a_stream_is_closed_exactly_once(
    pair: Pair, received: Box[Arrived], end: Callable[[Pair, Recorded], None]
) -> None:
    source = Recorded([DATA[:MIB], DATA[MIB : 2 * MIB], DATA[2 * MIB :]], size=len(DATA))
    end(pair, source)
    eventually(lambda: source.closed == 1)
    pair.site.stop()
    pair.server.stop()
    assert source.closed == 1
