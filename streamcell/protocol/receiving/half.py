"""The receiving half of a stream.

A :class:`StreamReceiver` is finished when its state is ENDED: everything was read, approved and released, or one side
gave the stream up. It puts chunks into order, drops what it has already, checks each checksum, and says what it wants
to tell the sender: at most one Credit and one Ack, the latest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from streamcell.errors import CellError, Fault, ProtocolError, StreamIntegrityError
from streamcell.limits import (
    CHUNK_PAYLOAD_BYTES,
    HOPS,
    INITIAL_CREDIT_BYTES,
    KIB,
    MIB,
    OUT_OF_ORDER_CHUNKS,
    SHARED_LANE_IN_FLIGHT_BYTES,
)
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import StreamOpened
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.credit import Window
from streamcell.protocol.receiving.agreement import Agreement
from streamcell.protocol.receiving.states import (
    RECEIVER_TABLE,
    AgreementState,
    ReceiverAction,
    ReceiverInput,
    ReceiverState,
)
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Open, Payload, Reset, ResumeReply, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields

if TYPE_CHECKING:
    from streamcell.protocol.links.link import Link

# An Ack goes with each Credit, since each message wakes both ends. It is worth one of its own when this much is new, or
# this part of the window if that is more: while the reader keeps up, a Credit comes first.
_ACK_BYTES = 64 * KIB
_ACK_WINDOW_PART = 4
# What is assembled has all its credit from the start and is kept by its origin to the end: an Ack only shows how far it
# has come.
_ACK_ASSEMBLED_BYTES = 4 * MIB
# Less than that is said after this time.
ACK_DELAY_S = 0.1
# Of this part of the window the application tells at once that it was consumed.
_REPORT_WINDOW_PART = 8
# On a lane that is shared with control an Ack is worth a frame for this part of what may be in flight there.
_ACK_IN_FLIGHT_PART = 4


class CorruptChunk(Exception):
    """A chunk's checksum is wrong. It is treated as lost."""


class TooManyGaps(Exception):
    """More chunks wait for their predecessors than are kept. The chunk is treated as lost.

    That is nobody's fault: a source of tiny pieces gets there when one of several lanes is slow.
    """


class StreamReceiver(Timed):
    """The target's half of one stream.

    Offsets, from low to high: ``consumed`` (taken by the application), ``delivered`` (given to the shell),
    ``received`` (arrived without a gap), ``credit`` (where the sender may go).
    """

    __slots__ = (
        "_acked_consumed",
        "_acked_received",
        "_context",
        "_out_of_order",
        "_pending",
        "ack_at",
        "ack_due",
        "agreement",
        "assemble",
        "attempt",
        "callback_started",
        "channel",
        "consumed",
        "corrupt_chunks",
        "credit",
        "credit_due",
        "credited",
        "delivered",
        "description",
        "digest",
        "ended",
        "heard_at",
        "initial_limit",
        "key",
        "limit",
        "link",
        "on_timer",
        "received",
        "released",
        "reserves",
        "seen_before",
        "size",
        "spoke_at",
        "state",
        "topic",
        "unclaimed_until",
        "window",
    )

    def __init__(self, context: Context, chunk: Chunk, opening: Open, window: Window) -> None:
        super().__init__()
        self.key = chunk.key
        self.channel = chunk.channel
        self.topic = chunk.topic
        self.description = opening.description
        self.seen_before = opening.seen_before
        self.state = ReceiverState.OFFERED
        self.window = window
        self.agreement = Agreement(awaited=opening.awaits_offset and not opening.description.kind.whole)
        self.link: Link | None = None
        # This attempt.
        self.attempt = chunk.attempt
        self.credit = chunk.offset + INITIAL_CREDIT_BYTES
        self.credited = False
        # All attempts.
        self.limit = 0
        self.initial_limit = self.credit
        self.received = 0
        self.delivered = 0
        self.consumed = 0
        self.size = opening.description.size
        # Whether the life of the origin that sends it now has said where it ends.
        self.ended = False
        self.digest = opening.description.digest
        self.corrupt_chunks = 0
        # The application's side.
        self.assemble = False
        self.reserves = False
        self.callback_started = False
        # Until when a stream that goes on after a restart waits for its callback to be registered.
        self.unclaimed_until: float | None = None
        self.released = False
        # What the sender is to be told.
        self.credit_due = False
        self.ack_due = False
        # Time.
        self.on_timer: Callable[[StreamReceiver, float], None] | None = None
        self.ack_at: float | None = None
        self.heard_at = 0.0
        self.spoke_at = 0.0
        self._context = context
        self._pending: list[Payload] = []
        self._out_of_order: dict[int, Payload] = {}
        # Before the first Ack even an empty stream is news.
        self._acked_received = -1
        self._acked_consumed = 0

    def __repr__(self) -> str:
        return (
            f"<StreamReceiver {self.key.stream_id} from {self.key.origin} {self.state.name} attempt {self.attempt} "
            f"received {self.received} consumed {self.consumed} credit {self.credit}>"
        )

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to the table that the stream is in."""
        if self.on_timer is not None:
            self.on_timer(self, now)

    def step(self, event: ReceiverInput) -> ReceiverAction:
        """Advance the state and return what is to be done."""
        action, self.state = step(RECEIVER_TABLE, self.state, event)
        return action

    @property
    def all_received(self) -> bool:
        """Whether every byte has arrived and the end is known."""
        return self.ended and self.received == self.size

    @property
    def report_bytes(self) -> int:
        """How much consumption is worth telling at once: less than would ever leave the sender without credit."""
        return self.window.size // _REPORT_WINDOW_PART

    @property
    def owes_ack(self) -> bool:
        """Whether there is news that no Ack has told."""
        return self.received > self._acked_received or self.consumed > self._acked_consumed

    @property
    def shows_life(self) -> bool:
        """Whether silence of the application is no fault of it, so that the core speaks for it."""
        if self.agreement.state is AgreementState.OPEN:
            return not self.callback_started
        return not self.callback_started or self.consumed == self.received

    def opened(self) -> StreamOpened:
        """Return the event that offers the stream to the application."""
        return StreamOpened(
            self.key, self.channel, self.topic, self.description, self.seen_before, self.agreement.undecided
        )

    def enter_attempt(self, attempt: int, offset: int) -> None:
        """Go over to a higher attempt that goes on at ``offset``, and forget what is held beyond a gap.

        Its initial credit goes no further than what was given before, or else each break would let the sender fill
        more memory for a reader that stands still.
        """
        self.attempt = attempt
        self._out_of_order.clear()
        self.credit = min(offset + INITIAL_CREDIT_BYTES, max(self.limit, self.initial_limit))
        self.credited = self.credit_due = False
        self.ack_due = True
        if self.state in (ReceiverState.RECEIVING, ReceiverState.RECEIVED, ReceiverState.APPROVED):
            self.extend_credit(self.limit)

    def start_at(self, attempt: int, offset: int) -> None:
        """Begin with the byte at ``offset``, which the origin sends first in this attempt."""
        self.received = self.delivered = self.consumed = offset
        self._acked_received = self._acked_consumed = offset
        self.window.start_at(offset)
        if not self.assemble:
            self.limit = max(self.limit, offset + self.window.size)
        self.enter_attempt(attempt, offset)

    def adopt(self, chunk: Chunk, opening: Open) -> StreamKey:
        """Go on as the stream of a new life of the origin; return the key of the old one.

        The size that is known stays. But that this is all, and of which digest, the new life has to say by itself.
        """
        old_key, self.key = self.key, chunk.key
        self.description = opening.description
        self.digest = opening.description.digest
        self.size = opening.description.size if self.size is None else self.size
        self.corrupt_chunks = 0
        self.ended = False
        self.agreement.move(self.received)
        self.enter_attempt(chunk.attempt, self.received)
        return old_key

    def place(self, chunk: Chunk, *, on_shared_lane: bool) -> None:
        """Take in a chunk of the present attempt.

        :raises CorruptChunk: if its checksum is wrong; nothing was taken in.
        :raises TooManyGaps: if it lies beyond a gap, as very many do already; nothing was taken in.
        :raises StreamIntegrityError: if it contradicts the declared size or an earlier end.
        :raises ProtocolError: if the sender ignored its credit.
        """
        self.check_intact(chunk)
        self._check_credit(chunk)
        payload = chunk.payload
        end = chunk.offset + len(payload)
        if chunk.last:
            self._set_end(end)
            self.digest = chunk.digest or self.digest
        if self.size is not None and end > self.size:
            raise StreamIntegrityError(
                f"{self._name()} sent {end} bytes, more than the {self.size} that it declared",
                fault=Fault.ORIGIN,
            )
        if end > self.received and len(payload) > 0:
            self._take(chunk.offset, payload)
        whole_in_one = self.all_received and chunk.sequence == 0
        if not whole_in_one and (self.all_received or chunk.sequence == 0):
            # What came whole in one chunk is about to be confirmed as complete; if not, it is said after ACK_DELAY_S.
            self.ack_due = True
        self._weigh_ack(on_shared_lane=on_shared_lane)

    def take_pending(self) -> list[Payload]:
        """Return what arrived in order and was not yet delivered, and count it as delivered."""
        pending, self._pending = self._pending, []
        self.delivered = self.received
        if self.assemble:
            self.consume(self.delivered)
        return pending

    def consume(self, offset: int) -> None:
        """Note that the application has taken every byte below ``offset``."""
        if offset <= self.consumed:
            return
        self.consumed = min(offset, self.delivered)
        if not self.assemble:
            self.window.grow(self.consumed, self.received)
            self.extend_credit(self.consumed + self.window.size)
        self._weigh_ack(on_shared_lane=False)

    def open_window(self) -> None:
        """Give the first credit: what others from the same neighbour could use lately, if more is to come."""
        if self.link is not None and not self.all_received:
            remaining = None if self.size is None else self.size - self.consumed
            self.window.begin_as(self.link.remembered_window, remaining)
        self.extend_credit(self.consumed + self.window.size)

    def extend_credit(self, limit: int) -> None:
        """Let the sender go up to ``limit``; says so when it is worth a frame, and once in each attempt.

        Never after the last byte, once it is known to be the last: there is nothing left to let go.
        """
        self.limit = max(self.limit, limit)
        if self.all_received or not self.agreement.placed:
            return
        worth = self.limit - self.credit >= self.window.step_bytes
        if worth or not self.credited:
            self.credit = max(self.credit, self.limit)
            self.credited = self.credit_due = True

    @property
    def has_news(self) -> bool:
        """Whether the sender is to be told something."""
        return self.ack_due or self.credit_due or self.agreement.due

    def repeat(self) -> None:
        """See to it that the sender is told again what it may have missed."""
        self.ack_due = True
        self.credit_due = self.credited
        self.agreement.repeat()

    def take_control_frames(self) -> list[Ack | Credit | ResumeReply]:
        """Return the offset to go on from, the Credit and the Ack that are due, as they stand now."""
        frames: list[Ack | Credit | ResumeReply] = []
        if self.agreement.due:
            self.agreement.due = False
            frames.append(self.offset_reply())
        if self.credit_due:
            self.credit_due = False
            frames.append(Credit(self.key, self._context.fqcn, self.attempt, self.credit))
            self.ack_due = self.ack_due or self.owes_ack
        if self.ack_due:
            self.ack_due = False
            self.ack_at = None
            self._acked_received = self.received
            self._acked_consumed = self.consumed
            frames.append(self.ack(complete=False))
        return frames

    def ack(self, *, complete: bool) -> Ack:
        """Return the Ack that says where the stream stands."""
        return Ack(
            self.key,
            self._context.fqcn,
            self.attempt,
            target_incarnation=self._context.incarnation,
            received=self.received,
            consumed=self.consumed,
            complete=complete,
            hops_left=HOPS,
        )

    def reset(self, error: CellError) -> Reset:
        """Return the last word of a stream that this side has given up."""
        return Reset.by_target(self.key, self._context.fqcn, self.attempt, error)

    def offset_reply(self) -> ResumeReply:
        """Return the frame that tells where the origin is to go on."""
        agreement = self.agreement
        return ResumeReply(
            self.key,
            self._context.fqcn,
            self.attempt,
            target_incarnation=self._context.incarnation,
            unknown=False,
            offset=agreement.offset,
            hops_left=HOPS,
            prefix_digest=agreement.prefix_digest,
        )

    def forget_payload(self) -> None:
        """Drop every byte that is held, and give the window back."""
        self._pending.clear()
        self._out_of_order.clear()
        self.window.close()

    def _name(self) -> str:
        return f"stream {self.key.stream_id} from {self.key.origin}"

    def check_intact(self, chunk: Chunk) -> None:
        """Compare a chunk's checksum.

        :raises CorruptChunk: if it is wrong.
        """
        checksum = self._context.checksum
        fields = checksum_fields(chunk.key, chunk.attempt, chunk.sequence, chunk.offset, last=chunk.last)
        if checksum(fields, checksum(chunk.payload, 0)) != chunk.checksum:
            raise CorruptChunk

    def _check_credit(self, chunk: Chunk) -> None:
        if len(chunk.payload) > 0 and chunk.offset >= self.credit + CHUNK_PAYLOAD_BYTES:
            raise ProtocolError(
                f"{self._name()} sent offset {chunk.offset} with a credit of {self.credit}",
                fault=Fault.ORIGIN,
            )

    def _set_end(self, end: int) -> None:
        if self.size is not None and self.size != end:
            raise StreamIntegrityError(
                f"{self._name()} ended at {end} bytes, but {self.size} were declared",
                fault=Fault.ORIGIN,
            )
        if end < self.received:
            raise StreamIntegrityError(
                f"{self._name()} ended at {end} bytes, after {self.received} had come",
                fault=Fault.ORIGIN,
            )
        self.size = end
        self.ended = True

    def _take(self, offset: int, payload: Payload) -> None:
        if offset > self.received:
            if len(self._out_of_order) >= OUT_OF_ORDER_CHUNKS and offset not in self._out_of_order:
                raise TooManyGaps
            held = self._out_of_order.get(offset)
            if held is None or len(held) < len(payload):
                self._out_of_order[offset] = payload
            return
        self._append(offset, payload)
        while self._out_of_order:
            first = min(self._out_of_order)
            if first > self.received:
                return
            self._append(first, self._out_of_order.pop(first))

    def _append(self, offset: int, payload: Payload) -> None:
        known = self.received - offset
        if known >= len(payload):
            return
        self._pending.append(memoryview(payload)[known:] if known else payload)
        self._context.counters.add(Count.BYTES_RECEIVED, len(payload) - known)
        self.received = offset + len(payload)

    def _weigh_ack(self, *, on_shared_lane: bool) -> None:
        step_bytes = max(_ACK_BYTES, self.window.size // _ACK_WINDOW_PART)
        if self.assemble:
            step_bytes = max(_ACK_ASSEMBLED_BYTES, step_bytes)
        if on_shared_lane:
            step_bytes = min(step_bytes, SHARED_LANE_IN_FLIGHT_BYTES // _ACK_IN_FLIGHT_PART)
        if self.received - self._acked_received >= step_bytes or self.consumed - self._acked_consumed >= step_bytes:
            self.ack_due = True
