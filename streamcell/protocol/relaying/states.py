"""The states of a stream that passes through, as a table. How tables are read: ``protocol/base/machine.py``.

**Relay** (a stream that passes through a cell in the middle)::

    WAITING --opened--> FORWARDING --lost--> LOST
       |  ^                 ^  |                |
       |  +---- entered ----+--+----------------+     (each also --ended--> ENDED)
       |                    |
       +---asked--> ASKING -+ opened                  (also --lost--> LOST, --entered--> WAITING)

A relay starts in WAITING, by a query or by the first chunk of an attempt, which opens it in the same step. Where the
application is asked first whether the attempt may pass, it waits in ASKING, and holds what comes meanwhile. What is
held belongs to one attempt and to one way: a higher attempt enters WAITING and drops it, a way that is lost drops it
and tells the origin, once for each attempt. In LOST every chunk of that attempt is dropped, so the origin, which alone
raises attempts, is the only one who decides what is sent again. A loss that the next hop has told of is passed on as it
came, and not told a second time; but that of a later attempt, which has passed another way, is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamcell.protocol.base.machine import Symbol


class RelayState(Symbol):
    """Where a stream that passes through stands."""

    WAITING = enum.auto()
    ASKING = enum.auto()
    FORWARDING = enum.auto()
    LOST = enum.auto()
    ENDED = enum.auto()


class RelayInput(Symbol):
    """What can happen to a stream that passes through."""

    ENTERED = enum.auto()
    ASKED = enum.auto()
    OPENED = enum.auto()
    LOST = enum.auto()
    ENDED = enum.auto()


class RelayAction(Symbol):
    """What the relay does."""

    IGNORE = enum.auto()
    CLEAR = enum.auto()
    BEGIN = enum.auto()
    TELL_ORIGIN = enum.auto()
    FORGET = enum.auto()


_Y, _YI, _YA = RelayState, RelayInput, RelayAction
_RELAY_WRITTEN: dict[tuple[RelayState, RelayInput], tuple[RelayAction, RelayState]] = {
    (_Y.WAITING, _YI.ASKED): (_YA.IGNORE, _Y.ASKING),
    (_Y.WAITING, _YI.OPENED): (_YA.BEGIN, _Y.FORWARDING),
    (_Y.ASKING, _YI.OPENED): (_YA.BEGIN, _Y.FORWARDING),
}
for _relay_state in (_Y.WAITING, _Y.ASKING, _Y.FORWARDING, _Y.LOST):
    _RELAY_WRITTEN[_relay_state, _YI.ENTERED] = (_YA.CLEAR, _Y.WAITING)
    _RELAY_WRITTEN[_relay_state, _YI.LOST] = (_YA.TELL_ORIGIN, _Y.LOST)
    _RELAY_WRITTEN[_relay_state, _YI.ENDED] = (_YA.FORGET, _Y.ENDED)

RELAY_TABLE: Mapping[tuple[RelayState, RelayInput], tuple[RelayAction, RelayState]] = {
    (state, event): _RELAY_WRITTEN.get((state, event), (_YA.IGNORE, state))
    for state in RelayState
    for event in RelayInput
}
