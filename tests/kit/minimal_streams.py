"""The streams of the minimal cell: what it knows of one that it sends, and of one that it receives."""

from __future__ import annotations

import random
import struct
import time
from typing import Any

import crc32c

from streamcell.v1 import cell_pb2

INITIAL_CREDIT = 262_144
SMALL_BYTES = 65_536
# The size of chunks, and how much bulk goes before a Ping.
CHUNK_BYTES = 65_536
ASK_AGAIN_S = 5.0


def checksum(payload: bytes, stream: Any, sequence: int, offset: int, *, last: bool) -> int:
    """Return what a chunk's checksum must be."""
    place = struct.pack("<QIQQB", stream.stream_id, stream.attempt, sequence, offset, last)
    return int(crc32c.crc32c(place, crc32c.crc32c(payload)))


def key_of(stream: Any) -> tuple[str, int, int]:
    """Return what a stream is told apart by."""
    return stream.origin, stream.origin_incarnation, stream.stream_id


def backoff_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return min(5.0, 0.2 * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1) if failures else 0.0


class Outgoing:
    """A stream that the cell sends, all of it held in memory."""

    def __init__(self, stream: Any, topic: str, payload: bytes, opening: Any) -> None:
        self.stream = stream
        self.topic = topic
        self.payload = payload
        self.opening = opening
        self.is_whole = opening.kind != cell_pb2.STREAM_KIND_STREAM
        self.is_bulk = len(payload) > SMALL_BYTES
        self.is_acknowledged = self.may_be_there = self.was_there = False
        self.losses = self.granted = 0
        self.ceiling: int | None = None
        # When to begin an attempt after a loss, and when to ask again.
        self.lost_until: float | None = None
        self.ask_again_at: float | None = None
        self.begin(0)

    @property
    def is_asking(self) -> bool:
        return self.lost_until is not None or self.ask_again_at is not None

    def begin(self, offset: int) -> None:
        """Go on at an offset, with no more credit than this life of the target gave before."""
        initial = offset + INITIAL_CREDIT
        if self.ceiling is not None:
            initial = min(initial, max(self.ceiling, offset))
        self.credit = self.ceiling = max(initial, self.granted)
        self.sequence, self.offset, self.is_all_sent = 0, offset, False
        self.lost_until = self.ask_again_at = None

    def ask(self) -> Any:
        """Begin an attempt, and return its question."""
        self.stream.attempt += 1
        self.lost_until, self.was_there, self.granted = None, self.may_be_there, 0
        return self.question()

    def question(self) -> Any:
        self.ask_again_at = time.monotonic() + ASK_AGAIN_S
        return cell_pb2.ResumeQuery(stream=self.stream, hops_left=16)

    def lose(self, reason: int) -> None:
        """Wait, if need be, and ask where to go on."""
        if reason == cell_pb2.LOST_REASON_OTHER_LIFE:
            self.may_be_there = self.was_there
        self.ask_again_at, self.lost_until = None, time.monotonic() + backoff_s(self.losses)
        self.losses += 1

    def start_over(self, life: int) -> cell_pb2.ErrorCode | None:
        """A life of the target does not know the stream: return why it must not be sent to that, or None."""
        other = self.is_acknowledged or life != self.opening.target_incarnation
        if self.is_whole and self.may_be_there and other:
            return cell_pb2.ERROR_CODE_OUTCOME_UNKNOWN
        if not self.is_whole and self.is_acknowledged:
            return cell_pb2.ERROR_CODE_RESUME
        self.is_acknowledged = self.may_be_there = False
        self.ceiling = None
        return None

    def next_chunk(self, room: int, settled_below: int) -> Any:
        """Return the next chunk, or None if none may go."""
        is_spent = self.sequence > 0 and self.offset >= self.credit
        if self.is_asking or self.is_all_sent or is_spent or (self.is_bulk and room <= 0):
            return None
        most = min(CHUNK_BYTES, room) if self.is_bulk else CHUNK_BYTES
        if not self.granted:
            most = min(most, self.credit - self.offset)
        payload = self.payload[self.offset : self.offset + most]
        last = self.offset + len(payload) == len(self.payload)
        self.opening.settled_below = settled_below
        chunk = cell_pb2.Chunk(
            stream=self.stream,
            channel="minimal",
            topic=self.topic,
            sequence=self.sequence,
            offset=self.offset,
            last=last,
            hops_left=16,
            checksum=checksum(payload, self.stream, self.sequence, self.offset, last=last),
            open=None if self.sequence else self.opening,
            payload=payload,
        )
        self.sequence += 1
        self.offset += len(payload)
        self.is_all_sent = last
        self.may_be_there |= last
        return chunk


class Incoming:
    """A stream that the cell receives, all of it held in memory. It keeps nothing beyond a gap."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.data = bytearray()
        self.is_known = False
        self.last_word: Any = None

    def answer(self, attempt: int) -> dict[str, Any]:
        """Return the last word as an answer to a frame of that attempt."""
        kind = str(self.last_word.WhichOneof("kind"))
        frame = cell_pb2.Frame()
        frame.CopyFrom(self.last_word)
        getattr(frame, kind).stream.attempt = attempt
        return {kind: getattr(frame, kind)}
