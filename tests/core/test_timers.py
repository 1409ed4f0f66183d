from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from streamcell.protocol.base.timers import Deadlines, Timed


class Owner(Timed):
    """Something that wants to be called at ``due``, and looks again when it is called before."""

    def __init__(self, deadlines: Deadlines, due: float | None = None) -> None:
        super().__init__()
        self.due = due
        self.called: list[float] = []
        self.fired: list[float] = []
        self.deadlines = deadlines

    def handle_timer(self, now: float) -> None:
        self.called.append(now)
        if self.due is not None and now < self.due:
            self.deadlines.schedule(self, self.due)
        else:
            self.fired.append(now)


def test_the_earliest_deadline_is_next() -> None:
    deadlines = Deadlines()
    for at in (5.0, 3.0, 4.0):
        deadlines.schedule(Owner(deadlines), at)
    assert deadlines.next_deadline() == 3.0


def test_nothing_to_wait_for_is_no_deadline() -> None:
    assert Deadlines().next_deadline() is None


def test_a_later_deadline_costs_a_look_and_nothing_else() -> None:
    deadlines = Deadlines()
    owner = Owner(deadlines, due=9.0)
    deadlines.schedule(owner, 5.0)
    deadlines.schedule(owner, 9.0)
    assert deadlines.next_deadline() == 5.0
    deadlines.expire(5.0)
    assert (owner.called, owner.fired, deadlines.next_deadline()) == ([5.0], [], 9.0)
    deadlines.expire(9.0)
    assert owner.fired == [9.0]


def test_an_earlier_deadline_counts_at_once_and_only_once() -> None:
    deadlines = Deadlines()
    owner = Owner(deadlines)
    deadlines.schedule(owner, 9.0)
    deadlines.schedule(owner, 5.0)
    deadlines.expire(20.0)
    assert (owner.called, deadlines.next_deadline()) == ([20.0], None)


def test_a_cancelled_deadline_does_not_fire() -> None:
    deadlines = Deadlines()
    owner = Owner(deadlines)
    deadlines.schedule(owner, 5.0)
    deadlines.cancel(owner)
    assert deadlines.next_deadline() is None
    deadlines.expire(9.0)
    assert owner.called == []


def test_an_owner_that_was_cancelled_is_not_kept_for_long() -> None:
    """Thousands of short streams with long timeouts must not pile up until those are over."""
    deadlines = Deadlines()

    def begin_and_end() -> weakref.ref[Owner]:
        owner = Owner(deadlines)
        deadlines.schedule(owner, 300.0)
        deadlines.cancel(owner)
        return weakref.ref(owner)

    kept = [begin_and_end() for _ in range(1000)]
    gc.collect()
    assert sum(reference() is not None for reference in kept) < 200


class Moment(float):
    """A deadline of which it can be told whether it is still kept."""


def test_a_deadline_that_comes_ever_closer_is_not_kept_at_every_place() -> None:
    deadlines = Deadlines()
    owner = Owner(deadlines)

    def move_to(at: float) -> weakref.ref[Moment]:
        moment = Moment(at)
        deadlines.schedule(owner, moment)
        return weakref.ref(moment)

    kept = [move_to(2000.0 - step) for step in range(1000)]
    gc.collect()
    assert sum(reference() is not None for reference in kept) < 200
    assert deadlines.next_deadline() == 1001.0


class Moving(Owner):
    """Something that asks for a deadline in the past once, as one that was late does."""

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        if len(self.called) == 1:
            self.deadlines.schedule(self, now - 1.0)


def test_a_deadline_in_the_past_is_called_in_the_same_go() -> None:
    deadlines = Deadlines()
    owner = Moving(deadlines)
    deadlines.schedule(owner, 5.0)
    deadlines.expire(6.0)
    assert (owner.called, deadlines.next_deadline()) == ([6.0, 6.0], None)


steps = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 100)), max_size=300)


@given(steps)
def test_every_owner_is_called_by_its_earliest_deadline_and_never_without_one(
    moves: list[tuple[int, int | None]],
) -> None:
    deadlines = Deadlines()
    owners = [Owner(deadlines) for _ in range(6)]
    earliest: dict[int, int] = {}
    for number, at in moves:
        if at is None:
            deadlines.cancel(owners[number])
            earliest.pop(number, None)
        else:
            deadlines.schedule(owners[number], float(at))
            earliest[number] = min(at, earliest.get(number, at))
        assert deadlines.next_deadline() == min(earliest.values(), default=None)
    for now in range(101):
        deadlines.expire(float(now))
        due = {number for number, at in earliest.items() if at <= now}
        assert {number for number, owner in enumerate(owners) if owner.called} == due
    assert all(len(owner.called) <= 1 for owner in owners)
