"""What the checksum of a chunk covers."""

from __future__ import annotations

import struct
from collections.abc import Callable

from streamcell.protocol.wire.frames import Chunk, Payload, StreamKey

# What the checksum covers after the payload: stream id, attempt, sequence, offset, last flag.
_CHECKED_FIELDS = struct.Struct("<QIQQB")


def checksum_fields(key: StreamKey, attempt: int, sequence: int, offset: int, *, last: bool) -> bytes:
    """Return the bytes that a chunk's checksum covers after its payload."""
    return _CHECKED_FIELDS.pack(key.stream_id, attempt, sequence, offset, last)


def is_intact(chunk: Chunk, checksum: Callable[[Payload, int], int]) -> bool:
    """Return whether a chunk is what its checksum says, called as ``checksum(data, value)`` to continue."""
    fields = _CHECKED_FIELDS.pack(chunk.key.stream_id, chunk.attempt, chunk.sequence, chunk.offset, chunk.last)
    return checksum(fields, checksum(chunk.payload, 0)) == chunk.checksum
