"""Keys as the core has them: it knows what they are for, and nothing of how they do it.

The shell gives them when a handshake is done (``security/sealing``), and tests give others.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.digest import Digest
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Payload


class AttemptKeys(Protocol):
    """What seals and opens in one attempt of a stream. Each sequence is sealed once."""

    def seal(self, sequence: int, payload: Payload, covered: bytes, /) -> tuple[Payload, bytes]:
        """Return the payload sealed, as long as it is, and the tag that proves it and what is covered."""
        ...

    def open(self, sequence: int, sealed: Payload, tag: bytes, covered: bytes, /) -> Payload | None:
        """Return the payload, or None if it is not what was sealed, or not for what is covered."""
        ...

    def seal_opening(self, description: StreamDescription, covered: bytes, /) -> bytes:
        """Return what a stream hides of its description, sealed."""
        ...

    def open_opening(
        self, description: StreamDescription, sealed: bytes, covered: bytes, /
    ) -> StreamDescription | None:
        """Return a description with what was hidden of it; None if that is not what was sealed."""
        ...


class StreamKeys(Protocol):
    """The keys of one stream."""

    def of_attempt(self, attempt: int, /) -> AttemptKeys:
        """Return what seals and opens in an attempt."""
        ...

    def code(self, covered: bytes, /) -> bytes:
        """Return the code of authentication of what is covered."""
        ...

    def proves(self, code: bytes, covered: bytes, /) -> bool:
        """Return whether that is its code."""
        ...

    def hide(self, what: str, value: str, /) -> Digest:
        """Return what shows nothing of a value, and by which whoever has it can tell it again."""
        ...


class SessionKeys(Protocol):
    """What two lives of cells share."""

    @property
    def peer_name(self) -> str:
        """The name that the other one has proved: its own, or one that it is below."""
        ...

    def keys_of(self, origin: str, stream_id: int, /) -> StreamKeys:
        """Return the keys of a stream that one of the two sends the other."""
        ...
