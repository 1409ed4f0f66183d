"""Where a dialler dials: several places, records of a host, and whose turn it is."""

from __future__ import annotations

import pytest

from streamcell.errors import AuthenticationError, ErrorCode
from streamcell.protocol.base.events import LaneDropped
from streamcell.protocol.links.states import LaneState
from tests.core.dialling import Rig


def test_whichever_way_a_dial_ends_the_next_place_is_next_at_once() -> None:
    rig = Rig(3)
    # The carrier ends it; the core's own time is over; whoever is there refuses.
    rig.close(rig.newest(), 1.0)
    assert rig.places() == [0, 1]
    rig.context.deadlines.expire(4.0)
    assert rig.places() == [0, 1, 2]
    rig.say_goodbye(rig.newest(), 4.0, ErrorCode.LIMIT)
    # The first one has waited long enough.
    assert rig.places() == [0, 1, 2, 0]


def test_where_all_have_failed_each_has_a_wait_of_its_own() -> None:
    rig = Rig(2)
    rig.close(rig.newest(), 0.0)
    rig.close(rig.newest(), 0.0)
    assert rig.places() == [0, 1]
    for _ in rig.times():
        if len(rig.places()) > 2:
            break
    first = rig.places()[2]
    rig.close(rig.newest(), 0.2)
    rig.context.deadlines.expire(0.2)
    assert rig.places() == [0, 1, first, 1 - first]


def test_a_place_that_is_silent_is_passed_over_before_it_is_given_up() -> None:
    rig = Rig(3)
    rig.connect(rig.newest(), 0.0)
    rig.context.deadlines.expire(2.9)
    assert rig.places() == [0]
    for now, places in ((3.0, [0, 1]), (6.0, [0, 1, 2])):
        rig.context.deadlines.expire(now)
        assert rig.places() == places
        rig.connect(rig.newest(), now)
    assert [lane.state for lane in rig.table.lanes.all()] == [LaneState.GREETING] * 3
    # When the time for its Hello is over the first one is given up, and dialled anew.
    rig.context.deadlines.expire(29.9)
    assert rig.places() == [0, 1, 2]
    rig.context.deadlines.expire(30.0)
    assert rig.places() == [0, 1, 2, 0]
    assert rig.uplink.lanes_held() == (2, 3, 4)


def test_of_several_lanes_under_way_the_first_hello_wins() -> None:
    rig = Rig(2)
    silent = rig.newest()
    rig.connect(silent, 0.0)
    rig.context.deadlines.expire(3.0)
    rig.come_up(rig.newest(), 3.5)
    assert rig.uplink.place == 1
    assert (silent.state, silent.goodbye is not None) == (LaneState.CLOSED, True)
    assert [event for event in rig.context.events if isinstance(event, LaneDropped)] == [
        LaneDropped(silent.lane_id, flush=True)
    ]
    rig.context.deadlines.expire(100.0)
    assert rig.places() == [0, 1]


def test_a_late_hello_counts_while_the_next_place_is_dialled() -> None:
    rig = Rig(2)
    late = rig.newest()
    rig.connect(late, 0.0)
    rig.context.deadlines.expire(3.0)
    beside = rig.newest()
    rig.come_up(late, 4.0)
    assert rig.uplink.place == 0
    assert (beside.state, beside.goodbye) == (LaneState.CLOSED, None)


def test_a_bulk_lane_under_way_is_left_alone_by_a_control_lane_that_comes_up() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    control = rig.newest()
    rig.uplink.want_bulk_lanes(1, 0.0)
    bulk = rig.newest()
    rig.fall_silent(control, 3.1)
    rig.come_up(rig.newest(), 3.2)
    assert bulk.state is LaneState.DIALLING


def test_the_only_place_is_not_dialled_beside_itself() -> None:
    rig = Rig()
    rig.connect(rig.newest(), 1.0)
    for now in (3.0, 30.9):
        rig.context.deadlines.expire(now)
        assert rig.places() == [0]
    rig.context.deadlines.expire(31.0)
    assert rig.places() == [0, 0]


def test_a_connection_has_to_be_there_sooner_than_the_hello_on_it() -> None:
    rig = Rig()
    for now in (3.0, 3.5):
        rig.context.deadlines.expire(now)
        assert rig.places() == [0]
    # The carrier should have said so itself.
    rig.context.deadlines.expire(3.6)
    assert rig.places() == [0, 0]
    rig.connect(rig.newest(), 6.0)
    rig.context.deadlines.expire(35.9)
    rig.come_up(rig.newest(), 35.9)
    assert rig.places() == [0, 0]


def test_after_a_break_the_first_try_goes_elsewhere() -> None:
    rig = Rig(2)
    lane = rig.newest()
    rig.come_up(lane)
    rig.close(lane, 10.0)
    rig.context.deadlines.expire(10.2)
    assert rig.places() == [0, 1]
    rig.close(rig.newest(), 10.2)
    assert rig.places() == [0, 1, 0]


def test_while_the_link_has_a_lane_it_is_dialled_where_that_one_leads() -> None:
    rig = Rig(2)
    control = rig.newest()
    rig.come_up(control)
    rig.uplink.want_bulk_lanes(1, 0.0)
    rig.come_up(rig.newest())
    rig.close(control, 10.0)
    rig.context.deadlines.expire(10.2)
    assert rig.places() == [0, 0, 0]
    rig.close(rig.newest(), 10.2)
    rig.context.deadlines.expire(10.4)
    assert rig.places() == [0, 0, 0, 0]


def test_where_all_lanes_are_silent_it_is_dialled_elsewhere_when_a_dial_there_has_failed() -> None:
    rig = Rig(2)
    control = rig.newest()
    rig.come_up(control)
    rig.uplink.want_bulk_lanes(1, 0.0)
    bulk = rig.newest()
    rig.come_up(bulk)
    bulk.ask_for_sign_of_life(7.05)
    rig.fall_silent(control, 10.0)
    rig.close(rig.newest(), 10.0)
    assert rig.places() == [0, 0, 0]
    rig.context.deadlines.expire(10.05)
    assert bulk.state is LaneState.SUSPECT
    rig.context.deadlines.expire(10.2)
    # Beside the bulk lane, and elsewhere.
    assert rig.places() == [0, 0, 0, 0, 1]


# The records of a host: places that are found.


def test_a_place_that_is_found_while_one_is_dialled_is_dialled_when_that_one_is_silent() -> None:
    rig = Rig()
    assert rig.table.dialler.add_place(rig.uplink.number, 0, 0.0) == 1
    assert rig.places() == [0]
    rig.connect(rig.newest(), 1.0)
    rig.context.deadlines.expire(3.0)
    assert rig.places() == [0, 1]


def test_a_place_that_is_found_while_one_waits_is_dialled_at_once() -> None:
    rig = Rig()
    rig.close(rig.newest(), 0.0)
    rig.table.dialler.add_place(rig.uplink.number, 0, 0.0)
    assert rig.places() == [0, 1]


def test_a_place_that_is_no_more_is_not_dialled_any_more() -> None:
    rig = Rig(2)
    rig.table.dialler.remove_place(rig.uplink.number, 1)
    rig.close(rig.newest(), 0.0)
    assert rig.places() == [0]
    rig.context.deadlines.expire(0.2)
    assert rig.places() == [0, 0]


def test_a_link_goes_on_where_there_is_no_place_any_more() -> None:
    rig = Rig(2)
    lane = rig.newest()
    rig.come_up(lane)
    rig.table.dialler.remove_place(rig.uplink.number, 0)
    rig.uplink.want_bulk_lanes(1, 1.0)
    assert rig.places() == [0, 0]
    rig.close(rig.newest(), 2.0)
    rig.close(lane, 2.0)
    rig.context.deadlines.expire(2.4)
    assert rig.places() == [0, 0, 1]


@pytest.mark.parametrize("refuses_first", [True, False])
def test_who_refuses_at_one_record_refuses_for_all_that_cannot_be_had(refuses_first: bool) -> None:
    rig = Rig()
    rig.table.dialler.add_place(rig.uplink.number, 0, 0.0)
    for refuses in (refuses_first, not refuses_first):
        rig.close(rig.newest(), 0.0, AuthenticationError("no") if refuses else None)
    assert rig.refusals() == ([False, True] if refuses_first else [True])
