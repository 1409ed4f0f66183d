"""The states of senders, receivers, agreements and lanes, as tables. Imports the standard library only.

Each table maps every (state, input) pair to what to do and the state that follows. A pair that is not written down is
ignored, and that is a decision, not an omission: frames cross on the way, so a half that has ended, or has moved on,
keeps getting inputs that no longer concern it. The owner of a state calls :func:`step`, stores the new state, and
then acts; nothing else changes a state.

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

An attempt is begun by QUERY, and by CONTINUE where a chunk was sent in the present one, and by nothing else (after the
first, which START begins), so "only the origin raises the attempt, once for each resume" holds by construction. In
SEEKING nothing is on its way, so a lost path is ignored there: what it lost has been answered. COMPLETE counts in every
state after the last chunk was sent in *any* attempt, since the target may have got everything while the origin was
asking; the owner only offers it then. GIVE_UP is every local reason to stop (cancel, timeout, failed source), RESET is
the target's word; both are final, and so is COMPLETE: the first of them wins and SETTLED ignores the others.

**Receiver** (the target's half)::

    OFFERED --accepted--> WAITING --admitted--> RECEIVING --all received--> RECEIVED --approved--> APPROVED
                                                                                                      | finished
                                                                                                      v
                                                                                                    ENDED

Chunks are placed in every state before ENDED, within the credit that was given; the states say only what the
application may see. DELIVER hands over what came before admission. APPROVED means that the application has every byte,
and that they are what the sender says. FINISHED is offered when it has released the stream too, so the final Ack cannot
come before either. Who closes a stream where it ends, as far as is known then, releases it; who closes it before gives
it up. This table is the one judge of both: the shell reports facts, and settles nothing at the sender by itself.

**Agreement** (where a received stream begins)::

    OPEN --choose--> CHOSEN --went on--> PLACED
      | weigh          ^
      v                | choose
    WEIGHING ----------+

A stream whose origin waits for an offset starts in OPEN, any other in PLACED. WEIGHING means that the application is
at it (it hashes what it has), so that its silence is no fault. In CHOSEN the target repeats the offset until a chunk
shows where the origin went on, which is there or, if it cannot agree, at 0. Of two choices the first counts. A
receiver whose origin was restarted goes back to CHOSEN, at what it has received (MOVED), unless it is OPEN still.

**Lane**::

    DIALLING --connected--> GREETING --hello--> READY <--heard-- SUSPECT
                               |                  +--silent------>
                        claimed v
                            CLAIMING --granted--> READY

    READY or SUSPECT --ending--> LEAVING --replaced--> DRAINING --emptied--> EMPTY

A lane starts in DIALLING at the dialler and in GREETING at the listener. CLAIMING is the listener's wait for the
holder of a name that a newcomer claims. Every state goes to CLOSED when the carrier ends, when either side says
Goodbye, or when the lane is given up; a closed lane never comes back.

A lane of which the dialler's carrier says that its connection is about to end is LEAVING: it is used as before until
another one of its role, dialled at once, takes its place. From then on, at either end, nothing more is put on it but a
Ping; when the Pong comes everything before it has arrived, so what a lane carried that closes in EMPTY is not lost.
The listener learns of it from the Hello of the lane that takes the place, and goes to DRAINING directly.

**Relay** (a stream that passes through a cell in the middle)::

    WAITING --opened--> FORWARDING --lost--> LOST
       ^                    |                 |
       +------ entered -----+-----------------+     (each also --ended--> ENDED)

A relay starts in WAITING, by a query or by the first chunk of an attempt, which opens it in the same step. What is
held belongs to one attempt and to one way: a higher attempt enters WAITING and drops it, a way that is lost drops it
and tells the origin, once for each attempt. In LOST every chunk of that attempt is dropped, so the origin, which alone
raises attempts, is the only one who decides what is sent again.

**Announcement** (what a cell tells its parent of one name)::

    ANNOUNCING --accepted--> HELD
        ^  |                  |
        |  +--gone--+--gone---+
        |           v
        +---- WITHDRAWING --withdrawn--> FORGOTTEN

The parent answers an Announce and a Withdraw alike, and what was not answered is said again when the lane that it
went by breaks. An answer that does not fit (the parent took the name after it was withdrawn here, or the other way
round: frames of two lanes overtake each other) makes this side say again how things stand, so both ends agree in the
end whatever was lost or late. So does an answer that is outdated, about another life or epoch of the cell: what it
answers may have come last. As each frame is answered once, and with its own life and epoch, this ends with the first
answer to how things stand.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar


class _Symbol(enum.Enum):
    """An enumeration whose members are found in a table by identity: the states are looked up for every frame."""

    __hash__ = object.__hash__


class SenderState(_Symbol):
    """Where the sending half of a stream stands."""

    QUEUED = enum.auto()
    SENDING = enum.auto()
    RESUMING = enum.auto()
    AWAITING_OFFSET = enum.auto()
    SEEKING = enum.auto()
    BACKING_OFF = enum.auto()
    FINISHING = enum.auto()
    SETTLED = enum.auto()


class SenderInput(_Symbol):
    """What can happen to the sending half."""

    ADMITTED = enum.auto()
    ADMITTED_TO_ASK = enum.auto()
    LAST_SENT = enum.auto()
    PATH_LOST = enum.auto()
    PATH_LOST_AGAIN = enum.auto()
    BACKOFF_OVER = enum.auto()
    UNKNOWN = enum.auto()
    SEEK = enum.auto()
    GO_ON = enum.auto()
    COMPLETE = enum.auto()
    GIVE_UP = enum.auto()
    RESET = enum.auto()


class SenderAction(_Symbol):
    """What the owner of the sending half does."""

    IGNORE = enum.auto()
    START = enum.auto()
    QUERY = enum.auto()
    WAIT = enum.auto()
    OFFER = enum.auto()
    MOVE_SOURCE = enum.auto()
    CONTINUE = enum.auto()
    SUCCEED = enum.auto()
    FAIL = enum.auto()
    RESET_AND_FAIL = enum.auto()


class ReceiverState(_Symbol):
    """Where the receiving half of a stream stands."""

    OFFERED = enum.auto()
    WAITING = enum.auto()
    RECEIVING = enum.auto()
    RECEIVED = enum.auto()
    APPROVED = enum.auto()
    ENDED = enum.auto()


class ReceiverInput(_Symbol):
    """What can happen to the receiving half."""

    ACCEPTED = enum.auto()
    ADMITTED = enum.auto()
    ALL_RECEIVED = enum.auto()
    APPROVED = enum.auto()
    FINISHED = enum.auto()
    GIVE_UP = enum.auto()
    RESET = enum.auto()


class ReceiverAction(_Symbol):
    """What the owner of the receiving half does."""

    IGNORE = enum.auto()
    ADMIT = enum.auto()
    DELIVER = enum.auto()
    END_DATA = enum.auto()
    CONFIRM = enum.auto()
    FAIL = enum.auto()
    RESET_AND_FAIL = enum.auto()


class AgreementState(_Symbol):
    """How far the two ends are in agreeing where a stream begins."""

    OPEN = enum.auto()
    WEIGHING = enum.auto()
    CHOSEN = enum.auto()
    PLACED = enum.auto()


class AgreementInput(_Symbol):
    """What can happen to an agreement."""

    WEIGH = enum.auto()
    CHOOSE = enum.auto()
    WENT_ON = enum.auto()
    MOVED = enum.auto()


class AgreementAction(_Symbol):
    """What the owner of an agreement does."""

    IGNORE = enum.auto()
    TELL = enum.auto()
    PLACE = enum.auto()


class LaneState(_Symbol):
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


class LaneInput(_Symbol):
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


class LaneAction(_Symbol):
    """What the owner of a lane does."""

    IGNORE = enum.auto()
    GREET = enum.auto()
    JOIN = enum.auto()
    ASK_HOLDER = enum.auto()
    DIAL_BESIDE = enum.auto()
    TRUST_AGAIN = enum.auto()
    DIAL_NEXT = enum.auto()
    DRAIN = enum.auto()
    RELEASE = enum.auto()
    PART = enum.auto()
    FORGET = enum.auto()


class RelayState(enum.Enum):
    """Where a stream that passes through stands."""

    WAITING = enum.auto()
    FORWARDING = enum.auto()
    LOST = enum.auto()
    ENDED = enum.auto()


class RelayInput(enum.Enum):
    """What can happen to a stream that passes through."""

    ENTERED = enum.auto()
    OPENED = enum.auto()
    LOST = enum.auto()
    ENDED = enum.auto()


class RelayAction(enum.Enum):
    """What the relay does."""

    IGNORE = enum.auto()
    CLEAR = enum.auto()
    BEGIN = enum.auto()
    TELL_ORIGIN = enum.auto()
    FORGET = enum.auto()


class AnnouncementState(enum.Enum):
    """Where a name that is announced to the parent stands."""

    ANNOUNCING = enum.auto()
    HELD = enum.auto()
    WITHDRAWING = enum.auto()
    FORGOTTEN = enum.auto()


class AnnouncementInput(enum.Enum):
    """What can happen to it."""

    ANNOUNCED = enum.auto()
    ACCEPTED = enum.auto()
    REFUSED = enum.auto()
    GONE = enum.auto()
    WITHDRAWN = enum.auto()
    OUTDATED = enum.auto()
    LANE_LOST = enum.auto()


class AnnouncementAction(enum.Enum):
    """What the announcing cell does."""

    IGNORE = enum.auto()
    SAY = enum.auto()
    CONFIRM = enum.auto()
    FORGET = enum.auto()


_S, _SI, _SA = SenderState, SenderInput, SenderAction
_SENDER_WRITTEN: dict[tuple[SenderState, SenderInput], tuple[SenderAction, SenderState]] = {
    (_S.QUEUED, _SI.ADMITTED): (_SA.START, _S.SENDING),
    (_S.QUEUED, _SI.ADMITTED_TO_ASK): (_SA.START, _S.AWAITING_OFFSET),
    (_S.QUEUED, _SI.GIVE_UP): (_SA.FAIL, _S.SETTLED),
    (_S.SENDING, _SI.LAST_SENT): (_SA.IGNORE, _S.FINISHING),
    (_S.SENDING, _SI.PATH_LOST): (_SA.QUERY, _S.RESUMING),
    (_S.SENDING, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
    (_S.RESUMING, _SI.PATH_LOST): (_SA.QUERY, _S.RESUMING),
    (_S.RESUMING, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
    (_S.RESUMING, _SI.UNKNOWN): (_SA.OFFER, _S.AWAITING_OFFSET),
    (_S.RESUMING, _SI.SEEK): (_SA.MOVE_SOURCE, _S.SEEKING),
    (_S.RESUMING, _SI.GO_ON): (_SA.CONTINUE, _S.SENDING),
    (_S.AWAITING_OFFSET, _SI.PATH_LOST): (_SA.QUERY, _S.RESUMING),
    (_S.AWAITING_OFFSET, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
    (_S.AWAITING_OFFSET, _SI.SEEK): (_SA.MOVE_SOURCE, _S.SEEKING),
    (_S.AWAITING_OFFSET, _SI.GO_ON): (_SA.CONTINUE, _S.SENDING),
    (_S.SEEKING, _SI.GO_ON): (_SA.CONTINUE, _S.SENDING),
    (_S.BACKING_OFF, _SI.BACKOFF_OVER): (_SA.QUERY, _S.RESUMING),
    (_S.FINISHING, _SI.PATH_LOST): (_SA.QUERY, _S.RESUMING),
    (_S.FINISHING, _SI.PATH_LOST_AGAIN): (_SA.WAIT, _S.BACKING_OFF),
}
for _state in (_S.SENDING, _S.RESUMING, _S.AWAITING_OFFSET, _S.SEEKING, _S.BACKING_OFF, _S.FINISHING):
    _SENDER_WRITTEN[_state, _SI.COMPLETE] = (_SA.SUCCEED, _S.SETTLED)
    _SENDER_WRITTEN[_state, _SI.GIVE_UP] = (_SA.RESET_AND_FAIL, _S.SETTLED)
    _SENDER_WRITTEN[_state, _SI.RESET] = (_SA.FAIL, _S.SETTLED)

_R, _RI, _RA = ReceiverState, ReceiverInput, ReceiverAction
_RECEIVER_WRITTEN: dict[tuple[ReceiverState, ReceiverInput], tuple[ReceiverAction, ReceiverState]] = {
    (_R.OFFERED, _RI.ACCEPTED): (_RA.ADMIT, _R.WAITING),
    (_R.WAITING, _RI.ADMITTED): (_RA.DELIVER, _R.RECEIVING),
    (_R.RECEIVING, _RI.ALL_RECEIVED): (_RA.END_DATA, _R.RECEIVED),
    (_R.RECEIVED, _RI.APPROVED): (_RA.IGNORE, _R.APPROVED),
    (_R.APPROVED, _RI.FINISHED): (_RA.CONFIRM, _R.ENDED),
}
for _receiver_state in (_R.OFFERED, _R.WAITING, _R.RECEIVING, _R.RECEIVED, _R.APPROVED):
    _RECEIVER_WRITTEN[_receiver_state, _RI.GIVE_UP] = (_RA.RESET_AND_FAIL, _R.ENDED)
    _RECEIVER_WRITTEN[_receiver_state, _RI.RESET] = (_RA.FAIL, _R.ENDED)

_G, _GI, _GA = AgreementState, AgreementInput, AgreementAction
_AGREEMENT_WRITTEN: dict[tuple[AgreementState, AgreementInput], tuple[AgreementAction, AgreementState]] = {
    (_G.OPEN, _GI.WEIGH): (_GA.IGNORE, _G.WEIGHING),
    (_G.OPEN, _GI.CHOOSE): (_GA.TELL, _G.CHOSEN),
    (_G.OPEN, _GI.WENT_ON): (_GA.PLACE, _G.PLACED),
    (_G.WEIGHING, _GI.CHOOSE): (_GA.TELL, _G.CHOSEN),
    (_G.WEIGHING, _GI.WENT_ON): (_GA.PLACE, _G.PLACED),
    (_G.CHOSEN, _GI.WENT_ON): (_GA.PLACE, _G.PLACED),
    (_G.CHOSEN, _GI.MOVED): (_GA.TELL, _G.CHOSEN),
    (_G.PLACED, _GI.MOVED): (_GA.TELL, _G.CHOSEN),
}

_L, _LI, _LA = LaneState, LaneInput, LaneAction
_LANE_WRITTEN: dict[tuple[LaneState, LaneInput], tuple[LaneAction, LaneState]] = {
    (_L.DIALLING, _LI.CONNECTED): (_LA.GREET, _L.GREETING),
    (_L.GREETING, _LI.HELLO): (_LA.JOIN, _L.READY),
    (_L.GREETING, _LI.CLAIMED): (_LA.ASK_HOLDER, _L.CLAIMING),
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

_Y, _YI, _YA = RelayState, RelayInput, RelayAction
_RELAY_WRITTEN: dict[tuple[RelayState, RelayInput], tuple[RelayAction, RelayState]] = {
    (_Y.WAITING, _YI.OPENED): (_YA.BEGIN, _Y.FORWARDING),
    (_Y.WAITING, _YI.LOST): (_YA.TELL_ORIGIN, _Y.LOST),
    (_Y.FORWARDING, _YI.LOST): (_YA.TELL_ORIGIN, _Y.LOST),
}
for _relay_state in (_Y.WAITING, _Y.FORWARDING, _Y.LOST):
    _RELAY_WRITTEN[_relay_state, _YI.ENTERED] = (_YA.CLEAR, _Y.WAITING)
    _RELAY_WRITTEN[_relay_state, _YI.ENDED] = (_YA.FORGET, _Y.ENDED)

_A, _AI, _AA = AnnouncementState, AnnouncementInput, AnnouncementAction
_ANNOUNCEMENT_WRITTEN: dict[
    tuple[AnnouncementState, AnnouncementInput], tuple[AnnouncementAction, AnnouncementState]
] = {
    (_A.ANNOUNCING, _AI.ACCEPTED): (_AA.CONFIRM, _A.HELD),
    (_A.ANNOUNCING, _AI.GONE): (_AA.SAY, _A.WITHDRAWING),
    (_A.ANNOUNCING, _AI.WITHDRAWN): (_AA.SAY, _A.ANNOUNCING),
    (_A.ANNOUNCING, _AI.OUTDATED): (_AA.SAY, _A.ANNOUNCING),
    (_A.ANNOUNCING, _AI.LANE_LOST): (_AA.SAY, _A.ANNOUNCING),
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

_StateT = TypeVar("_StateT", bound=enum.Enum)
_InputT = TypeVar("_InputT", bound=enum.Enum)
_ActionT = TypeVar("_ActionT", bound=enum.Enum)

SENDER_TABLE: Mapping[tuple[SenderState, SenderInput], tuple[SenderAction, SenderState]] = {
    (state, event): _SENDER_WRITTEN.get((state, event), (_SA.IGNORE, state))
    for state in SenderState
    for event in SenderInput
}
RECEIVER_TABLE: Mapping[tuple[ReceiverState, ReceiverInput], tuple[ReceiverAction, ReceiverState]] = {
    (state, event): _RECEIVER_WRITTEN.get((state, event), (_RA.IGNORE, state))
    for state in ReceiverState
    for event in ReceiverInput
}
AGREEMENT_TABLE: Mapping[tuple[AgreementState, AgreementInput], tuple[AgreementAction, AgreementState]] = {
    (state, event): _AGREEMENT_WRITTEN.get((state, event), (_GA.IGNORE, state))
    for state in AgreementState
    for event in AgreementInput
}
LANE_TABLE: Mapping[tuple[LaneState, LaneInput], tuple[LaneAction, LaneState]] = {
    (state, event): _LANE_WRITTEN.get((state, event), (_LA.IGNORE, state)) for state in LaneState for event in LaneInput
}

RELAY_TABLE: Mapping[tuple[RelayState, RelayInput], tuple[RelayAction, RelayState]] = {
    (state, event): _RELAY_WRITTEN.get((state, event), (_YA.IGNORE, state))
    for state in RelayState
    for event in RelayInput
}
ANNOUNCEMENT_TABLE: Mapping[
    tuple[AnnouncementState, AnnouncementInput], tuple[AnnouncementAction, AnnouncementState]
] = {
    (state, event): _ANNOUNCEMENT_WRITTEN.get((state, event), (_AA.IGNORE, state))
    for state in AnnouncementState
    for event in AnnouncementInput
}


def step(
    table: Mapping[tuple[_StateT, _InputT], tuple[_ActionT, _StateT]],
    state: _StateT,
    event: _InputT,
) -> tuple[_ActionT, _StateT]:
    """Return what to do and the state that follows."""
    return table[state, event]
