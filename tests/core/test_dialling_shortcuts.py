"""When a dialler dials again where another link to the same cell is, or was."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode
from streamcell.protocol.base.events import UplinkEnded
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import LaneRole
from tests.core.by_hand import hello
from tests.core.dialling import Rig


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
