"""How much of a listener one address may have: so many links, and so many Hellos that ask for one.

An address is what the carrier of a lane says of where it comes from. Where it says nothing, as of this machine, or
where the other side has proved who it is, nothing is counted.
"""

from __future__ import annotations

import collections

from streamcell.limits import ADDRESSES
from streamcell.protocol.base.context import Context
from streamcell.protocol.flow.buckets import Buckets
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.link import Link

# All that one address may have comes back within this time, in the long run; at once it may come back whole.
_ALL_AGAIN_S = 20.0


class Addresses:
    """Where the links come from that others have dialled."""

    def __init__(self, context: Context) -> None:
        #: The most links of one address.
        self.most = context.config.max_cells_per_address
        self._hellos = Buckets(self.most / _ALL_AGAIN_S, self.most, ADDRESSES)
        self._origins: dict[Link, str] = {}
        self._links: collections.Counter[str] = collections.Counter()

    def may_say_hello(self, carrier: CarrierInfo, now: float) -> bool:
        """Return whether one more Hello of that address is looked at. It counts then."""
        origin = _origin(carrier)
        return not origin or self._hellos.take(origin, now)

    def may_have_link(self, carrier: CarrierInfo) -> bool:
        """Return whether there is room for one more link of that address."""
        return self._links[_origin(carrier)] < self.most

    def on_link(self, link: Link, carrier: CarrierInfo) -> None:
        """A link has begun, perhaps in place of one that came from elsewhere."""
        self.forget(link)
        origin = _origin(carrier)
        if origin:
            self._origins[link] = origin
            self._links[origin] += 1

    def forget(self, link: Link) -> None:
        """A link is down."""
        origin = self._origins.pop(link, None)
        if origin is not None:
            self._links[origin] -= 1
            if not self._links[origin]:
                del self._links[origin]


def _origin(carrier: CarrierInfo) -> str:
    return "" if carrier.identity else carrier.origin
