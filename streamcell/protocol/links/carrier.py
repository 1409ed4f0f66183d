"""What the core knows of what carries a lane."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class CarrierInfo:
    """What carries a lane, and who is at its other side.

    :ivar name: what kind of carrier it is, for people: ``grpc`` or ``memory``.
    :ivar address: of the other side, in the words of the carrier.
    :ivar identity: who the other side has proved to be; empty: nobody.
    :ivar asks_identity: whether this side has asked for a proof.
    :ivar proof: what proves it, for those who look at it again.
    :ivar origin: of a lane that has arrived, from which address it comes, without the port; empty: from this machine,
        or that is not known.
    :ivar fingerprint: of the certificate that proves it: ``sha256:`` and 64 hexadecimal digits; empty: there is none.
    """

    name: str
    address: str
    identity: str = ""
    asks_identity: bool = False
    proof: bytes = dataclasses.field(default=b"", repr=False)
    origin: str = ""
    fingerprint: str = ""

    def vouches_for(self, fqcn: str, own: str) -> bool:
        """Return whether the other side may speak as ``fqcn``: what it has proved to be, and what is named below.

        Where proofs are asked for, one who has none may be called like something below this cell, ``own``.
        """
        above = self.identity or (own if self.asks_identity else "")
        return not above or fqcn.startswith(f"{above}.") or fqcn == self.identity


# Of a lane that is being dialled.
NO_CARRIER = CarrierInfo("", "")
