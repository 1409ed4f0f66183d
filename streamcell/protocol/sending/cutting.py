"""Cutting the chunks of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.limits import HOPS
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.sending.attempt import Attempt
from streamcell.protocol.sending.source_side import SourceSide
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.wire.frames import Chunk, IdRuns, Open, Payload, Seal, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields

if TYPE_CHECKING:
    from streamcell.protocol.sending.half import StreamSender

# Found once: a member of an enumeration is found slowly before Python 3.12.
_BYTES_SENT, _AWAITING_OFFSET = Count.BYTES_SENT, SenderState.AWAITING_OFFSET


class ChunkCutter:
    """Makes chunks of what the source of one stream gave, and counts what goes, and goes again.

    :ivar sent_end: how far any attempt has sent.
    """

    __slots__ = ("_chunk_bytes", "_context", "_key", "_spec", "sent_end")

    def __init__(self, context: Context, spec: SendSpec, key: StreamKey) -> None:
        self._context = context
        self._spec = spec
        self._key = key
        self._chunk_bytes = context.config.chunk_bytes
        self.sent_end = 0

    def cut(
        self,
        attempt: Attempt,
        source: SourceSide,
        lane_id: int,
        room: int | None,
        opening: Open | None,
        seal: Seal | None,
        *,
        offers: bool,
    ) -> Chunk:
        """Return the next chunk of an attempt, of at most ``room`` bytes, and move the attempt behind it.

        :param opening: what it says of the stream, if it is the first one.
        :param seal: under what it is to be sealed.
        :param offers: it carries nothing, not even the end: the target is to say first where the stream goes on.
        """
        offset, sequence = attempt.next_offset, attempt.sequence
        limit = self._chunk_bytes if room is None else min(self._chunk_bytes, room)
        if attempt.credit_heard == 0:
            limit = min(limit, attempt.allowed_by_next - offset)
        payload: Payload = b""
        if offset < source.buffer.end and limit > 0 and not offers:
            payload = source.buffer.cut(offset, limit)
        end = offset + len(payload)
        last = source.ended and end == source.buffer.end and not offers
        fields = checksum_fields(self._key, attempt.number, sequence, offset, last=last)
        checksum = self._context.checksum
        chunk = Chunk(
            self._key,
            self._spec.target,
            attempt.number,
            self._spec.channel,
            self._spec.topic,
            sequence,
            offset,
            last,
            HOPS,
            checksum(fields, checksum(payload, 0)),
            payload,
            opening,
            source.digest if last else None,
            seal=seal,
        )
        attempt.note_chunk(lane_id, end, last=last)
        self._context.counters.add(_BYTES_SENT, end - offset)
        if offset < self.sent_end:
            self._context.counters.add(Count.BYTES_RETRANSMITTED, min(end, self.sent_end) - offset)
        self.sent_end = max(self.sent_end, end)
        return chunk

    def open_part(self, sender: StreamSender, settled_below: int, settled: IdRuns) -> Open:
        """Return what the first chunk of an attempt says of the stream, and of others that are settled."""
        return Open(
            self._spec.description,
            settled_below,
            settled,
            sender.confirmed.seen_before,
            awaits_offset=sender.state is _AWAITING_OFFSET,
            target_incarnation=sender.target_life or 0,
        )
