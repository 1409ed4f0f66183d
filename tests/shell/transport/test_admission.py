"""Whom a listener works on, who waits, and who is sent away."""

from __future__ import annotations

import collections
import itertools

import pytest

from streamcell.limits import NEWCOMERS, NEWCOMERS_OF_ONE_ADDRESS, NEWCOMERS_WAITING
from streamcell.transport.admission import LATEST_S, MUTE_S, SOONEST_S, Admission

ROOM = NEWCOMERS + NEWCOMERS_WAITING
# Neither early nor late.
CHANCE = 0.5


def full(*, saying_hello: int, now: float = 0.0) -> Admission[int]:
    """Return one with no room left: of so many that came, the first ``saying_hello`` have said Hello."""
    admission = Admission[int]()
    for number in range(ROOM):
        assert admission.refuse("", now, CHANCE) is None
        assert admission.on_arrival(number, "", now) is None
    for number in range(saying_hello):
        assert admission.on_hello(number) == (number < NEWCOMERS)
    return admission


def test_who_comes_alone_is_worked_on_at_once() -> None:
    admission = Admission[str]()
    assert admission.refuse("", 0.0, CHANCE) is None
    assert admission.on_arrival("a", "", 0.0) is None
    assert not admission.holds_place("a")
    assert admission.on_hello("a")
    assert admission.holds_place("a")
    assert admission.on_end("a", 1.0) is None
    assert not admission.holds_place("a")


def test_a_place_goes_to_who_has_said_hello_last() -> None:
    admission = full(saying_hello=NEWCOMERS + 3)
    order = [NEWCOMERS + 2, NEWCOMERS + 1, NEWCOMERS]
    for number, following in enumerate(order):
        assert admission.on_end(number, 1.0) == following
        assert admission.holds_place(following)
    assert admission.on_end(3, 1.0) is None


def test_who_says_nothing_holds_no_place() -> None:
    admission = Admission[int]()
    for number in range(ROOM):
        admission.on_arrival(number, "", 0.0)
    assert all(admission.on_hello(number) for number in range(NEWCOMERS))
    assert not admission.on_hello(NEWCOMERS)


def test_who_has_gone_is_not_worked_on() -> None:
    admission = full(saying_hello=NEWCOMERS + 3)
    assert admission.on_end(NEWCOMERS + 2, 1.0) is None
    assert admission.on_end(0, 1.0) == NEWCOMERS + 1
    # Nor does it come a second time.
    assert admission.on_end(0, 1.0) is None
    assert admission.on_hello(0)
    assert not admission.holds_place(0)


def test_who_comes_when_the_house_is_full_is_sent_away() -> None:
    admission = full(saying_hello=ROOM)
    assert admission.refuse("", MUTE_S * 2, CHANCE) is not None
    admission.on_end(5, 1.0)
    assert admission.refuse("", 1.0, CHANCE) is None


def test_who_is_silent_for_long_has_to_go_for_another() -> None:
    admission = full(saying_hello=1)
    assert admission.refuse("", MUTE_S / 2, CHANCE) is not None
    assert admission.refuse("", MUTE_S, CHANCE) is None
    assert [admission.on_arrival(ROOM + more, "", MUTE_S) for more in range(3)] == [1, 2, 3]
    # It has gone: its Hello, should it come yet, is for nobody.
    assert admission.on_hello(1)
    assert not admission.holds_place(1)


def test_one_address_does_not_fill_the_house() -> None:
    admission = Admission[int]()
    for number in range(NEWCOMERS_OF_ONE_ADDRESS):
        assert admission.refuse("192.0.2.1", 0.0, CHANCE) is None
        admission.on_arrival(number, "192.0.2.1", 0.0)
    assert admission.refuse("192.0.2.1", 0.0, CHANCE) is not None
    assert admission.refuse("192.0.2.2", 0.0, CHANCE) is None
    admission.on_hello(7)
    admission.on_end(7, 0.0)
    assert admission.refuse("192.0.2.1", 0.0, CHANCE) is None
    for number in range(NEWCOMERS_OF_ONE_ADDRESS):
        admission.on_end(number, 0.0)
    assert admission.refuse("192.0.2.1", 0.0, CHANCE) is None


def answered_every(seconds: float) -> Admission[int]:
    """Return a full one that has answered many, at that pace, by time 0."""
    admission = full(saying_hello=ROOM, now=-1000.0)
    worked_on = collections.deque(range(NEWCOMERS))
    for number in range(500):
        following = admission.on_end(worked_on.popleft(), seconds * (number - 500))
        assert following is not None
        worked_on.append(following)
        admission.on_arrival(ROOM + number, "", -1.0)
        admission.on_hello(ROOM + number)
    return admission


@pytest.mark.parametrize("pace_s", [0.001, 0.0025, 0.02])
def test_those_sent_away_are_told_times_at_the_pace_at_which_others_are_answered(pace_s: float) -> None:
    admission = answered_every(pace_s)
    told = [admission.refuse("", 0.0, 0.0) for _ in range(1000)]
    times = [each for each in told if each is not None]
    assert len(times) == 1000
    assert times[0] == pytest.approx(max(SOONEST_S, ROOM * pace_s), rel=0.1)
    assert all(later - earlier == pytest.approx(pace_s, rel=0.1) for earlier, later in itertools.pairwise(times))


def test_a_pause_is_no_pace() -> None:
    admission = full(saying_hello=ROOM)
    assert admission.on_end(0, 0.0) is not None
    assert admission.on_end(1, 3600.0) is not None
    [first, second] = [admission.refuse("", 3600.0, 0.0) or 0.0 for _ in range(2)]
    assert second - first < 0.05


def test_nobody_is_told_to_stay_away_for_ever_and_some_stay_longer_than_others() -> None:
    admission = full(saying_hello=ROOM)
    soonest = admission.refuse("", 0.0, 0.0)
    assert soonest is not None
    assert soonest >= SOONEST_S
    told = [admission.refuse("", 0.0, 0.0) or 0.0 for _ in range(100_000)]
    assert max(told) == LATEST_S
    assert LATEST_S < (admission.refuse("", 0.0, 1.0) or 0.0) <= 1.25 * LATEST_S
    # When the crowd is gone, its times count no more.
    assert (admission.refuse("", 1000.0, 0.0) or 0.0) < LATEST_S / 2
