from __future__ import annotations

import dataclasses

import pytest

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, Fault, StreamCancelled
from streamcell.limits import HOPS
from streamcell.protocol.wire.addressing import ROUTED, RoutedFrame
from streamcell.protocol.wire.description import StreamDescription, StreamKind
from streamcell.protocol.wire.frames import (
    NO_STREAM,
    Ack,
    CellInfo,
    Chunk,
    Handshake,
    Lost,
    LostReason,
    Open,
    Ping,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from tests.kit.frozen import FrameChanged

KEY = StreamKey("origin", 7, 3)
OPENING = Open(StreamDescription(StreamKind.BLOB))
# Each with a value of its own in every field.
FIRST = Chunk(KEY, "target", 2, "c", "t", 4, 5, True, 6, 8, b"payload", OPENING, Digest("sha256:9"))
QUERY = ResumeQuery(KEY, "target", 2, True, 6, "name", b"stamp", Digest("sha256:9"))
ROUTED_FRAMES: list[RoutedFrame] = [
    FIRST,
    QUERY,
    Ack(KEY, "target", 2, 9, 11, 10, True, 6),
    Lost(KEY, "target", 2, LostReason.CORRUPT, "relay", 6),
    Reset(KEY, "target", 2, True, ErrorCode.REJECTED, Fault.TARGET, "no", 6),
    ResumeReply(KEY, "target", 2, 9, True, 10, 6, Digest("sha256:9"), True),
    Query(1, "asker", "subject", True, 6),
    QueryReply(1, "asker", "responder", (CellInfo("a", 1),), 6, True),
    Handshake("asker", 7, "responder", 9, True, bytes(16), 3, b"data", 6, "no"),
]


def test_there_is_a_sample_of_each_frame_that_travels() -> None:
    assert {type(frame) for frame in ROUTED_FRAMES} == ROUTED


@pytest.mark.parametrize("frame", ROUTED_FRAMES, ids=lambda frame: type(frame).__name__)
def test_one_hop_on_a_frame_is_the_same_but_for_the_hop(frame: RoutedFrame) -> None:
    assert frame.one_hop_on() == dataclasses.replace(frame, hops_left=5)
    assert frame.hops_left == 6


def test_the_first_chunk_of_an_attempt_is_encoded_anew_and_those_behind_it_go_on_as_they_came() -> None:
    first = dataclasses.replace(FIRST, encoded=[b"as it came"])
    later = dataclasses.replace(first, open=None)
    assert first.one_hop_on().encoded is None
    assert later.one_hop_on() is later


def test_to_change_a_frame_is_an_error_while_tests_run() -> None:
    ping = Ping(1)
    with pytest.raises(FrameChanged, match=r"Ping\.nonce was changed"):
        ping.nonce = 2
    assert ping == Ping(1)


@pytest.mark.parametrize(
    ("error", "origins", "targets"),
    [
        (StreamCancelled("gone"), Fault.ORIGIN, Fault.TARGET),
        (StreamCancelled("gone", fault=Fault.NETWORK), Fault.NETWORK, Fault.NETWORK),
    ],
)
def test_a_reset_says_who_gave_up_and_whose_fault_it_was(error: CellError, origins: Fault, targets: Fault) -> None:
    told = KEY, "target", 2
    assert Reset.by_origin(*told, error) == Reset(*told, False, ErrorCode.CANCELLED, origins, "gone", HOPS)
    assert Reset.by_target(*told, error) == Reset(*told, True, ErrorCode.CANCELLED, targets, "gone", HOPS)


def test_what_is_said_of_a_frame_is_of_its_attempt() -> None:
    assert Lost.of(FIRST, LostReason.NO_ROUTE, "relay") == Lost(KEY, "target", 2, LostReason.NO_ROUTE, "relay", HOPS)
    reply = ResumeReply.to(QUERY, 9, 10, unknown=False)
    assert reply == ResumeReply(KEY, "target", 2, 9, False, 10, HOPS, probe=True)


def test_a_sign_of_life_concerns_no_stream() -> None:
    sign = ResumeQuery.showing_life("origin", 7, "target")
    assert sign == ResumeQuery(StreamKey("origin", 7, NO_STREAM), "target", 0, True, HOPS)
