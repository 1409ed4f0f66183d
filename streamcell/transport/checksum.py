"""The checksum of chunks: CRC32C (Castagnoli, RFC 3720 appendix B.4)."""

from __future__ import annotations

import crc32c

from streamcell.protocol.wire.frames import Payload

# Never give up the interpreter for it: the largest chunk takes 0.13 ms, getting the interpreter
# back from a busy thread takes up to 5.
_KEEP_GIL = 0


def checksum(data: Payload, value: int = 0) -> int:
    """Return the CRC32C of ``data``, continued from ``value``, that of the bytes before it."""
    return crc32c.crc32c(data, value, _KEEP_GIL)
