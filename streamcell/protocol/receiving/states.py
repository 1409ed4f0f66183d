"""The states of the receiving half of a stream, and of the point where it starts, as tables.

How tables are read: ``protocol/base/machine.py``. Whoever owns the state does what the action says.

**Receiver** (the target's half)::

    OFFERED --accepted--> WAITING --admitted--> RECEIVING --all received--> RECEIVED --approved--> APPROVED
                                                                                                      | finished
                                                                                                      v
                                                                                                    ENDED

A stream is accepted to be read piece by piece (ACCEPTED, which admits it at once), to be assembled in memory of the
application's own (ACCEPTED_WHOLE, the same), or to be assembled in memory that has to be reserved first
(ACCEPTED_TO_RESERVE). Chunks are taken in in every state before ENDED, within the credit that was given; the states say
only what the application may see. DELIVER hands over what came before admission. APPROVED means that the application
has every byte, and that they are what the sender says. FINISHED is offered when it has released the stream too, so the
final Ack cannot come before either. Who closes a stream where it ends, as far as is known then, releases it; who closes
it before gives it up. This table is the one judge of both: the shell reports facts, and settles nothing at the sender
by itself.

**Starting point** (where a received stream begins)::

    OPEN --choose--> CHOSEN --went on--> PLACED
      | weigh          ^
      v                | choose
    WEIGHING ----------+

A stream whose origin waits for an offset starts in OPEN, any other in PLACED. WEIGHING means that the application is
at it (it hashes what it has), so that its silence is no fault. In CHOSEN the target repeats the offset until a chunk
shows where the origin went on, which is there or, if it cannot agree, at 0. Of two choices the first counts. A
receiver whose origin was restarted goes back to CHOSEN, at what it has received (MOVED), unless it is OPEN still; what
was chosen and not yet placed stays and is told to the new life, too.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from streamcell.protocol.base.machine import Symbol


class ReceiverState(Symbol):
    """Where the receiving half of a stream stands."""

    OFFERED = enum.auto()
    WAITING = enum.auto()
    RECEIVING = enum.auto()
    RECEIVED = enum.auto()
    APPROVED = enum.auto()
    ENDED = enum.auto()


class ReceiverInput(Symbol):
    """What can happen to the receiving half."""

    ACCEPTED = enum.auto()
    ACCEPTED_WHOLE = enum.auto()
    ACCEPTED_TO_RESERVE = enum.auto()
    ADMITTED = enum.auto()
    ALL_RECEIVED = enum.auto()
    APPROVED = enum.auto()
    FINISHED = enum.auto()
    GIVE_UP = enum.auto()
    RESET = enum.auto()


class ReceiverAction(Symbol):
    """What the receiving half does."""

    IGNORE = enum.auto()
    ADMIT = enum.auto()
    ASSEMBLE = enum.auto()
    RESERVE = enum.auto()
    DELIVER = enum.auto()
    END_DATA = enum.auto()
    CONFIRM_IF_RELEASED = enum.auto()
    CONFIRM = enum.auto()
    FAIL = enum.auto()
    RESET_AND_FAIL = enum.auto()


class StartingPointState(Symbol):
    """How far the two ends are in agreeing where a stream begins."""

    OPEN = enum.auto()
    WEIGHING = enum.auto()
    CHOSEN = enum.auto()
    PLACED = enum.auto()


class StartingPointInput(Symbol):
    """What can happen while the two ends agree."""

    WEIGH = enum.auto()
    CHOOSE = enum.auto()
    WENT_ON = enum.auto()
    MOVED = enum.auto()


class StartingPointAction(Symbol):
    """What the starting point does."""

    IGNORE = enum.auto()
    TELL = enum.auto()
    TELL_AGAIN = enum.auto()
    STOP_TELLING = enum.auto()


_R, _RI, _RA = ReceiverState, ReceiverInput, ReceiverAction
_RECEIVER_WRITTEN: dict[tuple[ReceiverState, ReceiverInput], tuple[ReceiverAction, ReceiverState]] = {
    (_R.OFFERED, _RI.ACCEPTED): (_RA.ADMIT, _R.WAITING),
    (_R.OFFERED, _RI.ACCEPTED_WHOLE): (_RA.ASSEMBLE, _R.WAITING),
    (_R.OFFERED, _RI.ACCEPTED_TO_RESERVE): (_RA.RESERVE, _R.WAITING),
    (_R.WAITING, _RI.ADMITTED): (_RA.DELIVER, _R.RECEIVING),
    (_R.RECEIVING, _RI.ALL_RECEIVED): (_RA.END_DATA, _R.RECEIVED),
    (_R.RECEIVED, _RI.APPROVED): (_RA.CONFIRM_IF_RELEASED, _R.APPROVED),
    (_R.APPROVED, _RI.FINISHED): (_RA.CONFIRM, _R.ENDED),
}
for _receiver_state in (_R.OFFERED, _R.WAITING, _R.RECEIVING, _R.RECEIVED, _R.APPROVED):
    _RECEIVER_WRITTEN[_receiver_state, _RI.GIVE_UP] = (_RA.RESET_AND_FAIL, _R.ENDED)
    _RECEIVER_WRITTEN[_receiver_state, _RI.RESET] = (_RA.FAIL, _R.ENDED)

RECEIVER_TABLE: Mapping[tuple[ReceiverState, ReceiverInput], tuple[ReceiverAction, ReceiverState]] = {
    (state, event): _RECEIVER_WRITTEN.get((state, event), (_RA.IGNORE, state))
    for state in ReceiverState
    for event in ReceiverInput
}

_S, _SI, _SA = StartingPointState, StartingPointInput, StartingPointAction
_STARTING_POINT_WRITTEN: dict[
    tuple[StartingPointState, StartingPointInput], tuple[StartingPointAction, StartingPointState]
] = {
    (_S.OPEN, _SI.WEIGH): (_SA.IGNORE, _S.WEIGHING),
    (_S.OPEN, _SI.CHOOSE): (_SA.TELL, _S.CHOSEN),
    (_S.OPEN, _SI.WENT_ON): (_SA.STOP_TELLING, _S.PLACED),
    (_S.WEIGHING, _SI.CHOOSE): (_SA.TELL, _S.CHOSEN),
    (_S.WEIGHING, _SI.WENT_ON): (_SA.STOP_TELLING, _S.PLACED),
    (_S.CHOSEN, _SI.WENT_ON): (_SA.STOP_TELLING, _S.PLACED),
    (_S.CHOSEN, _SI.MOVED): (_SA.TELL_AGAIN, _S.CHOSEN),
    (_S.PLACED, _SI.MOVED): (_SA.TELL, _S.CHOSEN),
}

STARTING_POINT_TABLE: Mapping[
    tuple[StartingPointState, StartingPointInput], tuple[StartingPointAction, StartingPointState]
] = {
    (state, event): _STARTING_POINT_WRITTEN.get((state, event), (_SA.IGNORE, state))
    for state in StartingPointState
    for event in StartingPointInput
}
