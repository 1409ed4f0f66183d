"""Every pair of a state and an input, against the essays in the wings' ``states.py``, written down a second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from streamcell.digest import Digest
from streamcell.protocol.base.machine import step
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.states import (
    LANE_TABLE,
    LaneAction,
    LaneInput,
    LaneState,
)
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.receiving.starting_point import StartingPoint
from streamcell.protocol.receiving.states import (
    RECEIVER_TABLE,
    STARTING_POINT_TABLE,
    ReceiverAction,
    ReceiverInput,
    ReceiverState,
    StartingPointAction,
    StartingPointInput,
    StartingPointState,
)
from streamcell.protocol.relaying.passing import RelayedStream
from streamcell.protocol.relaying.states import RELAY_TABLE, RelayAction, RelayInput, RelayState
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.states import (
    SENDER_TABLE,
    SenderAction,
    SenderInput,
    SenderState,
)
from tests.core.receivers import NOW, OneReceiver
from tests.core.samples import make_lane

Row = tuple[str, str]

# Of each state, what each input does and where it leads; an input that is not named is ignored.
SENDER: dict[str, dict[str, Row]] = {
    "QUEUED": {
        "ADMITTED": ("IGNORE", "SENDING"),
        # An earlier life of this origin may have sent part of it.
        "ADMITTED_TO_ASK": ("OFFER", "AWAITING_OFFSET"),
        # Nobody knows who would get it.
        "ADMITTED_UNAIMED": ("ASK_FOR_LIFE", "RESUMING"),
        # Nothing was sent, so there is nobody to tell.
        "GIVE_UP": ("FAIL", "SETTLED"),
    },
    "SENDING": {
        "LAST_SENT": ("IGNORE", "FINISHING"),
        "PATH_LOST": ("QUERY_AT_ONCE", "RESUMING"),
        "PATH_LOST_AGAIN": ("WAIT", "BACKING_OFF"),
        # The end may have been sent in an earlier attempt.
        "COMPLETE": ("SUCCEED", "SETTLED"),
        "GIVE_UP": ("RESET_AND_FAIL", "SETTLED"),
        "RESET": ("FAIL", "SETTLED"),
    },
    "RESUMING": {
        "PATH_LOST": ("QUERY_AT_ONCE", "RESUMING"),
        "PATH_LOST_AGAIN": ("WAIT", "BACKING_OFF"),
        # The question went the other way.
        "WAY_CHANGED": ("QUERY", "RESUMING"),
        "UNKNOWN": ("OFFER", "AWAITING_OFFSET"),
        "SEEK": ("MOVE_SOURCE", "SEEKING"),
        "GO_ON": ("CONTINUE", "SENDING"),
        "COMPLETE": ("SUCCEED", "SETTLED"),
        "GIVE_UP": ("RESET_AND_FAIL", "SETTLED"),
        "RESET": ("FAIL", "SETTLED"),
    },
    "AWAITING_OFFSET": {
        "PATH_LOST": ("QUERY_AT_ONCE", "RESUMING"),
        "PATH_LOST_AGAIN": ("WAIT", "BACKING_OFF"),
        "SEEK": ("MOVE_SOURCE", "SEEKING"),
        "GO_ON": ("CONTINUE", "SENDING"),
        # From an earlier life of the target, which got all of it.
        "COMPLETE": ("SUCCEED", "SETTLED"),
        "GIVE_UP": ("RESET_AND_FAIL", "SETTLED"),
        "RESET": ("FAIL", "SETTLED"),
    },
    "SEEKING": {
        # A lost path is ignored: nothing is on its way. But another way has to know the attempt.
        "WAY_CHANGED": ("QUERY", "SEEKING"),
        "GO_ON": ("CONTINUE", "SENDING"),
        "COMPLETE": ("SUCCEED", "SETTLED"),
        "GIVE_UP": ("RESET_AND_FAIL", "SETTLED"),
        "RESET": ("FAIL", "SETTLED"),
    },
    "BACKING_OFF": {
        "BACKOFF_OVER": ("QUERY", "RESUMING"),
        "COMPLETE": ("SUCCEED", "SETTLED"),
        "GIVE_UP": ("RESET_AND_FAIL", "SETTLED"),
        "RESET": ("FAIL", "SETTLED"),
    },
    "FINISHING": {
        "PATH_LOST": ("QUERY_AT_ONCE", "RESUMING"),
        "PATH_LOST_AGAIN": ("WAIT", "BACKING_OFF"),
        "COMPLETE": ("SUCCEED", "SETTLED"),
        "GIVE_UP": ("RESET_AND_FAIL", "SETTLED"),
        "RESET": ("FAIL", "SETTLED"),
    },
    "SETTLED": {},
}
_GIVEN_UP: dict[str, Row] = {"GIVE_UP": ("RESET_AND_FAIL", "ENDED"), "RESET": ("FAIL", "ENDED")}
RECEIVER: dict[str, dict[str, Row]] = {
    "OFFERED": {
        "ACCEPTED": ("ADMIT", "WAITING"),
        "ACCEPTED_WHOLE": ("ASSEMBLE", "WAITING"),
        "ACCEPTED_TO_RESERVE": ("RESERVE", "WAITING"),
        **_GIVEN_UP,
    },
    "WAITING": {"ADMITTED": ("DELIVER", "RECEIVING"), **_GIVEN_UP},
    "RECEIVING": {"ALL_RECEIVED": ("END_DATA", "RECEIVED"), **_GIVEN_UP},
    # What was released is confirmed when it was found to be right, and not before.
    "RECEIVED": {"APPROVED": ("CONFIRM_IF_RELEASED", "APPROVED"), **_GIVEN_UP},
    "APPROVED": {"FINISHED": ("CONFIRM", "ENDED"), **_GIVEN_UP},
    "ENDED": {},
}
STARTING_POINT: dict[str, dict[str, Row]] = {
    "OPEN": {"WEIGH": ("IGNORE", "WEIGHING"), "CHOOSE": ("TELL", "CHOSEN"), "WENT_ON": ("STOP_TELLING", "PLACED")},
    "WEIGHING": {"CHOOSE": ("TELL", "CHOSEN"), "WENT_ON": ("STOP_TELLING", "PLACED")},
    # The first choice counts. An heir of the origin is told it, too.
    "CHOSEN": {"WENT_ON": ("STOP_TELLING", "PLACED"), "MOVED": ("TELL_AGAIN", "CHOSEN")},
    "PLACED": {"MOVED": ("TELL", "CHOSEN")},
}
_LOST: dict[str, Row] = {"CLOSED": ("FORGET", "CLOSED")}
_GOING: dict[str, Row] = {"ENDING": ("DIAL_NEXT", "LEAVING"), "REPLACED": ("DRAIN", "DRAINING")}
LANE: dict[str, dict[str, Row]] = {
    "DIALLING": {"CONNECTED": ("GREET", "GREETING"), **_LOST},
    "GREETING": {
        "HELLO": ("JOIN", "READY"),
        "GRANTED": ("JOIN", "READY"),
        "CLAIMED": ("AWAIT_HOLDER", "CLAIMING"),
        **_LOST,
    },
    "CLAIMING": {"GRANTED": ("JOIN", "READY"), **_LOST},
    "READY": {"SILENT": ("DIAL_BESIDE", "SUSPECT"), **_GOING, **_LOST},
    "SUSPECT": {"HEARD": ("TRUST_AGAIN", "READY"), **_GOING, **_LOST},
    # Used as before, silent or not, until another takes its place.
    "LEAVING": {"REPLACED": ("DRAIN", "DRAINING"), **_LOST},
    "DRAINING": {"EMPTIED": ("RELEASE", "EMPTY"), **_LOST},
    # Nothing is lost with it.
    "EMPTY": {"CLOSED": ("PART", "CLOSED")},
    "CLOSED": {},
}

_OVER: dict[str, Row] = {
    "ENTERED": ("CLEAR", "WAITING"),
    "LOST": ("TELL_ORIGIN", "LOST"),
    "ENDED": ("FORGET", "ENDED"),
}
RELAY: dict[str, dict[str, Row]] = {
    "WAITING": {"OPENED": ("BEGIN", "FORWARDING"), "ASKED": ("IGNORE", "ASKING"), **_OVER},
    # Nothing goes on before it is known that it may.
    "ASKING": {"OPENED": ("BEGIN", "FORWARDING"), **_OVER},
    "FORWARDING": _OVER,
    # The origin was told: what else comes of this attempt is dropped. A later one may have been lost as well.
    "LOST": _OVER,
    "ENDED": {},
}


Case = tuple[str, Any, Any, Row]


def cases(name: str, written: dict[str, dict[str, Row]], state_type: Any, input_type: Any) -> list[Case]:
    assert set(written) == {state.name for state in state_type}
    return [
        (name, state, event, written[state.name].get(event.name, ("IGNORE", state.name)))
        for state in state_type
        for event in input_type
    ]


CASES = [
    *cases("sender", SENDER, SenderState, SenderInput),
    *cases("receiver", RECEIVER, ReceiverState, ReceiverInput),
    *cases("starting point", STARTING_POINT, StartingPointState, StartingPointInput),
    *cases("lane", LANE, LaneState, LaneInput),
    *cases("relay", RELAY, RelayState, RelayInput),
]
TABLES: dict[str, Mapping[Any, Any]] = {
    "sender": SENDER_TABLE,
    "receiver": RECEIVER_TABLE,
    "starting point": STARTING_POINT_TABLE,
    "lane": LANE_TABLE,
    "relay": RELAY_TABLE,
}


def name_of(value: object) -> str:
    return str(getattr(value, "name", ""))


@pytest.mark.parametrize(("name", "state", "event", "expected"), CASES, ids=name_of)
def test_the_table_says_what_is_written(name: str, state: Any, event: Any, expected: Row) -> None:
    action, following = step(TABLES[name], state, event)
    assert (action.name, following.name) == expected


def test_every_action_is_done_by_somebody() -> None:
    assert set(Lane.ACTS) == set(LaneAction)
    assert set(RelayedStream.ACTS) == set(RelayAction)
    assert set(StreamSender.ACTS) == set(SenderAction)
    assert set(StreamReceiver.ACTS) == set(ReceiverAction)
    assert set(StartingPoint.ACTS) == set(StartingPointAction)


LANE_CASES = [case[1:] for case in CASES if case[0] == "lane"]
RECEIVER_CASES = [case[1:] for case in CASES if case[0] == "receiver"]
STARTING_POINT_CASES = [case[1:] for case in CASES if case[0] == "starting point"]


@pytest.mark.parametrize(("state", "event", "expected"), LANE_CASES, ids=name_of)
def test_a_lane_goes_to_the_state_that_follows_and_does_what_is_written(
    state: LaneState, event: LaneInput, expected: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = make_lane(1, state=state)
    done: list[str] = []
    monkeypatch.setattr(
        Lane, "ACTS", {action: lambda _, now, name=action.name: done.append(name) for action in LaneAction}
    )
    lane.step(event, NOW)
    assert (*done, lane.state.name) == expected
    assert expected[1] in repr(lane)


@pytest.mark.parametrize(("state", "event", "expected"), RECEIVER_CASES, ids=name_of)
def test_a_receiver_goes_to_the_state_that_follows_and_does_what_is_written(
    state: ReceiverState, event: ReceiverInput, expected: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = OneReceiver().half
    done: list[str] = []
    acts = {action: lambda _, now, name=action.name: done.append(name) for action in ReceiverAction}
    monkeypatch.setattr(StreamReceiver, "ACTS", acts)
    monkeypatch.setattr(half, "state", state)
    half.step(event, NOW)
    assert (*done, half.state.name) == expected
    assert expected[1] in repr(half)


@pytest.mark.parametrize(("state", "event", "expected"), STARTING_POINT_CASES, ids=name_of)
def test_a_starting_point_goes_to_the_state_that_follows_and_does_what_is_written(
    state: StartingPointState, event: StartingPointInput, expected: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = StartingPoint(awaited=True)
    inputs: dict[StartingPointInput, Callable[[], None]] = {
        StartingPointInput.WEIGH: point.on_weighing,
        StartingPointInput.CHOOSE: lambda: point.on_choice(5, Digest("sha256:1")),
        StartingPointInput.WENT_ON: point.on_origin_went_on,
        StartingPointInput.MOVED: lambda: point.on_new_life(5),
    }
    done: list[str] = []
    acts = {action: lambda _, name=action.name: done.append(name) for action in StartingPointAction}
    monkeypatch.setattr(StartingPoint, "ACTS", acts)
    monkeypatch.setattr(point, "state", state)
    inputs[event]()
    assert (*done, point.state.name) == expected
    assert expected[1] in repr(point)


def test_the_first_choice_counts_and_a_new_life_is_told_it_or_where_the_stream_stands() -> None:
    point = StartingPoint(awaited=True)
    point.on_choice(5, Digest("sha256:1"))
    point.on_choice(7, Digest("sha256:2"))
    point.on_new_life(9)
    assert (point.due, point.offset, point.prefix_digest) == (True, 5, Digest("sha256:1"))
    point.on_origin_went_on()
    assert not point.due
    point.on_new_life(9)
    assert (point.due, point.offset, point.prefix_digest) == (True, 9, None)


def test_the_tables_have_no_other_pairs() -> None:
    assert sum(len(table) for table in TABLES.values()) == len(CASES)


def test_only_a_query_begins_an_attempt_but_for_the_first() -> None:
    into_resuming = {
        action.name
        for (state, _), (action, following) in SENDER_TABLE.items()
        if following is SenderState.RESUMING and state is not SenderState.QUEUED and action.name != "IGNORE"
    }
    out_of_queue = {
        action.name
        for (state, _), (action, to) in SENDER_TABLE.items()
        if state is SenderState.QUEUED and to not in (SenderState.QUEUED, SenderState.SETTLED)
    }
    assert into_resuming == {"QUERY_AT_ONCE", "QUERY"}
    assert out_of_queue == {"IGNORE", "OFFER", "ASK_FOR_LIFE"}


@pytest.mark.parametrize(
    ("name", "final"),
    [
        ("sender", SenderState.SETTLED),
        ("receiver", ReceiverState.ENDED),
        ("lane", LaneState.CLOSED),
        ("relay", RelayState.ENDED),
    ],
    ids=name_of,
)
def test_a_final_state_ignores_everything(name: str, final: Any) -> None:
    out_of_it = [row for (state, _), row in TABLES[name].items() if state is final]
    assert {(action.name, following) for action, following in out_of_it} == {("IGNORE", final)}
