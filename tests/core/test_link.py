"""Lanes, links, uplinks and the outbox as values."""

from __future__ import annotations

import dataclasses

from streamcell.protocol.links.link import Lane, Link, Outbox
from streamcell.protocol.links.states import (
    LaneInput,
    LaneState,
)
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import Frame, LaneRole, Pong, StreamKey
from tests.core.harness import make_link


@dataclasses.dataclass
class Speaker:
    key: StreamKey
    frames: list[Frame]

    def take_control_frames(self) -> list[Frame]:
        return self.frames


def lane(number: int, role: LaneRole = LaneRole.CONTROL, state: LaneState = LaneState.READY) -> Lane:
    return Lane(number, state, role, number)


def link_with(*lanes: Lane) -> Link:
    link = make_link()
    link.lanes = {member.number: member for member in lanes}
    return link


def test_the_outbox_gives_frames_in_order_and_then_what_speakers_say_now() -> None:
    outbox = Outbox()
    assert not outbox
    speaker = Speaker(StreamKey("a", 1, 1), [Pong(3)])
    outbox.note(speaker)
    outbox.note(speaker)
    outbox.post(Pong(1))
    outbox.post(Pong(2))
    assert outbox
    speaker.frames = [Pong(4)]
    assert outbox.take(9) == [Pong(1), Pong(2), Pong(4)]
    assert not outbox


def test_the_outbox_gives_about_as_much_as_is_asked_for() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.post(Pong(number))
        outbox.note(Speaker(StreamKey("a", 1, number), [Pong(10 + number)]))
    assert [len(outbox.take(2)) for _ in range(4)] == [2, 2, 2, 0]


def test_the_outbox_forgets_when_told() -> None:
    outbox = Outbox()
    outbox.post(Pong(1))
    outbox.note(Speaker(StreamKey("a", 1, 1), [Pong(3)]))
    outbox.clear()
    assert not outbox
    assert outbox.take(9) == []


def test_control_goes_by_the_newest_control_lane_that_is_trusted() -> None:
    link = link_with(lane(1), lane(2, LaneRole.BULK), lane(3), lane(4, state=LaneState.SUSPECT))
    for number in (3, 1, 2, 4):
        control = link.control_lane()
        assert control is not None
        assert control.number == number
        del link.lanes[number]
    assert link.control_lane() is None


def test_lanes_that_are_not_ready_are_not_used() -> None:
    link = link_with(lane(1, state=LaneState.GREETING), lane(2, LaneRole.BULK, LaneState.CLOSED))
    assert (link.control_lane(), link.has_bulk_lane(), link.highest_number()) == (None, False, 2)
    assert link_with().highest_number() == 0


def test_an_uplink_counts_what_is_up_and_under_way() -> None:
    uplink = Uplink(0)
    uplink.bulk_wanted = 3
    assert (uplink.missing_bulk_lanes(), uplink.lanes_held(), uplink.has_ready_lane(LaneRole.BULK)) == (3, (), False)
    uplink.dialling[5] = lane(5, LaneRole.BULK, LaneState.DIALLING)
    uplink.link = link_with(lane(1), lane(2, LaneRole.BULK, LaneState.SUSPECT))
    assert (uplink.missing_bulk_lanes(), uplink.lanes_held()) == (2, (1, 2, 5))
    assert uplink.dials(LaneRole.BULK)
    assert not uplink.dials(LaneRole.CONTROL)
    assert uplink.has_ready_lane(LaneRole.CONTROL)
    assert not uplink.has_ready_lane(LaneRole.BULK)


def test_what_they_are_is_said_in_their_names() -> None:
    member = lane(7, LaneRole.BULK)
    member.step(LaneInput.SILENT)
    assert "SUSPECT" in repr(member)
    assert "number 7" in repr(member)
    link = link_with(member)
    assert "server" in repr(link)
    assert "up" in repr(link)
    link.down = True
    assert "down" in repr(link)
    assert "next place 0" in repr(Uplink(3))


def test_a_timer_without_an_owner_is_nothing() -> None:
    for subject in (lane(1), link_with(), Uplink(0)):
        subject.handle_timer(5.0)
        assert subject.timer_at is None
