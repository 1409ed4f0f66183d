"""Which chunk goes next on a lane. Imports L0 and the smaller parts of ``protocol``.

A cell's own streams and those that it relays take turns by the same rule (``schedule.py``): small ones on the control
lane, then bulk on lanes of its own, or, with a peer that has one lane only, a bounded amount of it on that.
"""

from __future__ import annotations

from streamcell.limits import SHARED_LANE_IN_FLIGHT_BYTES
from streamcell.protocol.frames import Chunk
from streamcell.protocol.link import ChunkSource, Lane, Link
from streamcell.protocol.links import LinkTable
from streamcell.protocol.schedule import RoundRobin

# A chunk costs this much of a stream's turn beside its payload, so that empty and tiny chunks are not free.
_CHUNK_OVERHEAD_BYTES = 128


class Writing:
    """Gives the streams that can send their places, and the lanes their chunks."""

    def __init__(self, links: LinkTable) -> None:
        self._links = links

    def offer(self, link: Link, source: ChunkSource, now: float, *, bulk: bool) -> None:
        """Put a stream that can send where the link's writers find it."""
        if not bulk:
            link.small.add(source)
            self._links.wake_control(link)
            return
        link.bulk.add(source)
        link.bulk_sources[source.key] = source
        self._links.want_bulk_lanes(link, now)
        self._links.wake_all(link)

    def withdraw(self, link: Link | None, source: ChunkSource) -> None:
        """A stream does not go by the link any more."""
        if link is not None:
            link.outbox.forget(source)
            link.bulk_sources.pop(source.key, None)
            self.wake_bulk(link)

    def wake_bulk(self, link: Link | None) -> None:
        """One stream made room in flight on a shared lane, which another may have waited for."""
        if link is not None and len(link.bulk) > 0:
            self._links.wake_control(link)

    def next_chunk(self, link: Link, lane: Lane, now: float, *, control: bool) -> Chunk | None:
        """Return the next chunk for a lane: small streams first where it is the control lane, then bulk if it may."""
        chunk = _chunk_of(link.small, link, lane, None, now, control=True) if control else None
        if chunk is not None or len(link.bulk) == 0:
            return chunk
        if not control:
            return _chunk_of(link.bulk, link, lane, None, now, control=False)
        if link.has_bulk_lane() or self._links.allows_bulk_lanes(link):
            return None
        room = _shared_lane_room(link)
        return _chunk_of(link.bulk, link, lane, room, now, control=True) if room > 0 else None


def _chunk_of(
    queue: RoundRobin[ChunkSource], link: Link, lane: Lane, room: int | None, now: float, *, control: bool
) -> Chunk | None:
    source = queue.next(lambda candidate: candidate.lane_id in (None, lane.lane_id))
    if source is None:
        return None
    chunk = source.take_chunk(link, lane, room, now, control=control)
    queue.charge(source, len(chunk.payload) + _CHUNK_OVERHEAD_BYTES)
    return chunk


def _shared_lane_room(link: Link) -> int:
    in_flight = sum(source.in_flight for source in link.bulk_sources.values())
    return max(0, SHARED_LANE_IN_FLIGHT_BYTES - in_flight)
