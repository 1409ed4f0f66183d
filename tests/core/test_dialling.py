"""When a dialler dials, and where, by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamcell.errors import AuthenticationError, CellError, ErrorCode, LinkError
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped, LaneWanted, UplinkEnded, UplinkRefused
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import Goodbye, LaneRole
from tests.core.by_hand import hello
from tests.core.harness import make_context
from tests.core.samples import Told

# After that long a lane that was asked for a sign of life is suspect.
SUSPECT_AFTER_S = 3.0


class Rig:
    """A table of links with one uplink, to a parent or for a shortcut. The cell that is dialled is called server."""

    def __init__(self, places: int = 1, kind: LinkKind = LinkKind.PARENT) -> None:
        self.context: Context = make_context()
        self.told = Told()
        self.table = LinkTable(self.context, self.told)
        self.uplink: Uplink = self.table.dialler.add_uplink(0.0, places, kind)

    def wanted(self) -> list[LaneWanted]:
        """What was dialled for the one uplink."""
        events = [event for event in self.context.events if isinstance(event, LaneWanted)]
        return [event for event in events if event.uplink == self.uplink.number]

    def dialled(self) -> list[LaneRole]:
        return [event.role for event in self.wanted()]

    def places(self) -> list[int]:
        return [event.place for event in self.wanted()]

    def refusals(self) -> list[bool]:
        return [event.firm for event in self.context.events if isinstance(event, UplinkRefused)]

    def newest(self) -> Lane:
        return self.table.lanes.all()[-1]

    def connect(self, lane: Lane, now: float) -> None:
        """Let a connection come up on which no Hello has come."""
        self.table.lane_connected(lane.lane_id, CarrierInfo("test", "somewhere"), now)

    def come_up(self, lane: Lane, now: float = 0.0) -> None:
        """Let the listener's Hello arrive."""
        self.connect(lane, now)
        self.table.handle_hello(lane, hello("server", link_id=b"id", lane_number=lane.number), now)

    def close(self, lane: Lane, now: float, refusal: CellError | None = None) -> None:
        """Let the carrier of a lane end, or say that there is none."""
        self.table.lane_closed(lane.lane_id, "gone", refusal, now)

    def refuse(self, now: float) -> None:
        """Have the newest dial refused."""
        self.close(self.newest(), now, AuthenticationError("no"))

    def say_goodbye(self, lane: Lane, now: float, code: ErrorCode, linked_fqcn: str = "") -> None:
        """Have the listener end a lane, which the carrier then does."""
        self.connect(lane, now)
        self.table.handle_goodbye(lane, Goodbye(code, "no", linked_fqcn), now)
        self.close(lane, now)

    def fall_silent(self, lane: Lane, now: float) -> None:
        """Have a lane suspected at ``now``."""
        lane.ask_for_sign_of_life(now - SUSPECT_AFTER_S)
        self.context.deadlines.expire(now)
        assert lane.state is LaneState.SUSPECT

    def times(self) -> Iterator[float]:
        """Go on from deadline to deadline."""
        while (at := self.context.deadlines.next_deadline()) is not None:
            self.context.deadlines.expire(at)
            yield at


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


# Several places.


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


# Refusals.


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


# Shortcuts.


def other_link(rig: Rig, fqcn: str = "server", *, with_lane: bool = True) -> Link:
    """Return a link for which the other end has dialled."""
    lane = rig.table.lanes.by_id.get(rig.table.lane_accepted(CarrierInfo("test", "somewhere"), 0.0))
    assert lane is not None
    rig.table.handle_hello(lane, hello(fqcn, peer=True), 0.0)
    if not with_lane:
        rig.close(lane, 0.0)
    return rig.table.links[fqcn]


def lose_lanes(rig: Rig, link: Link, now: float) -> None:
    for lane in list(link.lanes.values()):
        rig.close(lane, now)


def refuse_as_linked(rig: Rig, lane: Lane) -> None:
    """Have a dial refused because there is a link already, as the other end says."""
    rig.say_goodbye(lane, 0.0, ErrorCode.UNSPECIFIED, "server")
    rig.context.deadlines.expire(0.4)


def test_a_cell_to_which_there_is_another_link_is_dialled_when_that_one_has_no_lane_any_more() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    dialled = rig.newest()
    link, another = other_link(rig), other_link(rig, "another")
    refuse_as_linked(rig, dialled)
    assert len(rig.dialled()) == 1
    # It has nothing to do with it.
    lose_lanes(rig, another, 10.0)
    rig.context.deadlines.expire(14.0)
    assert len(rig.dialled()) == 1
    lose_lanes(rig, link, 14.0)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(14.4)
    assert len(rig.dialled()) == 2


def test_a_cell_to_which_this_end_has_another_link_is_dialled_when_that_one_is_down() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    dialled = rig.newest()
    rig.table.dialler.add_uplink(0.0)
    parent = rig.newest()
    rig.come_up(parent)
    refuse_as_linked(rig, dialled)
    rig.close(parent, 1.0)
    rig.context.deadlines.expire(30.9)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(31.0)
    assert rig.table.links == {}
    rig.context.deadlines.expire(31.4)
    assert len(rig.dialled()) == 2


@pytest.mark.parametrize("linked", [False, True], ids=["no link", "no lane"])
def test_a_cell_that_refuses_for_a_link_that_is_not_here_is_dialled_again(linked: bool) -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    dialled = rig.newest()
    if linked:
        other_link(rig, with_lane=False)
    refuse_as_linked(rig, dialled)
    assert len(rig.dialled()) == 2


def test_the_parent_is_dialled_again_whatever_it_says() -> None:
    rig = Rig()
    dialled = rig.newest()
    other_link(rig)
    refuse_as_linked(rig, dialled)
    assert len(rig.dialled()) == 2


def test_an_uplink_that_has_a_lane_does_not_rest() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    rig.come_up(rig.newest())
    rig.uplink.want_bulk_lanes(1, 0.0)
    refuse_as_linked(rig, rig.newest())
    assert rig.dialled() == [LaneRole.CONTROL, LaneRole.BULK, LaneRole.BULK]


def test_an_uplink_that_rests_and_is_ended_is_not_dialled_again_and_is_forgotten() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    dialled = rig.newest()
    link = other_link(rig)
    refuse_as_linked(rig, dialled)
    rig.table.dialler.remove_shortcut(rig.uplink.number, 10.0)
    lose_lanes(rig, link, 10.0)
    rig.context.deadlines.expire(200.0)
    assert len(rig.dialled()) == 1
    assert UplinkEnded(rig.uplink.number) in rig.context.events
    assert rig.table.dialler.add_uplink(200.0, kind=LinkKind.SHORTCUT).number != rig.uplink.number
