"""The states of a handshake, as a table. How tables are read: ``protocol/base/machine.py``.

**Handshake** (either side)::

    WORKING --stepped--> WAITING --heard--> WORKING
       | agreed             |
       v                    v
     ENDED <-- failed or out of time (from either)

WORKING waits for the shell, which makes the next part in a thread; WAITING for the other side. A part that comes while
WORKING is one that was sent twice, and is ignored; so is what the shell brings when the handshake has ended.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamcell.protocol.base.machine import Symbol


class HandshakeState(Symbol):
    """Where a handshake stands."""

    WORKING = enum.auto()
    WAITING = enum.auto()
    ENDED = enum.auto()


class HandshakeInput(Symbol):
    """What can happen to a handshake."""

    STEPPED = enum.auto()
    HEARD = enum.auto()
    AGREED = enum.auto()
    FAILED = enum.auto()


class HandshakeAction(Symbol):
    """What follows."""

    IGNORE = enum.auto()
    SAY = enum.auto()
    WORK = enum.auto()
    SHARE = enum.auto()
    FAIL = enum.auto()


_S, _HI, _HA = HandshakeState, HandshakeInput, HandshakeAction
_HANDSHAKE_WRITTEN: dict[tuple[HandshakeState, HandshakeInput], tuple[HandshakeAction, HandshakeState]] = {
    (_S.WORKING, _HI.STEPPED): (_HA.SAY, _S.WAITING),
    (_S.WORKING, _HI.AGREED): (_HA.SHARE, _S.ENDED),
    (_S.WORKING, _HI.FAILED): (_HA.FAIL, _S.ENDED),
    (_S.WAITING, _HI.HEARD): (_HA.WORK, _S.WORKING),
    (_S.WAITING, _HI.FAILED): (_HA.FAIL, _S.ENDED),
}

HANDSHAKE_TABLE: Mapping[tuple[HandshakeState, HandshakeInput], tuple[HandshakeAction, HandshakeState]] = {
    (state, event): _HANDSHAKE_WRITTEN.get((state, event), (_HA.IGNORE, state))
    for state in HandshakeState
    for event in HandshakeInput
}
