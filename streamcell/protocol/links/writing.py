"""Which chunk goes next on a lane.

A cell's own streams and those that it relays take turns by the same rule (``schedule.py``): small ones on the control
lane, then bulk on lanes of its own, or, with a neighbour that has one lane only, a bounded amount of it on that.
"""

from __future__ import annotations

from streamcell.protocol.flow.schedule import RoundRobin
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import ChunkSource, Link
from streamcell.protocol.wire.frames import Chunk, LaneRole

# A chunk costs this much of a stream's turn beside its payload, so that empty and tiny chunks are not free.
_CHUNK_OVERHEAD_BYTES = 128


def next_chunk(link: Link, lane: Lane, now: float, *, control: bool) -> Chunk | None:
    """Return the next chunk for a lane: a small one where control frames go, else bulk, if the lane takes it."""
    chunk = _take_turn(link.small, link, lane, None, now, control=True) if control else None
    if chunk is not None or len(link.bulk) == 0:
        return chunk
    if lane.role is LaneRole.BULK:
        return _take_turn(link.bulk, link, lane, None, now, control=control)
    if link.has_bulk_lane() or link.allows_bulk_lanes():
        return None
    room = lane.shared_room.free_bytes
    chunk = _take_turn(link.bulk, link, lane, room, now, control=True) if room > 0 else None
    if chunk is not None:
        lane.shared_room.take(len(chunk.payload))
    return chunk


def _take_turn(
    queue: RoundRobin[ChunkSource], link: Link, lane: Lane, room: int | None, now: float, *, control: bool
) -> Chunk | None:
    """Return the chunk of the stream whose turn it is, if any can go on the lane."""
    if len(queue) == 0:
        return None
    source = queue.next(lambda candidate: candidate.lane_id in (None, lane.lane_id))
    if source is None:
        return None
    chunk = source.take_chunk(link, lane, room, now, control=control)
    queue.charge(source, len(chunk.payload) + _CHUNK_OVERHEAD_BYTES)
    return chunk
