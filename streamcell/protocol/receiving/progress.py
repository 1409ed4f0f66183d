"""How far one received stream has come: its bytes, put into order.

Chunks come by several lanes, more than once, and cut elsewhere in another attempt. Each byte is handed on once, in its
place, or the stream is found to contradict itself.
"""

from __future__ import annotations

from streamcell.digest import Digest
from streamcell.errors import Fault, StreamIntegrityError
from streamcell.limits import OUT_OF_ORDER_CHUNKS
from streamcell.protocol.wire.frames import Chunk, Payload


class TooManyGaps(Exception):
    """More chunks wait for their predecessors than are kept. The chunk is treated as lost.

    That is nobody's fault: a source of tiny pieces gets there when one of several lanes is slow.
    """


class Progress:
    """What has come of one stream, what was taken of it, and where it ends: ``consumed`` <= ``received`` <= ``size``.

    :ivar received: every byte below has come.
    :ivar consumed: the application has taken every byte below.
    :ivar size: where the stream ends: as declared, or as said with its last byte; None while neither was.
    :ivar end_said: whether the life of the origin that sends it now has said that it ends there.
    :ivar whole: ``end_said``, and every byte has come.
    :ivar digest: what the origin says of all bytes.
    """

    __slots__ = ("_beyond_gap", "consumed", "digest", "end_said", "received", "size", "whole")

    def __init__(self, size: int | None, digest: Digest | None) -> None:
        self.received = 0
        self.consumed = 0
        self.size = size
        self.end_said = False
        self.whole = False
        self.digest = digest
        # The pieces that wait for their predecessors, by offset.
        self._beyond_gap: dict[int, Payload] = {}

    def start_at(self, offset: int) -> None:
        """The first byte to come is the one at ``offset``: whoever reads has what lies below."""
        self.received = self.consumed = offset
        self._beyond_gap.clear()

    def consume(self, offset: int) -> bool:
        """The application has taken every byte below ``offset``, of those that came; return whether that is news."""
        if offset <= self.consumed:
            return False
        self.consumed = min(offset, self.received)
        return True

    def forget_beyond_gap(self) -> None:
        """Drop what waits: its predecessors do not come any more, or another attempt sends it anew."""
        self._beyond_gap.clear()

    def on_new_life(self, size: int | None, digest: Digest | None) -> None:
        """Another life of the origin goes on. The size that is known stays.

        But that this is all, and of which digest, the new life has to say by itself.
        """
        self.size = size if self.size is None else self.size
        self.digest = digest
        self.end_said = self.whole = False
        self._beyond_gap.clear()

    def take_in(self, chunk: Chunk) -> list[Payload]:
        """Return the bytes that are in order from now on and were not before, in pieces.

        :raises TooManyGaps: if it lies beyond a gap, as very many do already; nothing was taken in.
        :raises StreamIntegrityError: if it contradicts the declared size or an earlier end.
        """
        payload = chunk.payload
        end = chunk.offset + len(payload)
        if chunk.last:
            self._note_end(chunk, end)
        if self.size is not None and end > self.size:
            raise StreamIntegrityError(
                f"{_name_of(chunk)} sent {end} bytes, more than the {self.size} that it declared", fault=Fault.ORIGIN
            )
        known = self.received - chunk.offset
        pieces: list[Payload] = []
        if end > self.received and len(payload) > 0:
            if known < 0:
                self._keep_beyond_gap(chunk.offset, payload)
            else:
                pieces = [memoryview(payload)[known:] if known else payload]
                self.received = end
                if self._beyond_gap:
                    pieces += self._close_gaps()
        self.whole = self.end_said and self.received == self.size
        return pieces

    def _note_end(self, chunk: Chunk, end: int) -> None:
        if self.size is not None and self.size != end:
            raise StreamIntegrityError(
                f"{_name_of(chunk)} ended at {end} bytes, but {self.size} were declared", fault=Fault.ORIGIN
            )
        if end < self.received:
            raise StreamIntegrityError(
                f"{_name_of(chunk)} ended at {end} bytes, after {self.received} had come", fault=Fault.ORIGIN
            )
        self.size = end
        self.end_said = True
        self.digest = chunk.digest or self.digest

    def _close_gaps(self) -> list[Payload]:
        """Return what has waited for the bytes that are here now."""
        pieces: list[Payload] = []
        while self._beyond_gap:
            first = min(self._beyond_gap)
            known = self.received - first
            if known < 0:
                break
            held = self._beyond_gap.pop(first)
            if known < len(held):
                pieces.append(memoryview(held)[known:] if known else held)
                self.received = first + len(held)
        return pieces

    def _keep_beyond_gap(self, offset: int, payload: Payload) -> None:
        held = self._beyond_gap.get(offset)
        if held is None and len(self._beyond_gap) >= OUT_OF_ORDER_CHUNKS:
            raise TooManyGaps
        if held is None or len(held) < len(payload):
            self._beyond_gap[offset] = payload


def _name_of(chunk: Chunk) -> str:
    return f"stream {chunk.key.stream_id} from {chunk.key.origin}"
