"""Who a frame comes from, and who it is for.

Frames that travel further than to the neighbour name both: a frame of a stream its origin and its target, a query who
asks and who is asked about. Which of the two sent it follows from its kind.
"""

from __future__ import annotations

from typing import TypeAlias

from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Handshake,
    Lost,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
)

StreamFrame: TypeAlias = Chunk | ResumeQuery | Reset | Ack | ResumeReply | Lost
RoutedFrame: TypeAlias = StreamFrame | Query | QueryReply | Handshake
# Who shares with others what a cell has: the neighbour that frames come by, and the cell that made them.
Party: TypeAlias = tuple[str, str]

ROUTED = frozenset((Chunk, ResumeQuery, Reset, Ack, ResumeReply, Lost, Query, QueryReply, Handshake))


def goes_to_target(frame: StreamFrame) -> bool:
    """Return whether a frame of a stream goes from the origin to the target, or the other way."""
    return isinstance(frame, (Chunk, ResumeQuery)) or (isinstance(frame, Reset) and not frame.from_target)


def ends_of(frame: RoutedFrame) -> tuple[str, str]:
    """Return the names of the cell that made the frame and of the one that it is for."""
    # Most frames are of one of these kinds.
    if isinstance(frame, (Chunk, ResumeQuery)):
        return frame.key.origin, frame.target
    if isinstance(frame, (Ack, ResumeReply)):
        return frame.target, frame.key.origin
    return source_of(frame), destination_of(frame)


def source_of(frame: RoutedFrame) -> str:
    """Return the name of the cell that made the frame."""
    if isinstance(frame, Query):
        return frame.asker
    if isinstance(frame, QueryReply):
        return frame.responder
    if isinstance(frame, Handshake):
        return frame.responder if frame.from_responder else frame.initiator
    if isinstance(frame, Lost):
        return frame.reporter
    return frame.key.origin if goes_to_target(frame) else frame.target


def destination_of(frame: RoutedFrame) -> str:
    """Return the name of the cell that the frame is for; for a query, of the cell that is asked about."""
    if isinstance(frame, Query):
        return frame.subject
    if isinstance(frame, QueryReply):
        return frame.asker
    if isinstance(frame, Handshake):
        return frame.initiator if frame.from_responder else frame.responder
    return frame.target if goes_to_target(frame) else frame.key.origin
