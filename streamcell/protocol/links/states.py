"""The states of a lane, as a table. How tables are read: ``protocol/base/machine.py``.

**Lane**::

    DIALLING --connected--> GREETING --hello or granted--> READY <--heard-- SUSPECT
                               |                             +--silent------>
                        claimed v
                            CLAIMING --granted-----------> READY

    READY or SUSPECT --ending--> LEAVING --replaced--> DRAINING --emptied--> EMPTY

A lane starts in DIALLING at the dialler and in GREETING at the listener. The dialler takes it into its link by the
listener's Hello, the listener when it has granted it. CLAIMING is the listener's wait for the holder of a name that a
newcomer claims. Every state goes to CLOSED when the carrier ends, when either side says Goodbye, or when the lane is
given up; a closed lane never comes back.

A lane of which the dialler's carrier says that its connection is about to end is LEAVING: it is used as before until
another one of its role, dialled at once, takes its place. From then on, at either end, nothing more is put on it but a
Ping; when the Pong comes everything before it has arrived, so what a lane carried that closes in EMPTY is not lost.
The listener learns of it from the Hello of the lane that takes the place, and goes to DRAINING directly.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamcell.protocol.base.machine import Symbol


class LaneState(Symbol):
    """Where a lane stands."""

    DIALLING = enum.auto()
    GREETING = enum.auto()
    CLAIMING = enum.auto()
    READY = enum.auto()
    SUSPECT = enum.auto()
    LEAVING = enum.auto()
    DRAINING = enum.auto()
    EMPTY = enum.auto()
    CLOSED = enum.auto()


class LaneInput(Symbol):
    """What can happen to a lane."""

    CONNECTED = enum.auto()
    HELLO = enum.auto()
    CLAIMED = enum.auto()
    GRANTED = enum.auto()
    SILENT = enum.auto()
    HEARD = enum.auto()
    ENDING = enum.auto()
    REPLACED = enum.auto()
    EMPTIED = enum.auto()
    CLOSED = enum.auto()


class LaneAction(Symbol):
    """What the owner of a lane does."""

    IGNORE = enum.auto()
    GREET = enum.auto()
    JOIN = enum.auto()
    AWAIT_HOLDER = enum.auto()
    DIAL_BESIDE = enum.auto()
    TRUST_AGAIN = enum.auto()
    DIAL_NEXT = enum.auto()
    DRAIN = enum.auto()
    RELEASE = enum.auto()
    PART = enum.auto()
    FORGET = enum.auto()


_L, _LI, _LA = LaneState, LaneInput, LaneAction
_LANE_WRITTEN: dict[tuple[LaneState, LaneInput], tuple[LaneAction, LaneState]] = {
    (_L.DIALLING, _LI.CONNECTED): (_LA.GREET, _L.GREETING),
    (_L.GREETING, _LI.HELLO): (_LA.JOIN, _L.READY),
    (_L.GREETING, _LI.GRANTED): (_LA.JOIN, _L.READY),
    (_L.GREETING, _LI.CLAIMED): (_LA.AWAIT_HOLDER, _L.CLAIMING),
    (_L.CLAIMING, _LI.GRANTED): (_LA.JOIN, _L.READY),
    (_L.READY, _LI.SILENT): (_LA.DIAL_BESIDE, _L.SUSPECT),
    (_L.READY, _LI.ENDING): (_LA.DIAL_NEXT, _L.LEAVING),
    (_L.READY, _LI.REPLACED): (_LA.DRAIN, _L.DRAINING),
    (_L.SUSPECT, _LI.HEARD): (_LA.TRUST_AGAIN, _L.READY),
    (_L.SUSPECT, _LI.ENDING): (_LA.DIAL_NEXT, _L.LEAVING),
    (_L.SUSPECT, _LI.REPLACED): (_LA.DRAIN, _L.DRAINING),
    (_L.LEAVING, _LI.REPLACED): (_LA.DRAIN, _L.DRAINING),
    (_L.DRAINING, _LI.EMPTIED): (_LA.RELEASE, _L.EMPTY),
    (_L.EMPTY, _LI.CLOSED): (_LA.PART, _L.CLOSED),
}
for _lane_state in (_L.DIALLING, _L.GREETING, _L.CLAIMING, _L.READY, _L.SUSPECT, _L.LEAVING, _L.DRAINING):
    _LANE_WRITTEN[_lane_state, _LI.CLOSED] = (_LA.FORGET, _L.CLOSED)

LANE_TABLE: Mapping[tuple[LaneState, LaneInput], tuple[LaneAction, LaneState]] = {
    (state, event): _LANE_WRITTEN.get((state, event), (_LA.IGNORE, state)) for state in LaneState for event in LaneInput
}
