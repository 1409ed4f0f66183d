"""A policy as the core of a cell asks it."""

from __future__ import annotations

from streamcell.protocol.base.rules import Rights
from streamcell.protocol.wire.description import StreamKind
from streamcell.security.policy.policy import Policy, TransferKind

_KINDS = {
    StreamKind.STREAM: TransferKind.STREAM,
    StreamKind.BLOB: TransferKind.BLOB,
    StreamKind.REQUEST: TransferKind.REQUEST,
}


class PolicyRules:
    """The policy of one cell, which may be replaced by another one while the cell runs. Used on the engine.

    :param policy: what counts first.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def policy(self) -> Policy:
        """What counts now."""
        return self._policy

    @property
    def name(self) -> str:
        """What the policy is called."""
        return self._policy.name

    def replace(self, policy: Policy) -> None:
        """Have another policy count. The core is to be told at once."""
        self._policy = policy

    def rights_of(self, identity: str, address: str) -> Rights | None:
        """Return what a neighbour may do; None: it may not be one."""
        return self._policy.link_rule(identity, _host_of(address))

    def fault_in_certificate(self, fingerprint: str) -> str:
        """Return why a certificate is refused; empty if it is not."""
        return self._policy.fault_in_certificate(fingerprint)

    def fault_in_sending(
        self, origin: str, target: str, channel: str, topic: str, kind: StreamKind, sealed: bool
    ) -> str:
        """Return why one cell may not send something to another; empty if it may."""
        known = _KINDS.get(kind)
        if known is None:
            return "it is of a kind that is not known there"
        decision = self._policy.decide(origin, target, channel, topic, known, sealed=sealed)
        return "" if decision.allowed else decision.reason

    def may_meet(self, one: str, other: str) -> bool:
        """Return whether one of two cells may send anything at all to the other."""
        return self._policy.decide_pair(one, other) or self._policy.decide_pair(other, one)


def _host_of(address: str) -> str:
    """Return the IP address in what a carrier calls its other side, ``10.0.0.1:8080`` or ``[::1]:8080``."""
    return address.rpartition(":")[0].strip("[]").partition("%")[0]
