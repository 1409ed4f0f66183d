"""What a dialler does about refusals, Goodbyes and requests to stay away."""

from __future__ import annotations

import pytest

from streamcell.errors import AuthenticationError, CellError, ErrorCode, LinkError
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.wire.frames import LaneRole
from tests.core.dialling import Rig


def test_a_refusal_is_firm_when_all_places_refuse() -> None:
    rig = Rig(2)
    rig.refuse(0.0)
    rig.refuse(0.0)
    assert rig.refusals() == [False, True]
    rig.context.deadlines.expire(29.9)
    assert rig.places() == [0, 1]
    rig.context.deadlines.expire(60.0)
    assert len(rig.places()) == 3


def test_a_refusal_counts_until_that_place_says_something_else() -> None:
    rig = Rig(2)
    rig.refuse(0.0)
    rig.close(rig.newest(), 0.0)
    rig.context.deadlines.expire(0.2)
    # The second one again: the first one has a long wait.
    rig.refuse(0.2)
    assert rig.places() == [0, 1, 1]
    assert rig.refusals() == [False, True]
    rig.table.dialler.hurry(rig.uplink.number, 1.0)
    rig.close(rig.newest(), 1.0)
    rig.refuse(1.0)
    assert rig.places()[3:] in ([0, 1], [1, 0])
    assert rig.refusals() == [False, True, False]


def test_who_waits_hurries_no_dial_that_was_not_refused() -> None:
    rig = Rig()
    rig.close(rig.newest(), 0.0)
    rig.table.dialler.hurry(rig.uplink.number, 0.0)
    assert rig.places() == [0]


@pytest.mark.parametrize("linked", [False, True], ids=["instead of a Hello", "of a link that was up"])
def test_where_there_is_no_room_the_next_place_is_dialled_at_once_and_this_one_after_the_longest_wait(
    linked: bool,
) -> None:
    rig = Rig(2)
    lane = rig.newest()
    if linked:
        rig.come_up(lane)
    rig.say_goodbye(lane, 0.0, ErrorCode.LIMIT)
    # Lanes that break early would race.
    rig.context.deadlines.expire(0.2 if linked else 0.0)
    assert (rig.places(), rig.refusals()) == ([0, 1], [False])
    rig.connect(rig.newest(), 0.2)
    rig.context.deadlines.expire(14.9)
    assert rig.places() == [0, 1]
    rig.context.deadlines.expire(30.0)
    assert rig.places() == [0, 1, 0]


def test_a_status_that_says_the_same_is_no_more_final() -> None:
    rig = Rig()
    rig.close(rig.newest(), 0.0, LinkError("no room", ErrorCode.LIMIT))
    assert rig.refusals() == [False]
    rig.context.deadlines.expire(14.9)
    assert rig.places() == [0]
    rig.context.deadlines.expire(30.0)
    assert rig.places() == [0, 0]


@pytest.mark.parametrize("refusal", [None, LinkError("no room", ErrorCode.LIMIT)], ids=["busy", "full"])
@pytest.mark.parametrize(("said_s", "most_s"), [(4.0, 6.0), (0.05, 0.2), (1e9, 450.0)], ids=["s", "no time", "ages"])
def test_a_dial_is_deferred_for_as_long_as_is_said_there(
    said_s: float, most_s: float, refusal: CellError | None
) -> None:
    rig = Rig()
    now = 0.0
    for _ in range(10):
        # However often it comes.
        dialled = len(rig.places())
        rig.connect(rig.newest(), now)
        rig.table.dial_deferred(rig.newest().lane_id, said_s, now)
        rig.close(rig.newest(), now, refusal)
        rig.context.deadlines.expire(now + min(said_s, 299.9))
        assert len(rig.places()) == dialled
        now += most_s
        rig.context.deadlines.expire(now)
        assert len(rig.places()) == dialled + 1
    assert True not in rig.refusals()


def test_a_bulk_lane_is_deferred_as_well_and_without_holding_up_control() -> None:
    rig = Rig()
    control = rig.newest()
    rig.come_up(control)
    rig.uplink.want_bulk_lanes(1, 0.0)
    rig.table.dial_deferred(rig.newest().lane_id, 8.0, 0.0)
    rig.close(rig.newest(), 0.0)
    rig.close(control, 1.0)
    rig.context.deadlines.expire(1.2)
    rig.come_up(rig.newest(), 1.2)
    rig.context.deadlines.expire(7.9)
    assert rig.dialled() == [LaneRole.CONTROL, LaneRole.BULK, LaneRole.CONTROL]
    rig.context.deadlines.expire(8.0)
    assert rig.dialled()[3:] == [LaneRole.BULK]


def test_a_dial_that_is_held_back_here_has_its_time_from_when_it_begins() -> None:
    rig = Rig(places=2)
    first = rig.newest()
    rig.table.dial_awaited(first.lane_id, 30.0, 0.0)
    rig.context.deadlines.expire(20.0)
    # Its place has not failed: nothing is dialled beside it.
    assert rig.places() == [0]
    rig.table.dial_awaited(first.lane_id, 3.0, 20.0)
    rig.context.deadlines.expire(22.9)
    assert rig.places() == [0]
    rig.context.deadlines.expire(23.1)
    assert rig.places() == [0, 1]
    rig.connect(rig.newest(), 23.1)
    for lane_id in (rig.newest().lane_id, 1000):
        # What is connected has been dialled.
        rig.table.dial_awaited(lane_id, 300.0, 23.1)
    rig.context.deadlines.expire(23.7)
    assert first.state is LaneState.CLOSED
    rig.context.deadlines.expire(60.0)
    assert rig.places()[2:]


def test_what_is_deferred_is_a_lane_that_was_dialled() -> None:
    rig = Rig()
    arrived = rig.table.lane_accepted(CarrierInfo("test", "somewhere"), 0.0)
    for lane_id in (arrived, 1000):
        rig.table.dial_deferred(lane_id, 8.0, 0.0)
    assert rig.places() == [0]


def test_what_a_cell_has_answered_at_makes_no_refusal_firm() -> None:
    rig = Rig()
    lane = rig.newest()
    rig.come_up(lane)
    rig.close(lane, 10.0)
    rig.context.deadlines.expire(10.2)
    rig.refuse(10.2)
    assert rig.refusals() == [False]
    rig.context.deadlines.expire(10.4)
    assert len(rig.dialled()) == 3


def test_a_late_place_that_refuses_waits_as_one_that_refuses() -> None:
    rig = Rig(2)
    first = rig.newest()
    rig.connect(first, 0.0)
    rig.context.deadlines.expire(3.0)
    rig.close(first, 3.5, AuthenticationError("no"))
    rig.close(rig.newest(), 3.5)
    rig.context.deadlines.expire(4.0)
    assert rig.places() == [0, 1, 1]


def test_for_a_name_that_is_held_it_waits_as_long_as_ever() -> None:
    rig = Rig()
    rig.say_goodbye(rig.newest(), 0.0, ErrorCode.NAME_IN_USE)
    rig.context.deadlines.expire(4.9)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(5.0)
    assert len(rig.dialled()) == 2
    assert rig.refusals() == [False]


@pytest.mark.parametrize(("times", "firm"), [((0, 1), False), ((0, 30, 59), True), ((0, 30, 60), False)])
def test_the_third_break_within_a_minute_is_firm(times: tuple[float, ...], firm: bool) -> None:
    rig = Rig()
    for now in times:
        rig.context.deadlines.expire(now)
        rig.say_goodbye(rig.newest(), now, ErrorCode.PROTOCOL)
    assert rig.refusals()[-1] is firm


def test_a_link_that_was_ended_is_dialled_after_a_wait() -> None:
    rig = Rig()
    lane = rig.newest()
    rig.come_up(lane)
    rig.say_goodbye(lane, 1.0, ErrorCode.STOPPING)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(1.2)
    assert len(rig.dialled()) == 2
