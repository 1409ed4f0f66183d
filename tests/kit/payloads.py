"""What is sent in tests."""

from __future__ import annotations


def pattern(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes in which every piece tells where it belongs."""
    block = b"".join((seed + index).to_bytes(4, "little") for index in range(4096))
    whole, rest = divmod(size, len(block))
    return b"".join((seed + number).to_bytes(8, "big") + block[8:] for number in range(whole)) + block[:rest]
