"""Who a frame comes from and who it is for."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode, Fault
from streamcell.limits import HOPS
from streamcell.protocol.wire.addressing import ROUTED, RoutedFrame, destination_of, ends_of, goes_to_target, source_of
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Handshake,
    Lost,
    LostReason,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)

ORIGIN, TARGET = "site-1", "server"
KEY = StreamKey(ORIGIN, 7, 3)

FRAMES: list[tuple[RoutedFrame, str, str]] = [
    (Chunk(KEY, TARGET, 1, "channel", "topic", 0, 0, True, HOPS, 5, b"x", None), ORIGIN, TARGET),
    (ResumeQuery(KEY, TARGET, 2, False, HOPS), ORIGIN, TARGET),
    (Reset(KEY, TARGET, 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "", HOPS), ORIGIN, TARGET),
    (Reset(KEY, TARGET, 1, True, ErrorCode.REJECTED, Fault.TARGET, "", HOPS), TARGET, ORIGIN),
    (Ack(KEY, TARGET, 1, 9, 1, 1, True, HOPS), TARGET, ORIGIN),
    (ResumeReply(KEY, TARGET, 2, 9, False, 0, HOPS), TARGET, ORIGIN),
    (Lost(KEY, TARGET, 1, LostReason.NO_ROUTE, "hub", HOPS), "hub", ORIGIN),
    (Query(4, ORIGIN, TARGET, False, HOPS), ORIGIN, TARGET),
    (QueryReply(4, ORIGIN, TARGET, (), HOPS), TARGET, ORIGIN),
    (Handshake(ORIGIN, 7, TARGET, 9, False, bytes(16), 0, b"", HOPS), ORIGIN, TARGET),
    (Handshake(ORIGIN, 7, TARGET, 9, True, bytes(16), 1, b"", HOPS), TARGET, ORIGIN),
]


@pytest.mark.parametrize(("frame", "source", "destination"), FRAMES)
def test_a_frame_names_its_two_ends(frame: RoutedFrame, source: str, destination: str) -> None:
    assert ends_of(frame) == (source_of(frame), destination_of(frame)) == (source, destination)


def test_every_kind_that_is_routed_has_two_ends() -> None:
    assert {type(frame) for frame, _, _ in FRAMES} == ROUTED


def test_streams_go_one_way_and_what_is_said_of_them_the_other() -> None:
    assert [
        goes_to_target(frame) for frame, _, _ in FRAMES if not isinstance(frame, Query | QueryReply | Handshake)
    ] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
