"""Lanes by themselves, and the table of them."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.loop import LOOP_LANE
from streamcell.protocol.links.states import LANE_TABLE, LaneInput, LaneState
from streamcell.protocol.wire.frames import Frame, LaneRole, LanesWanted
from tests.core.by_hand import hello
from tests.core.harness import make_context, make_lane, make_link
from tests.core.samples import Told


def make_table() -> tuple[Context, Told, LaneTable]:
    context, told = make_context(), Told()
    return context, told, LaneTable(context, told, make_lane(LOOP_LANE))


def ready_lane(table: LaneTable, now: float, role: LaneRole = LaneRole.CONTROL) -> Lane:
    """A lane that has arrived, and says Hello."""
    lane = table.accept(CarrierInfo("test", "somewhere"), now)
    lane.read_hello(hello(lane_role=role))
    lane.on_granted(make_link(), hello("me"), now)
    said(lane)
    return lane


def said(lane: Lane) -> list[Frame]:
    frames, pings = lane.take_own_frames()
    return [*frames, *pings]


def test_lanes_are_numbered_and_found_until_their_carrier_has_ended() -> None:
    _, told, table = make_table()
    first, second = (table.accept(CarrierInfo("test", "somewhere"), 0.0) for _ in range(2))
    assert table.by_id.get(first.lane_id) is first
    assert table.all() == [first, second]
    first.give_up(1.0)
    assert table.by_id.get(first.lane_id) is first
    first.on_carrier_ended("gone", 1.0)
    table.remove(first)
    assert table.all() == [second]
    assert told.told == [("lost", first.lane_id)]


def test_the_loop_is_there_from_the_beginning_and_is_no_lane_to_another_cell() -> None:
    _, _, table = make_table()
    assert table.by_id.get(LOOP_LANE) is not None
    assert table.all() == []


def test_a_lane_ends_once() -> None:
    context, told, table = make_table()
    lane = table.accept(CarrierInfo("test", "somewhere"), 0.0)
    for _ in range(2):
        lane.give_up(1.0)
        lane.refuse(ErrorCode.LIMIT, "late", 1.0)
    assert told.told == [("lost", lane.lane_id)]
    assert list(context.events) == [LaneDropped(lane.lane_id, False)]


def test_a_goodbye_is_said_once_and_flushed() -> None:
    context, _, table = make_table()
    lane = table.accept(CarrierInfo("test", "somewhere"), 0.0)
    assert lane.take_goodbye() == []
    lane.say_goodbye(ErrorCode.LIMIT, "first\nreason")
    lane.say_goodbye(ErrorCode.PROTOCOL, "second")
    assert [(goodbye.code, goodbye.sentence) for goodbye in lane.take_goodbye()] == [(ErrorCode.LIMIT, "first reason")]
    assert lane.take_goodbye() == []
    assert list(context.events) == [LaneDropped(lane.lane_id, True)]
    lane.give_up(1.0)
    assert len(context.events) == 1
    context.deadlines.expire(100.0)
    assert lane.state is LaneState.CLOSED


def test_a_lane_that_is_being_dialled_has_nobody_to_say_goodbye_to() -> None:
    context = make_context()
    lane = Lane(context, Told(), 1, LaneState.DIALLING)
    lane.say_goodbye(ErrorCode.STOPPING, "stopping")
    assert lane.goodbye is None
    assert list(context.events) == [LaneDropped(lane.lane_id, False)]


def test_a_lane_that_is_to_be_written_is_told_once() -> None:
    context, _, table = make_table()
    lane = table.accept(CarrierInfo("test", "somewhere"), 0.0)
    lane.wake()
    lane.wake()
    assert list(context.ready_lanes) == [lane.lane_id]


def test_a_lane_that_claims_a_name_waits_for_what_comes_of_that() -> None:
    context, told, table = make_table()
    lane = table.accept(CarrierInfo("test", "somewhere"), 0.0)
    lane.on_claimed(1.0)
    context.deadlines.expire(1000.0)
    assert told.told == []


def test_a_goodbye_under_way_stops_the_watch() -> None:
    context, told, table = make_table()
    lane = ready_lane(table, 0.0)
    lane.say_goodbye(ErrorCode.STOPPING, "stopping")
    context.deadlines.expire(1000.0)
    assert (told.told, said(lane)) == ([], [])


def test_a_dial_that_is_given_more_time_keeps_it() -> None:
    context, told, table = make_table()
    lane = table.accept(CarrierInfo("test", "somewhere"), 0.0)
    lane.await_hello(5.0)
    context.deadlines.expire(3.0)
    assert told.told == []
    context.deadlines.expire(5.0)
    assert told.told == [("lost", lane.lane_id)]


def test_silence_is_a_ping_then_a_suspicion_then_an_end() -> None:
    context, told, table = make_table()
    lane = ready_lane(table, 0.0)
    context.deadlines.expire(14.9)
    assert said(lane) == []
    context.deadlines.expire(15.0)
    assert len(said(lane)) == 1
    states = {}
    for now in (17.9, 18.0, 29.9, 30.0):
        context.deadlines.expire(now)
        states[now] = lane.state.name
    assert states == {17.9: "READY", 18.0: "SUSPECT", 29.9: "SUSPECT", 30.0: "CLOSED"}
    assert told.told == [("lost", lane.lane_id)]


def test_a_bulk_lane_that_arrived_and_is_silent_is_asked_for_anew() -> None:
    context, _, table = make_table()
    lane = ready_lane(table, 0.0, LaneRole.BULK)
    assert lane.link is not None
    lane.ask_for_sign_of_life(0.0)
    context.deadlines.expire(3.0)
    assert lane.link.outbox.take(9, 1, 0.0) == [LanesWanted(1)]


def test_a_suspect_lane_beside_a_fresh_one_has_3_seconds() -> None:
    context, told, table = make_table()
    lane = ready_lane(table, 0.0)
    context.deadlines.expire(15.0)
    context.deadlines.expire(18.0)
    lane.on_fresh_lane(make_lane(2), 19.0)
    context.deadlines.expire(21.9)
    assert lane.state is LaneState.SUSPECT
    context.deadlines.expire(22.0)
    assert told.told == [("lost", lane.lane_id)]


def test_a_lane_that_is_heard_of_is_trusted_again() -> None:
    context, _told, table = make_table()
    lane = ready_lane(table, 0.0)
    context.deadlines.expire(15.0)
    context.deadlines.expire(18.0)
    lane.on_fresh_lane(make_lane(2), 19.0)
    lane.on_heard(20.0, bulk=False)
    context.deadlines.expire(34.9)
    assert (lane.state, len(said(lane))) == (LaneState.READY, 1)
    context.deadlines.expire(35.0)
    assert len(said(lane)) == 1


def test_what_was_said_first_is_what_is_waited_for() -> None:
    context, _, table = make_table()
    lane = ready_lane(table, 0.0, LaneRole.BULK)
    for now in (1.0, 2.0, 5.9):
        lane.on_spoken(now)
    context.deadlines.expire(5.9)
    assert said(lane) == []
    context.deadlines.expire(6.0)
    assert len(said(lane)) == 1


@pytest.mark.parametrize("event", LaneInput)
@pytest.mark.parametrize("state", LaneState)
def test_a_lane_without_a_link_or_an_uplink_has_nobody_to_tell(state: LaneState, event: LaneInput) -> None:
    lane = make_lane(1, state=state)
    lane.step(event, 0.0)
    assert lane.state is LANE_TABLE[state, event][1]


@pytest.mark.parametrize("state", [LaneState.DIALLING, LaneState.CLAIMING, LaneState.DRAINING, LaneState.CLOSED])
def test_a_lane_that_is_not_up_cannot_be_left(state: LaneState) -> None:
    lane = make_lane(1, state=state)
    lane.on_leaving(0.0)
    lane.on_replaced(make_lane(2), 0.0)
    assert lane.state is state
