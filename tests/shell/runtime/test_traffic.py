"""Bytes by channel and failures by code; what peers can make a cell remember of them is bounded."""

from __future__ import annotations

import pytest

from streamcell import CoreCell, ErrorCode, Message, StreamRejected
from streamcell.errors import StreamTimeout
from streamcell.runtime.traffic import MOST_CHANNELS, OTHER_CHANNELS, Traffic
from streamcell.stats import Direction
from tests.kit.cells import CARRIERS, connected_pair
from tests.kit.waiting import PATIENCE_S, eventually

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED


def test_counts_are_kept_apart() -> None:
    traffic = Traffic()
    traffic.count_bytes(SENT, "a", 1)
    traffic.count_bytes(SENT, "a", 2)
    traffic.count_bytes(SENT, "b", 4)
    traffic.count_bytes(RECEIVED, "a", 8)
    traffic.count_failure(SENT, StreamRejected("x"))
    traffic.count_failure(RECEIVED, StreamTimeout("x"))
    traffic.count_failure(RECEIVED, StreamTimeout("y"))
    stats = traffic.stats()
    assert stats.payload_bytes == {(SENT, "a"): 3, (SENT, "b"): 4, (RECEIVED, "a"): 8}
    assert stats.failures == {(SENT, ErrorCode.REJECTED): 1, (RECEIVED, ErrorCode.TIMEOUT): 2}


def test_snapshot_does_not_change() -> None:
    traffic = Traffic()
    before = traffic.stats()
    traffic.count_bytes(SENT, "a", 1)
    assert before.payload_bytes == {}


def test_number_of_channels_is_bounded() -> None:
    traffic = Traffic()
    for number in range(MOST_CHANNELS + 10):
        traffic.count_bytes(RECEIVED, f"channel {number}", 1)
    traffic.count_bytes(RECEIVED, "channel 0", 1)
    traffic.count_bytes(SENT, "another direction", 1)
    counted = traffic.stats().payload_bytes
    assert len(counted) == MOST_CHANNELS + 2
    assert counted[RECEIVED, "channel 0"] == 2
    assert counted[RECEIVED, OTHER_CHANNELS] == 10
    assert counted[SENT, "another direction"] == 1


def counts_of(cell: CoreCell) -> tuple[dict[tuple[Direction, str], int], dict[tuple[Direction, ErrorCode], int]]:
    traffic = cell.stats().traffic
    return dict(traffic.payload_bytes), dict(traffic.failures)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_cell_counts_what_it_moves(carrier: str) -> None:
    with connected_pair(CARRIERS[carrier]()) as pair:
        pair.at_server.register_stream_cb("files", "*", lambda _future, stream, _resume: stream.readall())
        pair.server.register_request_cb("math", "*", lambda request: Message(None, b"four"))
        pair.at_site.send_stream("files", "x", "server", Message(None, bytes(300_000))).result(PATIENCE_S)
        pair.site.send_request("math", "x", "server", Message(None, b"sixteen"), timeout=PATIENCE_S)
        with pytest.raises(StreamRejected):
            pair.at_site.send_stream("nobody", "x", "server", Message(None, b"lost")).result(PATIENCE_S)
        # The reply may overtake the acknowledgement of its request.
        eventually(lambda: (SENT, "math") in counts_of(pair.site)[0])
        sent, sent_failures = counts_of(pair.site)
        received, _ = counts_of(pair.server)
    assert sent[SENT, "files"] == received[RECEIVED, "files"] == 300_000
    assert sent[SENT, "math"] == received[RECEIVED, "math"] == 7
    assert sum(sent[key] for key in sent if key[0] is RECEIVED) == 4
    assert sent_failures == {(SENT, ErrorCode.NO_CALLBACK): 1}
