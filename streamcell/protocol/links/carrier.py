"""What the core knows of what carries a lane."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class CarrierInfo:
    """What carries a lane, and who is at its other side.

    :ivar name: what kind of carrier it is, for people: ``grpc`` or ``memory``.
    :ivar address: of the other side, in the words of the carrier.
    :ivar identity: who the other side has proved to be; empty: nobody.
    """

    name: str
    address: str
    identity: str = ""


# Of a lane that is being dialled.
NO_CARRIER = CarrierInfo("", "")
