"""The table of lanes by itself, with a keeper that only takes note."""

from __future__ import annotations

from streamcell.errors import ErrorCode
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Lane
from streamcell.protocol.links.states import (
    LaneInput,
    LaneState,
)
from streamcell.protocol.wire.frames import LaneRole
from tests.core.harness import make_context


class Keeper:
    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def on_lane_silent(self, lane: Lane, now: float) -> None:
        self.told.append(("silent", lane.lane_id))

    def on_lane_idle(self, lane: Lane, now: float) -> None:
        self.told.append(("idle", lane.lane_id))

    def on_claim_expired(self, lane: Lane, now: float) -> None:
        self.told.append(("expired", lane.lane_id))

    def on_lane_ended(self, lane: Lane, now: float) -> None:
        self.told.append(("ended", lane.lane_id))


def make_table() -> tuple[Context, Keeper, LaneTable]:
    context, keeper = make_context(), Keeper()
    return context, keeper, LaneTable(context, keeper)


def ready_lane(table: LaneTable, now: float, role: LaneRole = LaneRole.CONTROL) -> Lane:
    lane = table.open(LaneState.GREETING, role, 1, now)
    lane.step(LaneInput.HELLO)
    table.watch(lane, now)
    return lane


def test_lanes_are_numbered_and_found_until_their_carrier_has_ended() -> None:
    _, keeper, table = make_table()
    first, second = (table.open(LaneState.GREETING, LaneRole.CONTROL, 0, 0.0) for _ in range(2))
    assert table.get(first.lane_id) is first
    assert table.all() == [first, second]
    table.drop(first, 1.0)
    assert table.get(first.lane_id) is first
    table.forget(first, 1.0)
    assert table.all() == [second]
    assert keeper.told == [("ended", first.lane_id)]


def test_a_lane_ends_once() -> None:
    context, keeper, table = make_table()
    lane = table.open(LaneState.GREETING, LaneRole.CONTROL, 0, 0.0)
    for _ in range(2):
        table.drop(lane, 1.0)
        table.refuse(lane, ErrorCode.LIMIT, "late", 1.0)
    assert keeper.told == [("ended", lane.lane_id)]
    assert list(context.events) == [LaneDropped(lane.lane_id, False)]


def test_a_goodbye_is_said_once_and_flushed() -> None:
    context, _, table = make_table()
    lane = table.open(LaneState.GREETING, LaneRole.CONTROL, 0, 0.0)
    table.say_goodbye(lane, ErrorCode.LIMIT, "first\nreason")
    table.say_goodbye(lane, ErrorCode.PROTOCOL, "second")
    assert lane.goodbye is not None
    assert (lane.goodbye.code, lane.goodbye.sentence) == (ErrorCode.LIMIT, "first reason")
    assert list(context.events) == [LaneDropped(lane.lane_id, True)]
    table.drop(lane, 1.0)
    assert len(context.events) == 1
    context.deadlines.expire(100.0)
    assert lane.state is LaneState.CLOSED


def test_a_lane_that_is_being_dialled_has_nobody_to_say_goodbye_to() -> None:
    context, _, table = make_table()
    lane = table.open(LaneState.DIALLING, LaneRole.CONTROL, 1, 0.0)
    table.say_goodbye(lane, ErrorCode.STOPPING, "stopping")
    assert lane.goodbye is None
    assert list(context.events) == [LaneDropped(lane.lane_id, False)]


def test_ready_lanes_are_told_once() -> None:
    _, _, table = make_table()
    lane = table.open(LaneState.GREETING, LaneRole.CONTROL, 0, 0.0)
    table.wake(lane)
    table.wake(lane)
    assert (table.take_ready(), table.take_ready()) == ([lane.lane_id], [])


def test_a_claim_that_expires_is_told() -> None:
    context, keeper, table = make_table()
    lane = table.open(LaneState.GREETING, LaneRole.CONTROL, 0, 0.0)
    lane.step(LaneInput.CLAIMED)
    context.deadlines.expire(3.0)
    assert keeper.told == [("expired", lane.lane_id)]


def test_a_goodbye_under_way_stops_the_watch() -> None:
    context, keeper, table = make_table()
    lane = ready_lane(table, 0.0)
    table.say_goodbye(lane, ErrorCode.STOPPING, "stopping")
    context.deadlines.expire(1000.0)
    assert (keeper.told, len(lane.own_frames)) == ([], 0)


def test_a_dial_that_is_given_more_time_keeps_it() -> None:
    context, keeper, table = make_table()
    lane = table.open(LaneState.DIALLING, LaneRole.CONTROL, 1, 0.0)
    lane.greeted_by = 5.0
    context.deadlines.expire(3.0)
    assert keeper.told == []
    context.deadlines.expire(5.0)
    assert keeper.told == [("ended", lane.lane_id)]


def test_silence_is_a_ping_then_a_suspicion_then_an_end() -> None:
    context, keeper, table = make_table()
    lane = ready_lane(table, 0.0)
    context.deadlines.expire(14.9)
    assert len(lane.own_frames) == 0
    context.deadlines.expire(15.0)
    assert len(lane.own_frames) == 1
    states = {}
    for now in (17.9, 18.0, 29.9, 30.0):
        context.deadlines.expire(now)
        states[now] = lane.state.name
    assert states == {17.9: "READY", 18.0: "SUSPECT", 29.9: "SUSPECT", 30.0: "CLOSED"}
    assert keeper.told == [("silent", lane.lane_id), ("ended", lane.lane_id)]


def test_a_suspect_lane_that_is_doubted_has_3_seconds() -> None:
    context, keeper, table = make_table()
    lane = ready_lane(table, 0.0)
    context.deadlines.expire(15.0)
    context.deadlines.expire(18.0)
    table.doubt(lane, 19.0)
    context.deadlines.expire(21.9)
    assert lane.state is LaneState.SUSPECT
    context.deadlines.expire(22.0)
    assert keeper.told[-1] == ("ended", lane.lane_id)


def test_a_lane_that_is_heard_of_is_trusted_again() -> None:
    context, _keeper, table = make_table()
    lane = ready_lane(table, 0.0)
    context.deadlines.expire(15.0)
    context.deadlines.expire(18.0)
    table.doubt(lane, 19.0)
    table.note_heard(lane, 20.0)
    context.deadlines.expire(34.9)
    assert (lane.state, len(lane.own_frames)) == (LaneState.READY, 1)
    context.deadlines.expire(35.0)
    assert len(lane.own_frames) == 2


def test_what_was_said_first_is_what_is_waited_for() -> None:
    context, _, table = make_table()
    lane = ready_lane(table, 0.0, LaneRole.BULK)
    for now in (1.0, 2.0, 5.9):
        table.note_spoke(lane, now)
    context.deadlines.expire(5.9)
    assert len(lane.own_frames) == 0
    context.deadlines.expire(6.0)
    assert len(lane.own_frames) == 1
