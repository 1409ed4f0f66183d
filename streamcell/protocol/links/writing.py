"""Which chunks go next on a lane.

A cell's own streams and those that it relays take turns by the same rule (``schedule.py``): small ones on the control
lane, then bulk on lanes of its own, or, with a neighbour that has one lane only, a bounded amount of it on that.
"""

from __future__ import annotations

from streamcell.limits import BATCH_BYTES, WRITTEN_FRAMES
from streamcell.message import HeaderValue
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import Frame, LaneRole

# A chunk costs this much of a stream's turn beside its payload, so that empty and tiny chunks are not free.
_CHUNK_OVERHEAD_BYTES = 128
# A frame counts this much of a batch; payload, headers and sentences come on top where there are any.
FRAME_BYTES = 64
_NUMBER_BYTES = 8
# Asked for each batch: found once, since a member of an enumeration is found slowly before Python 3.12.
_BULK = LaneRole.BULK


def take_chunks(link: Link, lane: Lane, frames: list[Frame], size: int, now: float, *, control: bool) -> bool:
    """Put chunks behind what is in a batch of about ``size`` bytes, until it is full; return whether there were any.

    Small ones where control frames go (``control``), then bulk, if the lane takes it.
    """
    before = len(frames)
    for queue in (link.small, link.bulk) if control else (link.bulk,):
        if not queue.members:
            continue
        shares = queue is link.bulk and lane.role is not _BULK
        room = _room_beside_control(link, lane) if shares else None
        source = queue.next(lane) if room != 0 else None
        while source is not None and size < BATCH_BYTES and len(frames) < WRITTEN_FRAMES:
            chunk = source.take_chunk(link, lane, room, now, control=control or shares)
            frames.append(chunk)
            length = len(chunk.payload)
            size += FRAME_BYTES + length
            if chunk.open is not None:
                size += sum(len(key) + _value_bytes(value) for key, value in chunk.open.description.headers)
            source = queue.next(lane, taken=length + _CHUNK_OVERHEAD_BYTES)
            if shares:
                lane.shared_room.take(length)
                room = _room_beside_control(link, lane)
                if room == 0:
                    break
    return len(frames) > before


def _room_beside_control(link: Link, lane: Lane) -> int:
    """Return how much bulk a lane takes that carries control, too: none where bulk has lanes of its own."""
    return 0 if link.has_bulk_lane() or link.allows_bulk_lanes() else lane.shared_room.free_bytes


def _value_bytes(value: HeaderValue) -> int:
    return len(value) if isinstance(value, str | bytes) else _NUMBER_BYTES
