"""Lanes, links, uplinks and the outbox as values."""

from __future__ import annotations

import dataclasses

import pytest

from streamcell.errors import ErrorCode
from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.base.events import FrameRefused
from streamcell.protocol.links.greeting import Terms
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.outbox import Outbox
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.wire.frames import Frame, LaneRole, Pong
from tests.core.by_hand import hello
from tests.core.harness import make_context, make_lane, make_link
from tests.core.samples import Told


@dataclasses.dataclass(eq=False)
class Speaker:
    frames: list[Frame]

    def take_control_frames(self, lane_id: int, now: float) -> list[Frame]:
        return self.frames


def test_the_outbox_gives_frames_in_order_and_then_what_speakers_say_now() -> None:
    outbox = Outbox()
    assert not outbox
    speaker = Speaker([Pong(3)])
    outbox.note(speaker)
    outbox.note(speaker)
    outbox.post(Pong(1))
    outbox.post(Pong(2))
    assert outbox
    speaker.frames = [Pong(4)]
    assert outbox.take(9, 1, 0.0) == [Pong(1), Pong(2), Pong(4)]
    assert not outbox


def test_the_outbox_gives_about_as_much_as_is_asked_for() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.post(Pong(number))
        outbox.note(Speaker([Pong(10 + number)]))
    assert [len(outbox.take(2, 1, 0.0)) for _ in range(4)] == [2, 2, 2, 0]


def test_the_outbox_forgets_when_told() -> None:
    outbox = Outbox()
    outbox.post(Pong(1))
    outbox.note(Speaker([Pong(3)]))
    outbox.clear()
    assert not outbox
    assert outbox.take(9, 1, 0.0) == []


def test_control_goes_by_the_newest_control_lane_that_is_trusted() -> None:
    lanes = (make_lane(1), make_lane(2, LaneRole.BULK), make_lane(3), make_lane(4, state=LaneState.SUSPECT))
    link = make_link("server", 1, LinkKind.CHILD, *lanes)
    for number in (3, 1, 2, 4):
        control = link.control_lane()
        assert control is not None
        assert control.number == number
        del link.lanes[number]
    assert link.control_lane() is None


def test_lanes_that_are_not_ready_are_not_used() -> None:
    lanes = (make_lane(1, state=LaneState.GREETING), make_lane(2, LaneRole.BULK, LaneState.CLOSED))
    link = make_link("server", 1, LinkKind.CHILD, *lanes)
    assert (link.control_lane(), link.has_bulk_lane(), link.highest_number()) == (None, False, 2)
    assert make_link().highest_number() == 0


def test_what_they_are_is_said_in_their_names() -> None:
    lane = make_lane(7, LaneRole.BULK, LaneState.SUSPECT)
    assert "SUSPECT" in repr(lane)
    assert "number 7" in repr(lane)
    link = make_link("server", 1, LinkKind.SHORTCUT)
    assert "SHORTCUT server" in repr(link)
    assert "up" in repr(link)
    link.retire(0.0)
    assert "down" in repr(link)
    assert "next 0" in repr(LinkTable(make_context(), Told()).dialler.add_uplink(0.0))


def test_what_is_known_of_the_neighbour_is_what_it_said_last() -> None:
    link = make_link()
    assert (link.terms, link.initial_credit) == (Terms(), INITIAL_CREDIT_BYTES)
    said = hello(initial_credit=10, lanes=5, capabilities=("routes",), software="x 1")
    link.on_lane_joined(make_lane(1), Terms.of(said), 0.0)
    assert link.terms == Terms(10, said.message_bytes, 5, True, "x 1")
    link.on_lane_joined(make_lane(2), Terms.of(hello(initial_credit=1 << 40)), 0.0)
    assert link.terms == Terms(INITIAL_CREDIT_BYTES, lanes=2)


@pytest.mark.parametrize("kind", [LinkKind.CHILD, LinkKind.SHORTCUT, LinkKind.SELF])
def test_a_link_that_this_end_has_not_dialled_has_nobody_whom_a_refused_name_concerns(kind: LinkKind) -> None:
    link = make_link("server", 1, kind)
    link.on_name_refused(ErrorCode.NAME_IN_USE, "held", 0.0)
    assert not link.down


def test_a_frame_that_may_not_come_is_told_of_once() -> None:
    context = make_context()
    link = Link(context, Told(), Told(), LinkKind.CHILD, "server", 1, b"")
    for source in ("a", "b"):
        link.on_frame_refused(source)
    assert list(context.events) == [FrameRefused("server", "a", False)]
