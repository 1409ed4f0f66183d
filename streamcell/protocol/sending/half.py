"""The sending half of a stream.

A :class:`StreamSender` is finished when its state is SETTLED: the target confirmed the whole stream, or one side gave
it up. It keeps every byte that the target has not yet consumed, or every byte of what is delivered whole, so that it
can send them again. What it decides by itself are its chunks; when to begin attempts is decided in ``sends.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamcell.errors import CellError
from streamcell.limits import HOPS, INITIAL_CREDIT_BYTES
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.sending.buffer import SendBuffer
from streamcell.protocol.sending.states import (
    SENDER_TABLE,
    SenderAction,
    SenderInput,
    SenderState,
)
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Chunk, IdRuns, Open, Payload, Reset, ResumeQuery, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields

if TYPE_CHECKING:
    from streamcell.protocol.links.link import Lane, Link


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SendSpec:
    """What an application wants sent: where to, what it is, and what only the sending side has to know of it.

    ``unreachable_timeout_s`` 0: never. ``optional``: it fails at once while there is no way to the target.
    ``retry_unknown``: what is delivered whole is sent again to a life of the target that does not know it, though an
    earlier one may have had all of it. ``kept``: all bytes are supplied at once and stay where they are, so that none
    has to be asked for again.
    """

    target: str
    channel: str
    topic: str
    description: StreamDescription
    unreachable_timeout_s: float
    optional: bool = False
    retry_unknown: bool = False
    kept: bool = False


class StreamSender(Timed):
    """The origin's half of one stream.

    Offsets, from low to high: ``consumed`` (the target's reader took it), ``received`` (the target has it),
    ``next_offset`` (put on a lane in this attempt), ``buffer.end`` (supplied by the source).
    """

    __slots__ = (
        "_chunk_bytes",
        "_context",
        "acknowledged",
        "answered",
        "asked",
        "attempt",
        "backoff_until",
        "buffer",
        "ceiling",
        "consumed",
        "credit",
        "digest",
        "granted",
        "heard_at",
        "key",
        "lane_id",
        "lanes_used",
        "last_ever_sent",
        "last_sent",
        "last_sent_before",
        "link",
        "lost_in_a_row",
        "next_offset",
        "on_timer",
        "on_turn",
        "opened",
        "placed",
        "probe_due",
        "query_due",
        "received",
        "seen_before",
        "sent_end",
        "sequence",
        "source_ended",
        "source_error",
        "spec",
        "spoke_at",
        "state",
        "taken_up",
        "target_incarnation",
        "total",
        "wanted",
    )

    def __init__(self, context: Context, spec: SendSpec, stream_id: int) -> None:
        super().__init__()
        self.spec = spec
        self.key = StreamKey(context.fqcn, context.incarnation, stream_id)
        self.state = SenderState.QUEUED
        self.buffer = SendBuffer()
        self.link: Link | None = None
        # This attempt.
        self.attempt = 1
        self.sequence = 0
        self.next_offset = 0
        self.credit = 0
        self.granted = 0
        self.opened = False
        self.last_sent = False
        self.answered = False
        self.lane_id: int | None = None
        self.lanes_used: set[int] = set()
        self.query_due = False
        # Whether its question was put on a lane: then the attempt has its way, as after its first chunk.
        self.asked = False
        self.probe_due = False
        # All attempts.
        self.received = 0
        self.consumed = 0
        self.sent_end = 0
        # The highest credit that the present life of the target has given, or None before the first attempt to it.
        self.ceiling: int | None = None
        self.acknowledged = False
        # Whether this life of the target has acknowledged it where it was placed, and whether an earlier one has.
        self.taken_up = False
        self.seen_before = False
        # Whether the target and this sender mean the same by an offset: not while the target is to choose one.
        self.placed = True
        self.last_ever_sent = False
        # The same, of the attempts before this one.
        self.last_sent_before = False
        # The life of the target that the stream is for, None if any may have it.
        self.target_incarnation: int | None = None
        self.lost_in_a_row = 0
        # The source.
        self.source_ended = False
        self.source_error: CellError | None = None
        # How many bytes the source had when it ended first, which it has to have again.
        self.total: int | None = None
        self.digest = ""
        self.wanted = 0
        # Time.
        self.on_timer: Callable[[StreamSender, float], None] | None = None
        self.on_turn: Callable[[StreamSender, Link, Lane, int | None, float, bool], Chunk] | None = None
        self.heard_at = 0.0
        self.spoke_at = 0.0
        self.backoff_until = 0.0
        self._context = context
        self._chunk_bytes = context.config.chunk_bytes

    def __repr__(self) -> str:
        return (
            f"<StreamSender {self.key.stream_id} to {self.spec.target} {self.state.name} attempt {self.attempt} "
            f"sent {self.next_offset} received {self.received} consumed {self.consumed}>"
        )

    @property
    def credited(self) -> bool:
        """Whether the next hop has given credit to the present attempt."""
        return self.granted > 0

    @property
    def whole(self) -> bool:
        """Whether the target gets the stream in one piece, so that all of it is kept until it is confirmed."""
        return self.spec.description.kind.whole

    @property
    def keeps_all(self) -> bool:
        """Whether every byte stays in the buffer until the stream is settled."""
        return self.whole or self.spec.kept

    @property
    def asks_offset(self) -> bool:
        """Whether a life of the target that does not know the stream is to say where to go on."""
        return not self.whole and (self.seen_before or bool(self.spec.description.resume_id))

    @property
    def speaks(self) -> bool:
        """Whether the stream is under way, so that silence about it would look like death."""
        return self.opened or self.state is SenderState.SEEKING

    @property
    def in_flight(self) -> int:
        """Bytes sent in this attempt that the target has not said it has."""
        return max(0, self.next_offset - self.received) if self.opened else 0

    @property
    def unconfirmed(self) -> bool:
        """Whether anything that was sent in this attempt, an end included, is not confirmed.

        Without a Credit that it waits for it cannot know: the Ack may be one that answered the query.
        """
        waits = not self.credited and self.next_offset >= self.credit
        return self.opened and (self.in_flight > 0 or self.last_sent or not self.answered or waits)

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to the table that the stream is in."""
        if self.on_timer is not None:
            self.on_timer(self, now)

    def step(self, event: SenderInput) -> SenderAction:
        """Advance the state and return what is to be done."""
        action, self.state = step(SENDER_TABLE, self.state, event)
        return action

    def can_send(self) -> bool:
        """Return whether a chunk may be cut now."""
        if self.link is None or self.state not in (SenderState.SENDING, SenderState.AWAITING_OFFSET):
            return False
        if not self.opened:
            return True
        if self.state is SenderState.AWAITING_OFFSET:
            return False
        if self.next_offset < self.buffer.end:
            return self.next_offset < self.credit
        return self.source_ended

    def goes_by(self, link: Link) -> bool:
        """Return whether its way leads over ``link``."""
        return self.link is link

    def take_chunk(self, link: Link, lane: Lane, room: int | None, now: float, *, control: bool) -> Chunk:
        """Return the next chunk, of at most ``room`` bytes; only when ``can_send``."""
        if self.on_turn is None:
            return self.cut_chunk(0, (), room)
        return self.on_turn(self, link, lane, room, now, control)

    def begin(self, offset: int, initial_credit: int) -> None:
        """Go on at ``offset`` in the present attempt.

        Its initial credit goes no further than what this life of the target gave before: see ``StreamReceiver``.
        Behind an offset that the target has chosen it is for the target to say how much of what it has is read.
        It is 0 where nobody can give any: while there is no way, or before the target has chosen an offset.
        """
        self.sequence = 0
        self.next_offset = offset
        if not self.placed:
            self.ceiling = offset or None
        initial = offset + initial_credit
        if self.ceiling is not None:
            initial = min(initial, max(self.ceiling, offset))
        self.credit = max(initial, self.granted)
        if initial_credit > 0:
            self.ceiling = max(self.ceiling or 0, self.credit)
        self.opened = self.last_sent = self.answered = False
        self.lane_id = None
        self.query_due = False

    def ask(self) -> None:
        """Begin to ask for the offset of a new attempt."""
        self.raise_attempt()
        self.query_due = True

    def raise_attempt(self) -> None:
        """Begin a new attempt, whose offset is to be set by ``begin``."""
        self.attempt += 1
        # It begins with a frame of its own, which shows that this end is alive.
        self.asked = self.probe_due = False
        self.last_sent_before = self.last_ever_sent
        self.granted = 0
        self.opened = self.last_sent = self.answered = False
        self.lane_id = None
        self.lanes_used.clear()

    def aim(self, life: int | None) -> None:
        """Let the first attempt be for ``life`` of the target, the one that is there as far as is known.

        Any other is for the life that has answered the question which it begins with.
        """
        if life is not None and self.attempt == 1:
            self.target_incarnation = life

    def note_refused(self) -> None:
        """Take note that this attempt was for another life of the target than the one that it came to.

        Its first chunk comes before all others, so no life has got its end.
        """
        self.last_ever_sent = self.last_sent_before

    def place(self, offset: int) -> None:
        """Take ``offset`` as where the target stands; less or more than was confirmed if it is not the same life."""
        if not self.placed:
            self.placed = True
            self.received = self.consumed = offset
        self.received = max(self.received, offset)

    def forget_target(self) -> None:
        """Begin anew with a life of the target that does not know the stream."""
        self.received = self.consumed = 0
        self.acknowledged = self.taken_up = False
        self.ceiling = None
        if self.whole and not self.spec.retry_unknown:
            # It would not be sent again if any life could have it.
            self.last_ever_sent = self.last_sent_before = False

    def extend_credit(self, offset: int) -> None:
        """Take in a Credit for the present attempt, which is from now on free to go by any lane.

        It may overtake the answer that lets the attempt begin.
        """
        self.lane_id = None
        self.granted = max(self.granted, offset)
        self.credit = max(self.credit, offset)
        self.ceiling = max(self.ceiling or 0, self.credit)

    def confirm(self, received: int, consumed: int) -> None:
        """Take in what the target says it has, and forget what need not be sent again."""
        self.received = max(self.received, received)
        if consumed > self.consumed:
            self.consumed = consumed
            if not self.keeps_all:
                # Never what this attempt is to send, though the target may have it from an earlier one.
                self.buffer.drop_below(min(consumed, self.next_offset))

    def source_room(self) -> int:
        """Return how many more bytes the source may supply now: whole chunks, where there is room for one."""
        if self.source_ended or self.source_error is not None or self.wanted > 0:
            return 0
        window = max(INITIAL_CREDIT_BYTES, self.credit - self.consumed)
        ahead = min(self._context.config.read_ahead_bytes, window)
        room = ahead - (self.buffer.end - self.next_offset)
        if room < ahead // 2:
            return 0
        return room - room % self._chunk_bytes if room > self._chunk_bytes else room

    def cut_chunk(self, settled_below: int, settled: IdRuns, room: int | None = None) -> Chunk:
        """Cut the next chunk, of at most ``room`` bytes; only when ``can_send``."""
        offset = self.next_offset
        limit = self._chunk_bytes if room is None else min(self._chunk_bytes, room)
        if not self.credited:
            limit = min(limit, self.credit - offset)
        payload: Payload = b""
        asks = self.state is SenderState.AWAITING_OFFSET
        if offset < self.buffer.end and limit > 0 and not asks:
            payload = self.buffer.cut(offset, limit)
        end = offset + len(payload)
        last = self.source_ended and end == self.buffer.end and not asks
        sequence = self.sequence
        fields = checksum_fields(self.key, self.attempt, sequence, offset, last=last)
        checksum = self._context.checksum
        chunk = Chunk(
            self.key,
            self.spec.target,
            self.attempt,
            self.spec.channel,
            self.spec.topic,
            sequence,
            offset,
            last,
            HOPS,
            checksum(fields, checksum(payload, 0)),
            payload,
            None if self.opened else self._open_part(settled_below, settled),
            self.digest if last else "",
        )
        self.opened = True
        self.sequence = sequence + 1
        self.next_offset = end
        self._context.counters.add(Count.BYTES_SENT, len(payload))
        if offset < self.sent_end:
            self._context.counters.add(Count.BYTES_RETRANSMITTED, min(end, self.sent_end) - offset)
        self.sent_end = max(self.sent_end, end)
        if last:
            self.last_sent = self.last_ever_sent = True
        return chunk

    def take_control_frames(self) -> list[ResumeQuery]:
        """Return the query or probe that is due."""
        if not (self.query_due or self.probe_due):
            return []
        probe = not self.query_due
        self.asked = self.asked or self.query_due
        self.query_due = self.probe_due = False
        spec = self.spec
        return [ResumeQuery.about(self.key, spec.target, self.attempt, spec.description, probe=probe)]

    def reset(self, error: CellError) -> Reset:
        """Return the frame that says that this side has given the stream up."""
        return Reset.by_origin(self.key, self.spec.target, self.attempt, error)

    def _open_part(self, settled_below: int, settled: IdRuns) -> Open:
        return Open(
            self.spec.description,
            settled_below,
            settled,
            self.seen_before,
            awaits_offset=self.state is SenderState.AWAITING_OFFSET,
            target_incarnation=self.target_incarnation or 0,
        )
