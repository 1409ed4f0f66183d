"""The states of the sending half of a stream, as a table. How tables are read: ``protocol/base/machine.py``.

**Sender** (the origin's half of a stream)::

    QUEUED --admitted--> SENDING --last sent--> FINISHING --complete--> SETTLED
      |                     |  ^                    |
      | admitted  path lost |  | go on    path lost |
      | to ask              v  |                    |
      |                   RESUMING <----------------+
      |                  |  ^  | path lost again
      |          unknown |  |  v
      |                  |  |  BACKING_OFF
      v                  v  | path lost
      +------------> AWAITING_OFFSET --go on--> SENDING
                            | seek
                            v
                         SEEKING --go on--> SENDING

RESUMING asks the target where to go on; a life of it that does not know the stream says so (UNKNOWN). What is
delivered whole, and what was never acknowledged, then starts over (GO_ON at 0). Any other stream is offered to that
life by a chunk without payload, and waits in AWAITING_OFFSET until the callback there has chosen an offset; so does a
stream with a resume id from the start, since an earlier life of its origin may have sent part of it. SEEKING is the
wait for the source, when the bytes from the offset on are not kept here (SEEK, in both RESUMING and AWAITING_OFFSET).

An attempt is begun by QUERY, and by CONTINUE where a chunk was sent in the present one, and by nothing else, so
"only the origin raises the attempt, once for each resume" holds by construction; the first is there from the start. In
SEEKING nothing is on its way, so a lost path is ignored there: what it lost has been answered. COMPLETE counts in every
state after the last chunk was sent in *any* attempt, since the target may have got everything while the origin was
asking; the owner only offers it then. GIVE_UP is every local reason to stop (cancel, timeout, failed source), RESET is
the target's word; both are final, and so is COMPLETE: the first of them wins and SETTLED ignores the others.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamcell.protocol.base.machine import Symbol


class SenderState(Symbol):
    """Where the sending half of a stream stands."""

    QUEUED = enum.auto()
    SENDING = enum.auto()
    RESUMING = enum.auto()
    AWAITING_OFFSET = enum.auto()
    SEEKING = enum.auto()
    BACKING_OFF = enum.auto()
    FINISHING = enum.auto()
    SETTLED = enum.auto()


class SenderInput(Symbol):
    """What can happen to the sending half."""

    ADMITTED = enum.auto()
    ADMITTED_TO_ASK = enum.auto()
    ADMITTED_UNAIMED = enum.auto()
    LAST_SENT = enum.auto()
    PATH_LOST = enum.auto()
    PATH_LOST_AGAIN = enum.auto()
    WAY_CHANGED = enum.auto()
    BACKOFF_OVER = enum.auto()
    UNKNOWN = enum.auto()
    SEEK = enum.auto()
    GO_ON = enum.auto()
    COMPLETE = enum.auto()
    GIVE_UP = enum.auto()
    RESET = enum.auto()


class SenderAction(Symbol):
    """What the sending half does."""

    IGNORE = enum.auto()
    ASK_FOR_LIFE = enum.auto()
    QUERY_AT_ONCE = enum.auto()
    QUERY = enum.auto()
    WAIT = enum.auto()
    OFFER = enum.auto()
    MOVE_SOURCE = enum.auto()
    CONTINUE = enum.auto()
    SUCCEED = enum.auto()
    FAIL = enum.auto()
    RESET_AND_FAIL = enum.auto()


_S, _SI, _SA = SenderState, SenderInput, SenderAction
_SENDER_WRITTEN: dict[tuple[SenderState, SenderInput], tuple[SenderAction, SenderState]] = {
    (_S.QUEUED, _SI.ADMITTED): (_SA.IGNORE, _S.SENDING),
    (_S.QUEUED, _SI.ADMITTED_TO_ASK): (_SA.OFFER, _S.AWAITING_OFFSET),
    (_S.QUEUED, _SI.ADMITTED_UNAIMED): (_SA.ASK_FOR_LIFE, _S.RESUMING),
    (_S.QUEUED, _SI.GIVE_UP): (_SA.FAIL, _S.SETTLED),
    (_S.SENDING, _SI.LAST_SENT): (_SA.IGNORE, _S.FINISHING),
    (_S.SENDING, _SI.PATH_LOST): (_SA.QUERY_AT_ONCE, _S.RESUMING),
    (_S.SENDING, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
    (_S.RESUMING, _SI.PATH_LOST): (_SA.QUERY_AT_ONCE, _S.RESUMING),
    (_S.RESUMING, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
    (_S.RESUMING, _SI.WAY_CHANGED): (_SA.QUERY, _S.RESUMING),
    (_S.RESUMING, _SI.UNKNOWN): (_SA.OFFER, _S.AWAITING_OFFSET),
    (_S.RESUMING, _SI.SEEK): (_SA.MOVE_SOURCE, _S.SEEKING),
    (_S.RESUMING, _SI.GO_ON): (_SA.CONTINUE, _S.SENDING),
    (_S.AWAITING_OFFSET, _SI.PATH_LOST): (_SA.QUERY_AT_ONCE, _S.RESUMING),
    (_S.AWAITING_OFFSET, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
    (_S.AWAITING_OFFSET, _SI.SEEK): (_SA.MOVE_SOURCE, _S.SEEKING),
    (_S.AWAITING_OFFSET, _SI.GO_ON): (_SA.CONTINUE, _S.SENDING),
    (_S.SEEKING, _SI.WAY_CHANGED): (_SA.QUERY, _S.SEEKING),
    (_S.SEEKING, _SI.GO_ON): (_SA.CONTINUE, _S.SENDING),
    (_S.BACKING_OFF, _SI.BACKOFF_OVER): (_SA.QUERY, _S.RESUMING),
    (_S.FINISHING, _SI.PATH_LOST): (_SA.QUERY_AT_ONCE, _S.RESUMING),
    (_S.FINISHING, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
}
for _state in (_S.SENDING, _S.RESUMING, _S.AWAITING_OFFSET, _S.SEEKING, _S.BACKING_OFF, _S.FINISHING):
    _SENDER_WRITTEN[_state, _SI.COMPLETE] = (_SA.SUCCEED, _S.SETTLED)
    _SENDER_WRITTEN[_state, _SI.GIVE_UP] = (_SA.RESET_AND_FAIL, _S.SETTLED)
    _SENDER_WRITTEN[_state, _SI.RESET] = (_SA.FAIL, _S.SETTLED)

SENDER_TABLE: Mapping[tuple[SenderState, SenderInput], tuple[SenderAction, SenderState]] = {
    (state, event): _SENDER_WRITTEN.get((state, event), (_SA.IGNORE, state))
    for state in SenderState
    for event in SenderInput
}
