"""A stream that passes through a cell in the middle.

A :class:`RelayStream` holds chunks of one attempt between the link that they come from and the link that they go to,
never more than the window that it has given upwards, and one chunk. It opens none of them. It is finished when the
stream's last word passes, when its ends have been silent for the stream's idle timeout, or when a link goes down.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from streamcell.errors import ProtocolError
from streamcell.limits import CHUNK_PAYLOAD_BYTES, INITIAL_CREDIT_BYTES, SMALL_STREAM_BYTES
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.credit import Window
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.relaying.states import (
    RELAY_TABLE,
    RelayAction,
    RelayInput,
    RelayState,
)
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, StreamKey


class RelayStream(Timed):
    """One stream, as the relay sees it.

    Offsets: ``forwarded`` (every byte below was put on a lane), ``given`` (how far the Credits of the next hop let it
    go, None before the first), ``credit`` (the same, or the initial credit), ``told`` (how far its own Credits let the
    previous hop go, None before the first), ``granted`` (the same, or the initial credit). It lets the previous hop go
    no further than the next one lets it go itself: an origin is not to take the memory of a relay for the target's.
    """

    def __init__(
        self,
        key: StreamKey,
        target: str,
        attempt: int,
        up: Link,
        down: Link,
        on_timer: Callable[[RelayStream, float], None],
        on_turn: Callable[[RelayStream, int], None],
    ) -> None:
        super().__init__()
        self.key = key
        self.target = target
        self.state = RelayState.WAITING
        self.attempt = attempt
        self.up = up
        self.down = down
        self.idle_timeout_s = 0.0
        self.heard_at = 0.0
        # As a member of a round robin.
        # This attempt.
        self.bulk = True
        self.begin_offset = 0
        self.forwarded = 0
        self.credit = 0
        self.given: int | None = None
        self.granted = 0
        self.told: int | None = None
        self.arrived = 0
        self.held_bytes = 0
        self.last_forwarded = False
        self.lane_id: int | None = None
        self.lanes_used: set[int] = set()
        self.window: Window | None = None
        self.credit_due = False
        self.ack: Ack | None = None
        self.ack_due = False
        self._on_timer = on_timer
        self._on_turn = on_turn
        self._waiting: list[tuple[int, int, Chunk]] = []
        self._arrivals = 0
        self._beyond_gap: dict[int, int] = {}

    def __repr__(self) -> str:
        return (
            f"<RelayStream {self.key.stream_id} {self.key.origin} to {self.target} {self.state.name} "
            f"attempt {self.attempt} forwarded {self.forwarded} holds {self.held_bytes}>"
        )

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to the table that the stream is in."""
        self._on_timer(self, now)

    def step(self, event: RelayInput) -> RelayAction:
        """Advance the state and return what is to be done."""
        action, self.state = step(RELAY_TABLE, self.state, event)
        return action

    @property
    def chunks_held(self) -> int:
        """How many chunks wait for their turn."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """Bytes forwarded in this attempt that the target has not said it has."""
        confirmed = self.begin_offset if self.ack is None else self.ack.received
        return max(0, self.forwarded - confirmed)

    @property
    def unconfirmed(self) -> bool:
        """Whether anything that was forwarded in this attempt, its beginning and end included, is not confirmed."""
        return self.ack is None or self.given is None or self.in_flight > 0 or self.last_forwarded

    def can_send(self) -> bool:
        """Return whether the next chunk may go: its first byte lies within the credit, or it has none."""
        if self.state is not RelayState.FORWARDING or not self._waiting:
            return False
        chunk = self._waiting[0][2]
        return len(chunk.payload) == 0 or chunk.offset < self.credit

    def goes_by(self, link: Link) -> bool:
        """Return whether its way leads over ``link``."""
        return self.down is link

    def clear(self) -> None:
        """Drop everything that belongs to the present attempt."""
        self._waiting.clear()
        self._beyond_gap.clear()
        self.lanes_used.clear()
        self.lane_id = None
        self.held_bytes = self.credit = 0
        self.given = self.told = None
        self.credit_due = self.ack_due = False
        self.ack = None
        if self.window is not None:
            self.window.close()
            self.window = None

    def begin(self, chunk: Chunk, window: Window) -> None:
        """Begin the present attempt with its first chunk."""
        opening = chunk.open
        size = None if opening is None else opening.size
        self.bulk = size is None or size > SMALL_STREAM_BYTES
        self.begin_offset = self.forwarded = self.arrived = chunk.offset
        # A Credit may have come already, with the answer to the query that began the attempt.
        self.credit = max(self.credit, chunk.offset + self.down.initial_credit)
        self.granted = chunk.offset + INITIAL_CREDIT_BYTES
        self.last_forwarded = False
        self.window = window
        if self.bulk and not chunk.last:
            window.begin_as(self.up.remembered_window, None if size is None else size - chunk.offset)
        self._extend_grant()

    def push(self, chunk: Chunk) -> None:
        """Take in a chunk.

        :raises ProtocolError: if the previous hop ignored its credit.
        """
        size = len(chunk.payload)
        if size > 0 and chunk.offset >= self.granted + CHUNK_PAYLOAD_BYTES:
            raise ProtocolError(
                f"stream {self.key.stream_id} from {self.key.origin} came with offset {chunk.offset} at a credit of "
                f"{self.granted}"
            )
        self._arrivals += 1
        heapq.heappush(self._waiting, (chunk.sequence, self._arrivals, chunk))
        self.held_bytes += size
        self.arrived = max(self.arrived, chunk.offset + size)

    def extend_credit(self, offset: int) -> None:
        """Take in a Credit for the present attempt, which is from now on free to go by any lane of the link."""
        self.lane_id = None
        self.given = offset if self.given is None else max(self.given, offset)
        self.credit = max(self.credit, offset)
        self._extend_grant()

    def take_chunk(self, link: Link, lane: Lane, room: int | None, now: float, *, control: bool) -> Chunk:
        """Return the next chunk; only when ``can_send``."""
        chunk = heapq.heappop(self._waiting)[2]
        size = len(chunk.payload)
        self.held_bytes -= size
        self.lanes_used.add(lane.lane_id)
        self.lane_id = lane.lane_id if self.given is None else None
        self.last_forwarded = self.last_forwarded or chunk.last
        self._note_forwarded(chunk.offset, chunk.offset + size)
        self._extend_grant()
        self._on_turn(self, size)
        return chunk

    def take_control_frames(self) -> list[Credit | Ack]:
        """Return the Credit and the Ack that are due, as they stand now."""
        frames: list[Credit | Ack] = []
        if self.credit_due and self.told is not None:
            frames.append(Credit(self.key, self.target, self.attempt, self.told))
        self.credit_due = False
        if self.ack_due and self.ack is not None:
            self.ack_due = False
            frames.append(self.ack)
        return frames

    def _note_forwarded(self, start: int, end: int) -> None:
        """Move on the offset below which everything was forwarded. Chunks may come by lanes that differ in speed."""
        if start != self.forwarded:
            self._beyond_gap[start] = end
            return
        self.forwarded = end
        while (following := self._beyond_gap.pop(self.forwarded, None)) is not None:
            self.forwarded = following

    def _extend_grant(self) -> None:
        window = self.window
        if window is None:
            return
        if self.bulk:
            window.grow(self.forwarded - self.begin_offset, self.arrived - self.begin_offset)
        if self.given is None:
            return
        limit = min(self.forwarded + window.size, self.given)
        if self.told is None or limit - self.told >= window.step_bytes or self.told < limit == self.given:
            self.told = limit
            self.granted = max(self.granted, limit)
            self.credit_due = True
