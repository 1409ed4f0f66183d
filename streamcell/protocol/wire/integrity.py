"""What the checksum of a chunk covers."""

from __future__ import annotations

import struct

from streamcell.protocol.wire.frames import StreamKey

# What the checksum covers after the payload: stream id, attempt, sequence, offset, last flag.
_CHECKED_FIELDS = struct.Struct("<QIQQB")


def checksum_fields(key: StreamKey, attempt: int, sequence: int, offset: int, *, last: bool) -> bytes:
    """Return the bytes that a chunk's checksum covers after its payload."""
    return _CHECKED_FIELDS.pack(key.stream_id, attempt, sequence, offset, last)
