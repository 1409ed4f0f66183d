"""When a dialler dials, by itself."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode, LinkError
from streamcell.protocol.context import Context
from streamcell.protocol.dialling import Dialler
from streamcell.protocol.events import LaneWanted, UplinkRefused
from streamcell.protocol.frames import LaneRole
from streamcell.protocol.lanes import LaneTable
from streamcell.protocol.link import Lane, Link, Uplink
from streamcell.protocol.states import LaneInput, LaneState
from tests.unit.protocol.harness import make_context
from tests.unit.protocol.test_lanes import Keeper


class Rig:
    """A dialler with one uplink, to a parent or a peer."""

    def __init__(self, *, peer: bool = False) -> None:
        self.context: Context = make_context()
        self.lanes = LaneTable(self.context, Keeper())
        self.dialler = Dialler(self.context, self.lanes)
        self.uplink: Uplink = self.dialler.add_uplink(0.0, peer=peer)

    def dialled(self) -> list[LaneRole]:
        return [event.role for event in self.context.events if isinstance(event, LaneWanted)]

    def newest(self) -> Lane:
        return self.lanes.all()[-1]

    def come_up(self, lane: Lane) -> None:
        """Let the listener's Hello arrive."""
        if self.uplink.link is None:
            self.uplink.link = Link("server", 1, b"")
        lane.step(LaneInput.CONNECTED)
        lane.step(LaneInput.HELLO)
        self.uplink.link.lanes[lane.number] = lane
        self.dialler.succeeded(self.uplink, lane)


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
    assert (rig.dialled().count(LaneRole.BULK), rig.uplink.failures, rig.uplink.bulk_failures) == (1, 0, 1)
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


@pytest.mark.parametrize(("code", "least", "most"), [(ErrorCode.NAME_IN_USE, 5.0, 5.0), (ErrorCode.STOPPING, 0.1, 0.2)])
def test_after_a_goodbye_it_waits_for_a_held_name_as_long_as_ever(code: ErrorCode, least: float, most: float) -> None:
    rig = Rig()
    rig.dialler.wait_after_goodbye(rig.uplink, code, 0.0)
    assert least <= rig.uplink.retry_at <= most


def test_a_final_refusal_ends_the_dialling() -> None:
    rig = Rig()
    rig.dialler.failed(rig.uplink, rig.newest(), 0.0)
    rig.dialler.refuse(rig.uplink, LinkError("no"), final=False)
    rig.dialler.refuse(rig.uplink, LinkError("never"), final=True)
    rig.context.deadlines.expire(100.0)
    assert len(rig.dialled()) == 1
    assert [event.final for event in rig.context.events if isinstance(event, UplinkRefused)] == [False, True]


def test_a_cell_that_stops_dials_no_more() -> None:
    rig = Rig()
    rig.dialler.failed(rig.uplink, rig.newest(), 0.0)
    rig.dialler.stop()
    assert rig.uplink.timer_at is None
    rig.context.stopped = True
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


def other_link(*, with_lane: bool = True) -> Link:
    """Return a link that the other end has dialled."""
    link = Link("server", 1, b"")
    if with_lane:
        link.lanes[1] = Lane(1, LaneState.READY, LaneRole.CONTROL, 1)
    return link


def refused_and_resting(rig: Rig, link: Link | None) -> None:
    rig.dialler.rest(rig.uplink, link)
    rig.dialler.failed(rig.uplink, rig.newest(), 0.0)
    rig.context.deadlines.expire(100.0)


def test_a_peer_to_which_there_is_another_link_is_dialled_when_that_one_has_no_lane_any_more() -> None:
    rig = Rig(peer=True)
    link = other_link()
    refused_and_resting(rig, link)
    assert len(rig.dialled()) == 1
    for other in (link, Link("another", 1, b"")):
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
    rig = Rig(peer=True)
    link = other_link(with_lane=False)
    link.uplink = Uplink(7)
    refused_and_resting(rig, link)
    assert len(rig.dialled()) == 1
    link.down = True
    rig.dialler.end_rest(link, 100.0)
    rig.context.deadlines.expire(100.4)
    assert len(rig.dialled()) == 2


@pytest.mark.parametrize("link", [None, other_link(with_lane=False)], ids=["no link", "no lane"])
def test_a_peer_that_refuses_for_a_link_that_is_not_here_is_dialled_again(link: Link | None) -> None:
    rig = Rig(peer=True)
    refused_and_resting(rig, link)
    assert len(rig.dialled()) == 2


def test_the_parent_is_dialled_again_whatever_it_says() -> None:
    rig = Rig()
    refused_and_resting(rig, other_link())
    assert len(rig.dialled()) == 2


def test_a_peer_that_has_a_lane_does_not_rest() -> None:
    rig = Rig(peer=True)
    rig.come_up(rig.newest())
    rig.dialler.rest(rig.uplink, other_link())
    rig.dialler.want_bulk_lanes(rig.uplink, 1, 0.0)
    assert rig.dialled() == [LaneRole.CONTROL, LaneRole.BULK]


def test_a_peer_that_rests_and_is_ended_is_not_dialled_again() -> None:
    rig = Rig(peer=True)
    link = other_link()
    refused_and_resting(rig, link)
    rig.dialler.end(rig.uplink, 100.0)
    link.lanes.clear()
    rig.dialler.end_rest(link, 100.0)
    rig.context.deadlines.expire(200.0)
    assert len(rig.dialled()) == 1
