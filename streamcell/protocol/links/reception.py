"""Whom a listener lets in: which lanes that arrive become lanes of a link, of a new one, or of none.

A lane belongs to the link that its Hello names if that is known here, and if who dials has proved to be the same as
before. Else a control lane begins a link anew. Where a link with a lane has the name already, in this life or another
one, the holder is asked first (``contest.py``): anybody can say a name and the number of a life, which are no secrets.
For a shortcut the cell of that name is asked in the tree, if there is a way: nothing else would show that it is
another. The tree comes first: a shortcut gives way to the link of a child, and is refused where there is one, or where
this end has dialled one itself.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.errors import ErrorCode
from streamcell.limits import LANES
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.addresses import Addresses
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.contest import ContestTable, Holder
from streamcell.protocol.links.greeting import Terms, make_hello
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.rights import fault_in_hello
from streamcell.protocol.wire.frames import Hello, LaneRole

_LINK_ID_BITS = 128
# Lanes of one link at a time: each of them may be one that is about to end, with another one that takes its place.
_LANES = 2 * LANES


class LinkMaker(Protocol):
    """What the listener asks of the table of links."""

    links: dict[str, Link]

    def make_link(self, hello: Hello, kind: LinkKind, link_id: bytes, now: float, *, carrier: CarrierInfo) -> Link:
        """Make the link to who says this Hello."""
        ...

    def way_in_tree(self, fqcn: str) -> Link | None:
        """Return the link by which the tree leads to a cell, or None while there is no way."""
        ...


class ClaimedLane:
    """A lane that waits until it is known whether the name that its Hello claims is free."""

    def __init__(self, reception: Reception, lane: Lane, hello: Hello, *, may_be_both: bool) -> None:
        self.lane = lane
        self.hello = hello
        self.may_be_both = may_be_both
        self._reception = reception

    @property
    def incarnation(self) -> int:
        """The life that has dialled."""
        return self.hello.incarnation

    @property
    def claim_id(self) -> int:
        """The number of the Hello."""
        return self.hello.claim_id

    def on_name_free(self, holder: Holder, now: float) -> None:
        """Get the name."""
        self._reception.on_name_free(self, holder, now)

    def on_name_held(self, holder: Holder, now: float) -> None:
        """Be refused."""
        sentence = (
            f"the name {holder.fqcn} is held by a living cell at {holder.address}: stop that one or use another name"
        )
        self.lane.refuse(ErrorCode.NAME_IN_USE, sentence, now)

    def on_passed_over(self, now: float) -> None:
        """Make room: another one has the name, or the newcomer by another lane."""
        self._reception.on_passed_over(self, now)


class Reception:
    """Answers the Hellos of lanes that arrived.

    :ivar contests: names of neighbours, and of cells in the tree, that a Hello claims.
    """

    def __init__(self, context: Context, maker: LinkMaker) -> None:
        self.contests: ContestTable[ClaimedLane] = ContestTable(context, Link.press)
        self._context = context
        self._maker = maker
        self._links = maker.links
        self._addresses = Addresses(context)
        self._shortage = ""

    def on_link_ended(self, link: Link) -> None:
        """A link is down."""
        self._addresses.forget(link)

    def note_shortage(self, sentence: str) -> None:
        """Refuse cells that have no link yet with this sentence, or take them again if it is empty."""
        self._shortage = sentence

    def on_hello(self, lane: Lane, hello: Hello, now: float) -> None:
        """A dialler says Hello: answer, refuse, or ask the holder of its name."""
        lane.read_hello(hello)
        if self._refuses(lane, hello, now):
            return
        known = self._links.get(hello.fqcn)
        if known is not None and _is_lane_of(known, lane, hello):
            self._join_known(lane, known, hello, now)
        elif lane.role is LaneRole.BULK:
            lane.refuse(ErrorCode.UNSPECIFIED, "the link is not known: open a control lane", now)
        elif self._addresses.may_say_hello(lane.carrier, now):
            self._decide(lane, hello, now)
        else:
            sentence = f"too many cells dial {self._context.fqcn} from {lane.carrier.origin}: {self._raise_limit()}"
            lane.refuse(ErrorCode.LIMIT, sentence, now)

    def _refuses(self, lane: Lane, hello: Hello, now: float) -> bool:
        """Refuse who may not be a neighbour, or not by that name; return whether it was."""
        sentence = fault_in_hello(self._context, lane.carrier, hello.fqcn)
        if sentence:
            self._context.on_access_refused(hello.fqcn, lane.carrier.address, sentence)
            lane.refuse(ErrorCode.AUTHENTICATION, sentence, now)
        return bool(sentence)

    def _raise_limit(self) -> str:
        return f"come back later, or raise max_cells_per_address ({self._addresses.most}) there"

    def _decide(self, lane: Lane, hello: Hello, now: float) -> None:
        """Whose name is it? Nobody's, that of a link to here which may be renewed, or of one that is asked."""
        known = self._links.get(hello.fqcn)
        if known is None:
            self._on_stranger(lane, hello, now)
        elif hello.peer and (known.kind is not LinkKind.SHORTCUT or known.uplink is not None):
            lane.refuse(ErrorCode.UNSPECIFIED, f"{self._context.fqcn} has a link to you already", now, linked=True)
        elif known.kind is LinkKind.PARENT:
            sentence = (
                f"{hello.fqcn} is the uplink of {self._context.fqcn}: do not dial a cell below, or use another name"
            )
            lane.refuse(ErrorCode.NAME_IN_USE, sentence, now)
        elif known.control_lane() is not None:
            may_be_both = known.kind is LinkKind.SHORTCUT and not hello.peer
            self._claim(lane, hello, _holder(known), now, may_be_both=may_be_both)
        else:
            self.grant(lane, hello, now)

    def _on_stranger(self, lane: Lane, hello: Hello, now: float) -> None:
        """A cell dials that has no link yet. A child's name is compared with those in the tree when it is announced."""
        way = self._maker.way_in_tree(hello.fqcn) if hello.peer else None
        if way is None or way.control_lane() is None:
            self._begin(lane, hello, now)
        else:
            holder = Holder(hello.fqcn, 0, way, f"by way of {way.fqcn}")
            self._claim(lane, hello, holder, now, may_be_both=True)

    def _claim(self, lane: Lane, hello: Hello, holder: Holder, now: float, *, may_be_both: bool) -> None:
        """Ask who has the name; the lane waits."""
        lane.on_claimed(now)
        self.contests.claim(holder, lane.lane_id, ClaimedLane(self, lane, hello, may_be_both=may_be_both), now)

    def _begin(self, lane: Lane, hello: Hello, now: float) -> None:
        """Take in a cell that has no link yet, if there is room."""
        most = self._context.config.max_cells
        if len(self._links) >= most:
            sentence = (
                f"{self._context.fqcn} has links to {most} cells already: dial another cell, or raise max_cells there"
            )
            lane.refuse(ErrorCode.LIMIT, sentence, now)
        elif not self._addresses.may_have_link(lane.carrier):
            sentence = f"{self._context.fqcn} has too many links from {lane.carrier.origin}: {self._raise_limit()}"
            lane.refuse(ErrorCode.LIMIT, sentence, now)
        elif self._shortage:
            lane.refuse(ErrorCode.LIMIT, self._shortage, now)
        else:
            self.grant(lane, hello, now)

    def _join_known(self, lane: Lane, link: Link, hello: Hello, now: float) -> None:
        """Take in one more lane of a link. What the dialler does not hold any more has ended there."""
        if lane.number in link.lanes:
            lane.refuse(ErrorCode.PROTOCOL, f"lane number {lane.number} is in use: numbers only rise", now)
            return
        if lane.number > link.highest_number():
            for other in list(link.lanes.values()):
                if other.number not in hello.lanes_held:
                    other.give_up(now)
        if len(link.lanes) >= _LANES:
            lane.refuse(ErrorCode.LIMIT, f"the link has {_LANES} lanes already", now)
            return
        self._answer(lane, link, hello, now)

    def grant(self, lane: Lane, hello: Hello, now: float) -> None:
        """Give the name to this lane's cell, in place of whoever had it."""
        link = self._links.get(hello.fqcn)
        kind = LinkKind.SHORTCUT if hello.peer else LinkKind.CHILD
        if link is not None and (link.kind is not kind or link.uplink is not None):
            # It took the place of the one whose name was claimed, and what a link is does not change.
            link.retire(now)
            link = None
        if link is None:
            link = self._maker.make_link(hello, kind, self._new_link_id(), now, carrier=lane.carrier)
        else:
            link.pass_to(hello, lane.carrier, now, self._new_link_id)
        self._addresses.on_link(link, lane.carrier)
        self._answer(lane, link, hello, now)

    def on_name_free(self, claim: ClaimedLane, holder: Holder, now: float) -> None:
        """Whoever had the name has moved, is gone or did not answer."""
        known = self._links.get(holder.fqcn)
        if self._refuses(claim.lane, claim.hello, now):
            # The rules have changed while it waited.
            return
        if known is None:
            self._begin(claim.lane, claim.hello, now)
        elif known is holder.link:
            self.grant(claim.lane, claim.hello, now)
        else:
            # Another one has the name by now, or asks for it in the tree, too.
            self._decide(claim.lane, claim.hello, now)

    def on_passed_over(self, claim: ClaimedLane, now: float) -> None:
        """Another lane was given the name: one of another cell, or one more of the same."""
        known = self._links.get(claim.hello.fqcn)
        if known is None or known.incarnation == claim.incarnation:
            claim.lane.give_up(now)
        else:
            claim.on_name_held(_holder(known), now)

    def _answer(self, lane: Lane, link: Link, hello: Hello, now: float) -> None:
        lane.on_granted(link, make_hello(self._context, lane.number, lane.role, link.link_id), now)
        link.on_lane_joined(lane, Terms.of(hello), now)

    def _new_link_id(self) -> bytes:
        return self._context.random_bits(_LINK_ID_BITS).to_bytes(_LINK_ID_BITS // 8, "big")


def _holder(link: Link) -> Holder:
    return Holder(link.fqcn, link.incarnation, link, link.address)


def _is_lane_of(link: Link, lane: Lane, hello: Hello) -> bool:
    return (
        hello.link_id == link.link_id
        and hello.incarnation == link.incarnation
        and lane.carrier.identity == link.carrier.identity
    )
