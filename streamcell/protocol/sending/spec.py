"""What an application wants sent."""

from __future__ import annotations

import dataclasses

from streamcell.protocol.wire.description import StreamDescription


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SendSpec:
    """What an application wants sent: where to, what it is, and what only the sending side has to know of it.

    ``unreachable_timeout_s`` 0: never. ``optional``: it fails at once while there is no way to the target.
    ``retry_unknown``: what is delivered whole is sent again to a life of the target that does not know it, though an
    earlier one may have had all of it. ``kept``: all bytes are supplied at once and stay where they are, so that none
    has to be asked for again.
    """

    target: str
    channel: str
    topic: str
    description: StreamDescription
    unreachable_timeout_s: float
    optional: bool = False
    retry_unknown: bool = False
    kept: bool = False

    @property
    def keeps_all(self) -> bool:
        """Whether every byte stays in the buffer until the stream is settled."""
        return self.kept or self.description.kind.whole
