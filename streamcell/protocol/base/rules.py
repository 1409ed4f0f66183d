"""What a cell's policy says, as the core asks it.

The shell gives it. A cell that has none allows what names allow, and asks nobody. Whatever answers here answers at
once, and the same until the core is told that the rules have changed (``CellCore.on_rules_changed``).

Asked are cells that others dial: about who dials them, what it announces, asks and sends. And each cell is asked about
what is sent to itself.
"""

from __future__ import annotations

import enum
from typing import Protocol

from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Open

# Found once: a member of an enumeration is found slowly before Python 3.12.
_REPLY, _REQUEST = StreamKind.REPLY, StreamKind.REQUEST


class QueryRight(enum.Enum):
    """Which cells a neighbour may ask for."""

    NONE = "none"
    #: Those below it, and the cell that it asks.
    OWN = "own"
    ALL = "all"


class Rights(Protocol):
    """What one neighbour may do."""

    @property
    def query(self) -> QueryRight:
        """Which cells it may ask for."""
        ...

    def may_announce(self, fqcn: str) -> bool:
        """Return whether it may bring a cell of that name into the tree."""
        ...


class Rules(Protocol):
    """Who may do what."""

    @property
    def name(self) -> str:
        """What the policy is called in a sentence."""
        ...

    def rights_of(self, identity: str, address: str) -> Rights | None:
        """Return what a neighbour may do, None: it may not be one.

        :param identity: what it has proved to be called, empty if it has proved nothing.
        :param address: where it dials from, in the words of its carrier.
        """
        ...

    def fault_in_certificate(self, fingerprint: str) -> str:
        """Return why a certificate is refused, as a part of a sentence; empty if it is not."""
        ...

    def fault_in_sending(
        self, origin: str, target: str, channel: str, topic: str, kind: StreamKind, sealed: bool
    ) -> str:
        """Return why one cell may not send something to another, as a part of a sentence; empty if it may."""
        ...

    def may_meet(self, one: str, other: str) -> bool:
        """Return whether one of two cells may send anything at all to the other."""
        ...


def fault_in_opening(rules: Rules, me: str, chunk: Chunk, opening: Open) -> str:
    """Return what to say of a stream that may not go where it is to go, a whole sentence; empty if it may."""
    what = (chunk.channel, chunk.topic, opening.description.kind, chunk.seal is not None)
    return fault_in_stream(rules, me, chunk.key.origin, chunk.target, *what)


def fault_in_stream(
    rules: Rules, me: str, origin: str, target: str, channel: str, topic: str, kind: StreamKind, sealed: bool
) -> str:
    """Return what to say of a stream that may not go where it goes, a whole sentence; empty if it may.

    A reply may if its request may.
    """
    if kind is _REPLY:
        fault = rules.fault_in_sending(target, origin, channel, topic, _REQUEST, sealed)
    else:
        fault = rules.fault_in_sending(origin, target, channel, topic, kind, sealed)
    if not fault:
        return ""
    what = f"the {kind.name.lower()} {channel}/{topic}"
    return _refusal(rules, me, f"does not let {origin} send {what} to {target}: {fault}")


def fault_in_pair(rules: Rules, me: str, origin: str, target: str) -> str:
    """Return what to say to a cell that asks where to go on, and may send its target nothing; empty if it may.

    What is asked about may be a reply.
    """
    if rules.may_meet(origin, target):
        return ""
    return _refusal(rules, me, f"does not let {origin} send anything to {target}: no rule allows it")


def fault_in_neighbour(rules: Rules, me: str, identity: str, address: str, fingerprint: str) -> str:
    """Return what to say to whoever may not be a neighbour, a whole sentence; empty if it may."""
    who = identity or f"a cell at {address} that has proved no name"
    fault = rules.fault_in_certificate(fingerprint) if fingerprint else ""
    if not fault and rules.rights_of(identity, address) is None:
        fault = "no [[link]] allows it"
    return _refusal(rules, me, f"does not let {who} be its neighbour: {fault}") if fault else ""


def _refusal(rules: Rules, me: str, what: str) -> str:
    return f"the policy of {me} ({rules.name}) {what}; if it is to, have who runs {me} change the policy"
