"""What an application is told of a stream that opens, to say whether it may."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from streamcell.message import HeaderValue
from streamcell.security.policy.policy import TransferKind


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """A stream, blob or request that another cell begins to send, as ``CoreCell(admit=...)`` is asked about it.

    Attributes:
        origin: the cell that sends it.
        identity: what the neighbour that it came by has proved to be called; empty: nothing.
        target: the cell that is to receive it: this one, or with ``admit_relayed`` another.
        channel: the channel.
        topic: the topic.
        kind: ``"stream"``, ``"blob"`` or ``"request"``.
        size: bytes; None: not known beforehand.
        headers: the headers, not to be changed; None at a cell that only passes it on.
    """

    origin: str
    identity: str
    target: str
    channel: str
    topic: str
    kind: TransferKind
    size: int | None
    headers: Mapping[str, HeaderValue] | None
