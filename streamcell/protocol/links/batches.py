"""What a lane's writer gets when it asks for the next batch.

The order within a batch: what the lane itself has to say, control frames of its link, Pings (what they tell of settled
streams must not overtake a Reset), chunks, and a Goodbye last. Frames of the link go on its control lane only, chunks
on any that is usable.
"""

from __future__ import annotations

from streamcell.errors import ErrorCode
from streamcell.limits import WRITTEN_FRAMES
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.links.writing import FRAME_BYTES, take_chunks
from streamcell.protocol.wire.frames import (
    NO_STREAM,
    Ack,
    Announce,
    AnnounceReply,
    Frame,
    LaneRole,
    Lost,
    Ping,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
)


class Batches:
    """Makes the batches of all lanes."""

    def __init__(self, context: Context, settled: SettledNews) -> None:
        self._context = context
        self._settled = settled

    def take(self, lane: Lane, now: float) -> list[Frame]:
        """Return the next batch for a lane; empty: nothing now."""
        link = lane.link
        if not (lane.own_frames or lane.goodbye is not None) and (
            link is None or not (link.small.members or link.bulk.members or link.outbox)
        ):
            # Writers ask more often than there is anything to say.
            return []
        frames, pings = lane.take_own_frames() if lane.own_frames else ([], [])
        asks = False
        # A lane that ends by itself takes nothing more with it: the link's other lanes, or later ones, do. The last
        # lane of a link of a cell that stops takes all that is left.
        flushes = lane.goodbye is not None and lane.goodbye.code is ErrorCode.STOPPING
        usable = lane.usable
        if link is not None and (usable or flushes):
            control = link.control_lane() is lane
            if control or flushes:
                asks = self._take_control_frames(link, lane, frames, now)
            if control and pings:
                pings[-1] = self._settled.telling(link, pings[-1])
            frames += pings
            if usable:
                size = sum(map(_frame_bytes, frames))
                asks = take_chunks(link, lane, frames, size, now, control=control) or asks
                if lane.role is not LaneRole.BULK and lane.shared_room.wants_mark:
                    frames.append(self._mark(lane))
        elif lane.goodbye is None:
            frames += pings
        if lane.goodbye is not None and not (flushes and link is not None and link.outbox):
            frames += lane.take_goodbye()
        if asks:
            lane.on_spoken(now)
        return frames

    def _take_control_frames(self, link: Link, lane: Lane, frames: list[Frame], now: float) -> bool:
        """Put what the link has to say behind what is in a batch; return whether any of it is a question."""
        asks = False
        for frame in link.outbox.take(WRITTEN_FRAMES // 2, lane.lane_id, now):
            frames.append(frame)
            asks = asks or _is_question(frame)
            if self._is_said_once(frame, link):
                lane.note_carried(frame)
        return asks

    def _is_said_once(self, frame: Frame, link: Link) -> bool:
        """Return whether there is no state behind a frame that would have it said again, should its lane break."""
        if isinstance(frame, (Ack, Reset)) and frame.target == self._context.fqcn and frame.key.origin == link.fqcn:
            # The last words about streams of a neighbour are remembered until it says that they are settled.
            return isinstance(frame, Reset) and not frame.from_target
        if isinstance(frame, Ack):
            return frame.complete
        if isinstance(frame, AnnounceReply):
            # A name that was accepted before is not announced again by itself.
            return frame.code is not ErrorCode.UNSPECIFIED and not frame.wait
        if isinstance(frame, (Query, QueryReply)):
            # Whoever is not heard in time loses its name.
            return frame.contested
        if isinstance(frame, (ResumeQuery, ResumeReply)) and frame.key.stream_id != NO_STREAM:
            # A sender of this cell asks again by itself, and so does whoever sent a probe.
            return not frame.probe and not (isinstance(frame, ResumeQuery) and self._context.is_own(frame.key))
        return isinstance(frame, (Lost, Reset, ResumeQuery, ResumeReply))

    def _mark(self, lane: Lane) -> Ping:
        """Return a Ping to follow bulk that shares the lane with control."""
        nonce = self._context.random_bits(64)
        lane.shared_room.mark(nonce)
        return Ping(nonce)


def _is_question(frame: Frame) -> bool:
    """Return whether the other side answers on some lane of the link, so that silence is suspicious."""
    return isinstance(frame, Query) or (isinstance(frame, ResumeQuery) and frame.key.stream_id != NO_STREAM)


def _frame_bytes(frame: Frame) -> int:
    """Return about what a control frame takes of a batch, so that a batch stays well below what a neighbour takes."""
    if isinstance(frame, Ack):
        return FRAME_BYTES
    if isinstance(frame, (Reset, AnnounceReply)):
        return FRAME_BYTES + len(frame.sentence)
    if isinstance(frame, Announce):
        return FRAME_BYTES + sum(map(len, frame.path))
    if isinstance(frame, QueryReply):
        return FRAME_BYTES * (1 + len(frame.cells))
    return FRAME_BYTES
