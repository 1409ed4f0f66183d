"""Which chunk goes next on a lane.

A cell's own streams and those that it relays take turns by the same rule (``schedule.py``): small ones on the control
lane, then bulk on lanes of its own, or, with a neighbour that has one lane only, a bounded amount of it on that.
"""

from __future__ import annotations

from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Chunk, LaneRole

# A chunk costs this much of a stream's turn beside its payload, so that empty and tiny chunks are not free.
_CHUNK_OVERHEAD_BYTES = 128


def next_chunk(link: Link, lane: Lane, now: float, *, control: bool) -> Chunk | None:
    """Return the next chunk for a lane: a small one where control frames go, else bulk, if the lane takes it."""
    queue, room = link.small, None
    source = queue.next(lane) if control and queue.members else None
    if source is None and link.bulk.members:
        queue = link.bulk
        if lane.role is not LaneRole.BULK:
            control = True
            room = _room_beside_control(link, lane)
        source = queue.next(lane) if room != 0 else None
    if source is None:
        return None
    chunk = source.take_chunk(link, lane, room, now, control=control)
    queue.charge(source, len(chunk.payload) + _CHUNK_OVERHEAD_BYTES)
    if room is not None:
        lane.shared_room.take(len(chunk.payload))
    return chunk


def _room_beside_control(link: Link, lane: Lane) -> int:
    """Return how much bulk a lane takes that carries control, too: none where bulk has lanes of its own."""
    return 0 if link.has_bulk_lane() or link.allows_bulk_lanes() else lane.shared_room.free_bytes
