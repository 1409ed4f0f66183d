"""Bulk on a lane that carries control, too: what counts is what the neighbour may not have read yet."""

from __future__ import annotations

from streamcell.limits import KIB, SHARED_LANE_IN_FLIGHT_BYTES
from streamcell.protocol.flow.sharing import SharedRoom


def filled(*marks: tuple[int, int]) -> SharedRoom:
    """Return the room of a lane on which these many bytes were put, each followed by a Ping with that nonce."""
    room = SharedRoom()
    for size, nonce in marks:
        room.take(size)
        room.mark(nonce)
    return room


def test_what_is_put_on_the_lane_takes_room_and_a_pong_gives_it_back() -> None:
    room = filled((100 * KIB, 1), (50 * KIB, 2))
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES - 150 * KIB
    assert room.note_pong(1)
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES - 50 * KIB
    assert room.note_pong(2)
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES


def test_a_later_pong_stands_for_the_earlier_ones() -> None:
    room = filled((100 * KIB, 1), (50 * KIB, 2), (20 * KIB, 3))
    assert room.note_pong(2)
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES - 20 * KIB
    assert not room.note_pong(1)
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES - 20 * KIB


def test_a_pong_for_another_ping_or_that_comes_twice_gives_nothing_back() -> None:
    room = filled((100 * KIB, 1))
    assert not room.note_pong(7)
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES - 100 * KIB
    assert room.note_pong(1)
    room.take(10 * KIB)
    assert not room.note_pong(1)
    assert room.free_bytes == SHARED_LANE_IN_FLIGHT_BYTES - 10 * KIB


def test_a_chunk_that_cannot_be_cut_may_overdraw_the_room() -> None:
    room = filled((SHARED_LANE_IN_FLIGHT_BYTES + KIB, 1))
    assert room.free_bytes == 0


def test_a_ping_follows_each_quarter_of_the_room() -> None:
    quarter = SHARED_LANE_IN_FLIGHT_BYTES // 4
    room = SharedRoom()
    pings = []
    for nonce, size in enumerate((quarter - 1, 1, quarter - 1, 1, quarter + 1, 1)):
        room.take(size)
        if room.wants_mark:
            room.mark(nonce)
            pings.append(nonce)
    assert pings == [1, 3, 4]
