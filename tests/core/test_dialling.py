"""When a dialler dials by itself, and which lanes."""

from __future__ import annotations

from streamcell.errors import ErrorCode
from streamcell.protocol.wire.frames import LaneRole
from tests.core.dialling import Rig
from tests.core.harness import make_context


def test_an_uplink_is_dialled_at_once_and_only_once() -> None:
    rig = Rig()
    rig.uplink.tend(1.0)
    assert rig.dialled() == [LaneRole.CONTROL]
    assert rig.uplink.lanes_held() == (1,)


def test_a_control_lane_that_is_up_is_enough() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.uplink.tend(1.0)
    assert rig.dialled() == [LaneRole.CONTROL]


def test_a_dial_that_failed_is_tried_after_the_wait() -> None:
    rig = Rig()
    rig.close(rig.newest(), 0.0)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(0.2)
    assert len(rig.dialled()) == 2


def test_streams_hear_of_a_dial_that_failed_and_not_of_a_lane_that_had_come_up() -> None:
    rig = Rig()
    control = rig.newest()
    rig.come_up(control)
    rig.uplink.want_bulk_lanes(1, 0.0)
    rig.told.told.clear()
    rig.close(rig.newest(), 1.0)
    assert rig.told.told == [("lane up", "server")]
    rig.close(control, 2.0)
    assert rig.told.told[1:] == [("lane lost", control.lane_id)]


def test_bulk_lanes_are_dialled_when_they_are_wanted_and_control_is_up() -> None:
    rig = Rig()
    rig.uplink.want_bulk_lanes(2, 0.0)
    assert rig.dialled() == [LaneRole.CONTROL]
    rig.come_up(rig.newest())
    for _ in range(2):
        rig.uplink.tend(1.0)
        assert rig.dialled().count(LaneRole.BULK) == 2
    assert rig.uplink.lanes_held() == (1, 2, 3)


def test_a_bulk_lane_that_failed_waits_without_holding_up_control() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.uplink.want_bulk_lanes(1, 0.0)
    rig.close(rig.newest(), 0.0)
    assert (rig.dialled().count(LaneRole.BULK), rig.uplink.gets_bulk_lanes) == (1, False)
    rig.context.deadlines.expire(0.3)
    assert rig.dialled().count(LaneRole.BULK) == 2


def test_a_fresh_lane_beside_a_suspect_one_is_dialled_once() -> None:
    rig = Rig()
    suspect = rig.newest()
    rig.come_up(suspect)
    rig.fall_silent(suspect, 4.0)
    for _ in range(2):
        rig.uplink.on_lane_silent(suspect, 4.5)
    assert rig.dialled() == [LaneRole.CONTROL, LaneRole.CONTROL]


def test_the_wait_doubles_up_to_its_maximum() -> None:
    context = make_context()
    waits = [context.backoff_s(failures) for failures in (1, 2, 3, 4, 5, 10, 1000)]
    limits = [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))


def test_the_wait_for_a_dial_grows_beyond_that_after_five_failures_in_a_row() -> None:
    context = make_context()
    waits = [context.dial_backoff_s(failures) for failures in (4, 5, 6, 7, 8, 9, 1000)]
    limits = [1.6, 3.2, 10.0, 20.0, 30.0, 30.0, 30.0]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert 15.0 <= context.longest_dial_backoff_s() <= 30.0


def test_a_welcome_ends_the_long_waits_and_a_link_that_breaks_is_dialled_soon() -> None:
    rig = Rig()
    now = 0.0
    for _ in range(8):
        rig.close(rig.newest(), now)
        now += 30.0
        rig.context.deadlines.expire(now)
    rig.come_up(rig.newest(), now)
    rig.close(rig.newest(), 1000.0)
    rig.context.deadlines.expire(1000.2)
    assert len(rig.dialled()) == 10
    rig.close(rig.newest(), 1000.2)
    rig.context.deadlines.expire(1000.4)
    assert len(rig.dialled()) == 11


def test_a_cell_that_stops_dials_no_more() -> None:
    rig = Rig()
    rig.close(rig.newest(), 0.0)
    rig.context.stop()
    rig.table.stop()
    assert rig.context.deadlines.next_deadline() is None
    rig.uplink.tend(100.0)
    assert len(rig.dialled()) == 1


def test_a_suspect_bulk_lane_is_replaced_although_the_first_fresh_one_failed() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.uplink.want_bulk_lanes(1, 0.0)
    silent = rig.newest()
    rig.come_up(silent)
    rig.fall_silent(silent, 4.0)
    rig.close(rig.newest(), 5.0)
    rig.context.deadlines.expire(6.0)
    assert rig.dialled() == [LaneRole.CONTROL, *[LaneRole.BULK] * 3]


def test_bulk_goes_on_the_control_lane_while_one_of_its_own_is_on_its_way_for_long() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.uplink.want_bulk_lanes(1, 0.0)
    bulk = rig.newest()
    rig.connect(bulk, 1.0)
    rig.told.told.clear()
    rig.context.deadlines.expire(2.9)
    assert (rig.uplink.gets_bulk_lanes, rig.told.told) == (True, [])
    rig.context.deadlines.expire(3.0)
    assert (rig.uplink.gets_bulk_lanes, rig.told.told) == (False, [("lane up", "server")])
    # It is not given up for that.
    rig.context.deadlines.expire(20.0)
    rig.come_up(bulk, 20.0)
    assert rig.uplink.gets_bulk_lanes
    assert rig.dialled().count(LaneRole.BULK) == 1


def test_a_bulk_lane_that_is_on_its_way_for_long_is_of_no_consequence_where_the_link_has_ended() -> None:
    rig = Rig()
    control = rig.newest()
    rig.come_up(control)
    rig.uplink.want_bulk_lanes(1, 0.0)
    rig.connect(rig.newest(), 0.0)
    rig.say_goodbye(control, 1.0, ErrorCode.STOPPING)
    rig.told.told.clear()
    rig.context.deadlines.expire(3.0)
    assert rig.told.told == []
