"""Which chunk goes next on a lane. Imports L0 and the smaller parts of ``protocol``.

A cell's own streams and those that it relays take turns by the same rule (``schedule.py``): small ones on the control
lane, then bulk on lanes of its own, or, with a peer that has one lane only, a bounded amount of it on that.
"""

from __future__ import annotations

from streamcell.limits import SHARED_LANE_IN_FLIGHT_BYTES
from streamcell.protocol.frames import Chunk
from streamcell.protocol.link import ChunkSource, Lane, Link
from streamcell.protocol.links import LinkTable

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
        # While bulk has a lane of its own the writer of control frames is spared a turn for each chunk.
        control = link.control_lane() if link.has_bulk_lane() else None
        for lane in link.lanes.values():
            if lane is not control:
                self._links.lanes.wake(lane)

    def withdraw(self, link: Link | None, source: ChunkSource) -> None:
        """A stream does not go by the link any more."""
        if link is not None:
            link.outbox.forget(source)
            link.bulk_sources.pop(source.key, None)
            self.wake_bulk(link)

    def wake_bulk(self, link: Link | None) -> None:
        """One stream made room in flight on a shared lane, which another may have waited for."""
        if link is not None and len(link.bulk) > 0 and not link.has_bulk_lane():
            self._links.wake_control(link)

    def next_chunk(self, link: Link, lane: Lane, now: float, *, control: bool) -> Chunk | None:
        """Return the next chunk for a lane: small streams first where it is the control lane, then bulk if it may."""
        shared = control and not link.has_bulk_lane() and not self._links.allows_bulk_lanes(link)
        queues = [link.small] if control else []
        if shared or not control:
            queues.append(link.bulk)
        for queue in queues:
            room = _shared_lane_room(link) if queue is link.bulk and shared else None
            if room == 0:
                continue
            source = queue.next(lambda candidate: candidate.lane_id in (None, lane.lane_id))
            if source is not None:
                chunk = source.take_chunk(link, lane, room, now, control=control)
                queue.charge(source, len(chunk.payload) + _CHUNK_OVERHEAD_BYTES)
                return chunk
        return None


def _shared_lane_room(link: Link) -> int:
    in_flight = sum(source.in_flight for source in link.bulk_sources.values())
    return max(0, SHARED_LANE_IN_FLIGHT_BYTES - in_flight)
