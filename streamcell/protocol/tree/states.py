"""The states of a name that is announced to the parent, as a table. How tables are read: ``protocol/base/machine.py``.

**Announcement** (what a cell tells its parent of one name)::

    WAITING <--held back-- ANNOUNCING --accepted--> HELD
        |                     ^  |                  |
        +-------room----------+  +--gone--+--gone---+
                              |           v
                              +---- WITHDRAWING --withdrawn--> FORGOTTEN

The parent answers an Announce and a Withdraw alike, and what was not answered is said again when the lane that it
went by breaks. An answer that does not fit (the parent took the name after it was withdrawn here, or the other way
round: frames of two lanes overtake each other) makes this side say again how things stand, so both ends agree in the
end whatever was lost or late. So does an answer that is outdated, about another life or epoch of the cell: what it
answers may have come last. As each frame is answered once, and with its own life and epoch, this ends with the first
answer to how things stand.

A name for which the parent has no room waits, and is said again when there may be.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamcell.protocol.base.machine import Symbol


class AnnouncementState(Symbol):
    """Where a name that is announced to the parent stands."""

    ANNOUNCING = enum.auto()
    HELD = enum.auto()
    WITHDRAWING = enum.auto()
    WAITING = enum.auto()
    FORGOTTEN = enum.auto()


class AnnouncementInput(Symbol):
    """What can happen to it."""

    ANNOUNCED = enum.auto()
    ACCEPTED = enum.auto()
    REFUSED = enum.auto()
    GONE = enum.auto()
    WITHDRAWN = enum.auto()
    OUTDATED = enum.auto()
    LANE_LOST = enum.auto()
    HELD_BACK = enum.auto()
    ROOM = enum.auto()


class AnnouncementAction(Symbol):
    """What the announcing cell does."""

    IGNORE = enum.auto()
    SAY = enum.auto()
    CONFIRM = enum.auto()
    WAIT = enum.auto()
    FORGET = enum.auto()


_A, _AI, _AA = AnnouncementState, AnnouncementInput, AnnouncementAction
_ANNOUNCEMENT_WRITTEN: dict[
    tuple[AnnouncementState, AnnouncementInput], tuple[AnnouncementAction, AnnouncementState]
] = {
    (_A.ANNOUNCING, _AI.ACCEPTED): (_AA.CONFIRM, _A.HELD),
    (_A.ANNOUNCING, _AI.GONE): (_AA.SAY, _A.WITHDRAWING),
    (_A.ANNOUNCING, _AI.WITHDRAWN): (_AA.SAY, _A.ANNOUNCING),
    (_A.ANNOUNCING, _AI.OUTDATED): (_AA.SAY, _A.ANNOUNCING),
    (_A.ANNOUNCING, _AI.LANE_LOST): (_AA.SAY, _A.ANNOUNCING),
    (_A.ANNOUNCING, _AI.HELD_BACK): (_AA.WAIT, _A.WAITING),
    (_A.WAITING, _AI.ROOM): (_AA.SAY, _A.ANNOUNCING),
    (_A.WAITING, _AI.ACCEPTED): (_AA.CONFIRM, _A.HELD),
    (_A.WAITING, _AI.GONE): (_AA.FORGET, _A.FORGOTTEN),
    (_A.HELD, _AI.GONE): (_AA.SAY, _A.WITHDRAWING),
    (_A.HELD, _AI.WITHDRAWN): (_AA.SAY, _A.ANNOUNCING),
    (_A.HELD, _AI.OUTDATED): (_AA.SAY, _A.ANNOUNCING),
    (_A.WITHDRAWING, _AI.ACCEPTED): (_AA.SAY, _A.WITHDRAWING),
    (_A.WITHDRAWING, _AI.WITHDRAWN): (_AA.FORGET, _A.FORGOTTEN),
    (_A.WITHDRAWING, _AI.LANE_LOST): (_AA.SAY, _A.WITHDRAWING),
}
for _announcement_state in (_A.ANNOUNCING, _A.HELD, _A.WITHDRAWING):
    _ANNOUNCEMENT_WRITTEN[_announcement_state, _AI.ANNOUNCED] = (_AA.SAY, _A.ANNOUNCING)
    _ANNOUNCEMENT_WRITTEN[_announcement_state, _AI.REFUSED] = (_AA.FORGET, _A.FORGOTTEN)

ANNOUNCEMENT_TABLE: Mapping[
    tuple[AnnouncementState, AnnouncementInput], tuple[AnnouncementAction, AnnouncementState]
] = {
    (state, event): _ANNOUNCEMENT_WRITTEN.get((state, event), (_AA.IGNORE, state))
    for state in AnnouncementState
    for event in AnnouncementInput
}
