"""What a peer has to be able to do. Both ends live in processes of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

MIB = 2**20
# What throughput is measured with: chunks here, messages there.
PIECE = bytes(range(256)) * (MIB // 256)


class Client(Protocol):
    """The sending end, connected. A method that a peer does not offer raises NotImplementedError."""

    def send_stream(self, size_bytes: int) -> None:
        """Send so many bytes in pieces of 1 MiB to a reader that discards them; return when it confirmed all."""
        ...

    def send_blob(self, blob: bytearray) -> None:
        """Send a blob; return when the other end confirmed that it holds all of it."""
        ...

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        """Send so many blobs that come back, up to ``outstanding`` at a time; return the seconds that each took."""
        ...


class Peer(Protocol):
    """One way to get bytes from one process to another."""

    def serve(self) -> contextlib.AbstractContextManager[str]:
        """Receive, until the context ends; gives the address."""
        ...

    def connect(self, address: str) -> contextlib.AbstractContextManager[Client]:
        """Connect to the process that serves there."""
        ...
