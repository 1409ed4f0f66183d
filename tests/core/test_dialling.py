"""When a dialler dials, and where, by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamcell.errors import AuthenticationError, ErrorCode, LinkError, NameInUse, ProtocolError
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped, LaneWanted, UplinkEnded, UplinkRefused
from streamcell.protocol.links.dialling import Dialler
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.links.states import (
    LaneInput,
    LaneState,
)
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import LaneRole
from tests.core.harness import make_context, make_link
from tests.core.test_lanes import Keeper


class Rig(Keeper):
    """A dialler with one uplink, to a parent or a peer."""

    def __init__(self, places: int = 1, kind: LinkKind = LinkKind.PARENT) -> None:
        super().__init__()
        self.context: Context = make_context()
        self.lanes = LaneTable(self.context, self)
        self.dialler = Dialler(self.context, self.lanes)
        self.uplink: Uplink = self.dialler.add_uplink(0.0, places, kind)

    def on_lane_ended(self, lane: Lane, now: float) -> None:
        """As the table of links does, as far as the dialler is concerned."""
        if lane.uplink is self.uplink:
            link = self.uplink.link
            failed = self.dialler.failed(self.uplink, lane, now)
            if not failed and link is not None and link.lanes.pop(lane.number, None) is not None:
                self.dialler.broke(self.uplink, lane, now)
            self.dialler.tend(self.uplink, now)

    def dialled(self) -> list[LaneRole]:
        return [event.role for event in self.context.events if isinstance(event, LaneWanted)]

    def places(self) -> list[int]:
        return [event.place for event in self.context.events if isinstance(event, LaneWanted)]

    def refusals(self) -> list[bool]:
        return [event.firm for event in self.context.events if isinstance(event, UplinkRefused)]

    def newest(self) -> Lane:
        return self.lanes.all()[-1]

    def connect(self, lane: Lane, now: float) -> None:
        """Let a connection come up on which no Hello has come."""
        lane.step(LaneInput.CONNECTED)
        lane.greeted_by = self.dialler.greeted_by(self.uplink, lane, now)
        self.context.deadlines.schedule(lane, lane.greeted_by)

    def come_up(self, lane: Lane, now: float = 0.0) -> None:
        """Let the listener's Hello arrive."""
        if self.uplink.link is None:
            self.uplink.link = make_link()
        lane.step(LaneInput.CONNECTED)
        lane.step(LaneInput.HELLO)
        self.context.deadlines.cancel(lane)
        self.uplink.link.lanes[lane.number] = lane
        self.dialler.succeeded(self.uplink, lane)
        self.dialler.end_others(self.uplink, now)

    def refuse(self, now: float, error: LinkError | AuthenticationError | None = None, *, firm: bool = True) -> None:
        """Have the newest dial refused."""
        lane = self.newest()
        self.dialler.refuse(self.uplink, lane.place, error or AuthenticationError("no"), firm=firm)
        self.lanes.forget(lane, now)

    def times(self) -> Iterator[float]:
        """Go on from deadline to deadline."""
        while (at := self.context.deadlines.next_deadline()) is not None:
            self.context.deadlines.expire(at)
            yield at


def test_an_uplink_is_dialled_at_once_and_only_once() -> None:
    rig = Rig()
    rig.dialler.tend(rig.uplink, 1.0)
    assert rig.dialled() == [LaneRole.CONTROL]
    assert rig.uplink.lanes_held() == (1,)


def test_a_control_lane_that_is_up_is_enough() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.dialler.tend(rig.uplink, 1.0)
    assert rig.dialled() == [LaneRole.CONTROL]


def test_a_dial_that_failed_is_tried_after_the_wait() -> None:
    rig = Rig()
    assert rig.dialler.failed(rig.uplink, rig.newest(), 0.0)
    rig.dialler.tend(rig.uplink, 0.0)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(0.2)
    assert len(rig.dialled()) == 2


def test_a_lane_that_had_come_up_did_not_fail() -> None:
    rig = Rig()
    lane = rig.newest()
    rig.come_up(lane)
    assert not rig.dialler.failed(rig.uplink, lane, 1.0)


def test_bulk_lanes_are_dialled_when_they_are_wanted_and_control_is_up() -> None:
    rig = Rig()
    rig.dialler.want_bulk_lanes(rig.uplink, 2, 0.0)
    assert rig.dialled() == [LaneRole.CONTROL]
    rig.come_up(rig.newest())
    for _ in range(2):
        rig.dialler.tend(rig.uplink, 1.0)
        assert rig.dialled().count(LaneRole.BULK) == 2
    assert rig.uplink.lanes_held() == (1, 2, 3)


def test_a_bulk_lane_that_failed_waits_without_holding_up_control() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    assert rig.dialler.failed(rig.uplink, rig.newest(), 0.0)
    rig.dialler.tend(rig.uplink, 0.0)
    assert (rig.dialled().count(LaneRole.BULK), rig.uplink.bulk_failures) == (1, 1)
    rig.context.deadlines.expire(0.3)
    assert rig.dialled().count(LaneRole.BULK) == 2


def test_a_fresh_lane_beside_a_suspect_one_is_dialled_once() -> None:
    rig = Rig()
    suspect = rig.newest()
    rig.come_up(suspect)
    suspect.step(LaneInput.SILENT)
    for _ in range(2):
        rig.dialler.dial_beside(rig.uplink, suspect, 1.0)
    assert suspect.state is LaneState.SUSPECT
    assert rig.dialled() == [LaneRole.CONTROL, LaneRole.CONTROL]


def test_the_wait_doubles_up_to_its_maximum() -> None:
    rig = Rig()
    waits = [rig.dialler.backoff(failures) for failures in (1, 2, 3, 4, 5, 10, 1000)]
    limits = [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))


def test_a_cell_that_stops_dials_no_more() -> None:
    rig = Rig()
    rig.dialler.failed(rig.uplink, rig.newest(), 0.0)
    rig.dialler.stop()
    assert rig.uplink.timer_at is None
    rig.context.stop()
    rig.dialler.tend(rig.uplink, 100.0)
    assert len(rig.dialled()) == 1


def test_a_suspect_bulk_lane_is_replaced_although_the_first_fresh_one_failed() -> None:
    rig = Rig()
    rig.come_up(rig.newest())
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    silent = rig.newest()
    rig.come_up(silent)
    silent.step(LaneInput.SILENT)
    rig.dialler.dial_beside(rig.uplink, silent, 1.0)
    assert rig.dialler.failed(rig.uplink, rig.newest(), 2.0)
    rig.context.deadlines.expire(10.0)
    assert rig.dialled() == [LaneRole.CONTROL, *[LaneRole.BULK] * 3]


# Several places.


def test_whichever_way_a_dial_ends_the_next_place_is_next_at_once() -> None:
    rig = Rig(3)
    # The carrier ends it; the core's own time is over; whoever is there refuses.
    rig.lanes.forget(rig.newest(), 1.0)
    assert rig.places() == [0, 1]
    rig.context.deadlines.expire(4.0)
    assert rig.places() == [0, 1, 2]
    rig.refuse(4.0, LinkError("full", ErrorCode.LIMIT), firm=False)
    # The first one has waited long enough.
    assert rig.places() == [0, 1, 2, 0]


def test_where_all_have_failed_each_has_a_wait_of_its_own() -> None:
    rig = Rig(2)
    rig.lanes.forget(rig.newest(), 0.0)
    rig.lanes.forget(rig.newest(), 0.0)
    assert rig.places() == [0, 1]
    for _ in rig.times():
        if len(rig.places()) > 2:
            break
    first = rig.places()[2]
    rig.lanes.forget(rig.newest(), 0.2)
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
    assert [lane.state for lane in rig.lanes.all()] == [LaneState.GREETING] * 3
    # After three times its patience the first one is given up, and dialled anew.
    rig.context.deadlines.expire(9.0)
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
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    bulk = rig.newest()
    rig.dialler.end_others(rig.uplink, 1.0)
    assert bulk.state is LaneState.DIALLING


def test_the_only_place_is_not_dialled_beside_itself() -> None:
    rig = Rig()
    rig.connect(rig.newest(), 1.0)
    for now in (3.0, 3.9):
        rig.context.deadlines.expire(now)
        assert rig.places() == [0]
    rig.context.deadlines.expire(4.0)
    assert rig.places() == [0, 0]


def test_after_a_break_the_first_try_goes_elsewhere() -> None:
    rig = Rig(2)
    lane = rig.newest()
    rig.come_up(lane)
    rig.lanes.forget(lane, 10.0)
    rig.context.deadlines.expire(10.2)
    assert rig.places() == [0, 1]
    rig.lanes.forget(rig.newest(), 10.2)
    assert rig.places() == [0, 1, 0]


def test_while_the_link_has_a_lane_it_is_dialled_where_that_one_leads() -> None:
    rig = Rig(2)
    control = rig.newest()
    rig.come_up(control)
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    rig.come_up(rig.newest())
    rig.lanes.forget(control, 10.0)
    rig.context.deadlines.expire(10.2)
    assert rig.places() == [0, 0, 0]
    rig.lanes.forget(rig.newest(), 10.2)
    rig.context.deadlines.expire(10.4)
    assert rig.places() == [0, 0, 0, 0]


def test_where_all_lanes_are_silent_it_is_dialled_elsewhere_when_a_dial_there_has_failed() -> None:
    rig = Rig(2)
    control = rig.newest()
    rig.come_up(control)
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    bulk = rig.newest()
    rig.come_up(bulk)
    control.step(LaneInput.SILENT)
    rig.dialler.dial_beside(rig.uplink, control, 10.0)
    rig.lanes.forget(rig.newest(), 10.0)
    assert rig.places() == [0, 0, 0]
    bulk.step(LaneInput.SILENT)
    rig.context.deadlines.expire(10.2)
    assert rig.places() == [0, 0, 0, 1]


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
    rig.lanes.forget(rig.newest(), 0.0)
    rig.context.deadlines.expire(0.2)
    # The second one again: the first one has a long wait.
    rig.refuse(0.2)
    assert rig.places() == [0, 1, 1]
    assert rig.refusals() == [False, True]
    rig.dialler.hurry(rig.uplink, 1.0)
    rig.lanes.forget(rig.newest(), 1.0)
    rig.refuse(1.0)
    assert rig.places()[3:] in ([0, 1], [1, 0])
    assert rig.refusals() == [False, True, False]


def test_what_a_cell_has_answered_at_makes_no_refusal_firm() -> None:
    rig = Rig()
    lane = rig.newest()
    rig.come_up(lane)
    rig.lanes.forget(lane, 10.0)
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
    rig.dialler.refuse(rig.uplink, first.place, AuthenticationError("no"), firm=True)
    rig.lanes.forget(first, 3.5)
    rig.lanes.forget(rig.newest(), 3.5)
    rig.context.deadlines.expire(4.0)
    assert rig.places() == [0, 1, 1]


def test_for_a_name_that_is_held_it_waits_as_long_as_ever() -> None:
    rig = Rig()
    rig.dialler.refuse_name(rig.uplink, 0, NameInUse("held"))
    rig.lanes.forget(rig.newest(), 0.0)
    rig.context.deadlines.expire(4.9)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(5.0)
    assert len(rig.dialled()) == 2
    assert rig.refusals() == [False]


@pytest.mark.parametrize(("times", "firm"), [((0, 1), False), ((0, 30, 59), True), ((0, 30, 60), False)])
def test_the_third_break_within_a_minute_is_firm(times: tuple[float, ...], firm: bool) -> None:
    rig = Rig()
    for now in times:
        rig.dialler.note_break(rig.uplink, 0, ProtocolError("cannot read"), now)
    assert rig.refusals()[-1] is firm


def test_a_link_that_was_ended_is_dialled_after_a_wait() -> None:
    rig = Rig()
    lane = rig.newest()
    rig.come_up(lane)
    rig.lanes.forget(lane, 1.0)
    rig.dialler.wait_after_refusal(rig.uplink, 0, 1.0)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(1.2)
    assert len(rig.dialled()) == 2


# Peers.


def other_link(*, with_lane: bool = True) -> Link:
    """Return a link that the other end has dialled."""
    link = make_link()
    if with_lane:
        link.lanes[1] = Lane(1, LaneState.READY, LaneRole.CONTROL, 1)
    return link


def refused_and_resting(rig: Rig, link: Link | None) -> None:
    rig.dialler.rest(rig.uplink, link)
    rig.lanes.forget(rig.newest(), 0.0)
    rig.context.deadlines.expire(0.4)


def test_a_peer_to_which_there_is_another_link_is_dialled_when_that_one_has_no_lane_any_more() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    link = other_link()
    refused_and_resting(rig, link)
    assert len(rig.dialled()) == 1
    for other in (link, make_link("another")):
        # It still lasts, or has nothing to do with it.
        rig.dialler.end_rest(other, 100.0)
    rig.context.deadlines.expire(200.0)
    assert len(rig.dialled()) == 1
    link.lanes.clear()
    rig.dialler.end_rest(link, 200.0)
    assert len(rig.dialled()) == 1
    rig.context.deadlines.expire(200.4)
    assert len(rig.dialled()) == 2


def test_a_peer_to_which_this_end_has_another_link_is_dialled_when_that_one_is_down() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    link = Link("server", 1, b"", LinkKind.SHORTCUT, Uplink(7))
    refused_and_resting(rig, link)
    assert len(rig.dialled()) == 1
    link.down = True
    rig.dialler.end_rest(link, 100.0)
    rig.context.deadlines.expire(100.4)
    assert len(rig.dialled()) == 2


@pytest.mark.parametrize("link", [None, other_link(with_lane=False)], ids=["no link", "no lane"])
def test_a_peer_that_refuses_for_a_link_that_is_not_here_is_dialled_again(link: Link | None) -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    refused_and_resting(rig, link)
    assert len(rig.dialled()) == 2


def test_the_parent_is_dialled_again_whatever_it_says() -> None:
    rig = Rig()
    refused_and_resting(rig, other_link())
    assert len(rig.dialled()) == 2


def test_a_peer_that_has_a_lane_does_not_rest() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    rig.come_up(rig.newest())
    rig.dialler.rest(rig.uplink, other_link())
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    assert rig.dialled() == [LaneRole.CONTROL, LaneRole.BULK]


def test_a_peer_that_rests_and_is_ended_is_not_dialled_again_and_is_forgotten() -> None:
    rig = Rig(kind=LinkKind.SHORTCUT)
    link = other_link()
    refused_and_resting(rig, link)
    rig.dialler.end(rig.uplink, 100.0)
    link.lanes.clear()
    rig.dialler.end_rest(link, 100.0)
    rig.context.deadlines.expire(200.0)
    assert len(rig.dialled()) == 1
    assert rig.dialler.uplinks == {}
    assert UplinkEnded(rig.uplink.number) in rig.context.events
    assert rig.dialler.add_uplink(200.0, kind=LinkKind.SHORTCUT).number != rig.uplink.number
