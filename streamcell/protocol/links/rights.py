"""What those who dial this cell may do, by what they have proved to be, and by the cell's policy if it has one.

Whom this cell dials itself is for those to say who have given it the address: nothing is asked about that.
"""

from __future__ import annotations

from streamcell.protocol.base.context import Context
from streamcell.protocol.base.rules import QueryRight, Rules, fault_in_neighbour
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.link import Link


def fault_in_hello(context: Context, carrier: CarrierInfo, fqcn: str) -> str:
    """Return why who dials may not be a neighbour, or not under that name: a whole sentence; empty if it may."""
    rules, me = context.rules, context.fqcn
    if rules is None:
        return "" if carrier.vouches_for(fqcn, me) else _unproven(carrier, fqcn)
    fault = fault_in_neighbour(rules, me, carrier.identity, carrier.address, carrier.fingerprint)
    if fault:
        return fault
    if carrier.identity:
        return "" if carrier.vouches_for(fqcn, me) else _unproven(carrier, fqcn)
    if _may_bring(rules, carrier, fqcn, me):
        return ""
    return f"{_unproven(carrier, fqcn)}, or a [[link]] of the policy of {me} ({rules.name}) that lets it be announced"


def fault_in_link(context: Context, link: Link) -> str:
    """Return why a neighbour that has dialled may not be one any more; empty if it may, or this cell has dialled."""
    if link.uplink is not None:
        return ""
    carriers = [lane.carrier for lane in link.lanes.values()] or [link.carrier]
    return next((fault for carrier in carriers if (fault := fault_in_hello(context, carrier, link.fqcn))), "")


def fault_in_announcing(context: Context, link: Link, fqcn: str) -> str:
    """Return why a child may not announce a cell of that name: a whole sentence; empty if it may."""
    rules, me = context.rules, context.fqcn
    proven = link.carrier.identity or "nothing"
    if rules is None:
        if link.carrier.vouches_for(fqcn, me):
            return ""
        return (
            f"{link.fqcn} has proved {proven}, so that it cannot announce {fqcn}: name cells below it {link.fqcn}.NAME"
        )
    if _may_bring(rules, link.carrier, fqcn, me):
        return ""
    return (
        f"the policy of {me} ({rules.name}) does not let {link.fqcn}, which has proved {proven}, announce {fqcn}: name "
        f"cells below it {link.fqcn}.NAME, or have who runs {me} add the name to relay in a [[link]] of the policy"
    )


def query_right(context: Context, link: Link) -> QueryRight:
    """Return which cells those behind a link may ask for."""
    rules = context.rules
    if rules is None or link.uplink is not None:
        return QueryRight.ALL
    rights = rules.rights_of(link.carrier.identity, link.carrier.address)
    return QueryRight.NONE if rights is None else rights.query


def _may_bring(rules: Rules, carrier: CarrierInfo, fqcn: str, me: str) -> bool:
    """Return whether a name may come into the tree by a neighbour. Who has proved none has those below this cell."""
    rights = rules.rights_of(carrier.identity, carrier.address)
    is_below = not carrier.identity and fqcn.startswith(f"{me}.")
    return rights is not None and (is_below or rights.may_announce(fqcn))


def _unproven(carrier: CarrierInfo, fqcn: str) -> str:
    if carrier.identity:
        what = "certificate" if carrier.fingerprint else "token"
        return f"the {what} proves {carrier.identity}, and not {fqcn}: use that name, or one below it"
    return f"nothing proves that this is {fqcn}: a certificate is needed for that"
