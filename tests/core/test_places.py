"""The places of an uplink: whose turn it is, and what becomes of it when there are more of them, or fewer."""

from __future__ import annotations

import pytest

from streamcell.errors import CellError, LinkError
from streamcell.protocol.links.places import Places
from tests.core.harness import make_context

NO = LinkError("no")


def places(count: int) -> Places:
    return Places(make_context(), count)


def turns(of: Places, count: int, now: float = 0.0) -> list[int | None]:
    """Return where is dialled when each dial comes to nothing at once and waits for nothing."""
    found = []
    for _ in range(count):
        number = of.next_free((), now)
        found.append(number)
        if number is not None:
            of.pass_by(number)
    return found


def test_each_has_its_turn() -> None:
    of = places(3)
    assert turns(of, 4) == [0, 1, 2, 0]
    assert (len(of), len(list(of)), repr(of)) == (3, 3, "<Places [0, 1, 2] next 1>")


def test_where_a_dial_is_under_way_there_is_no_other() -> None:
    of = places(2)
    assert of.next_free({0}, 0.0) == 1
    assert of.next_free({0, 1}, 0.0) is None
    assert of.next_free((), 0.0, only=1) == 1
    assert of.next_free({1}, 0.0, only=1) is None


def test_what_failed_comes_behind_what_did_not() -> None:
    of = places(3)
    of[0].on_failure(0.0)
    of[1].on_failure(0.0)
    # Before their waits are over, and after.
    assert of.next_free((), 0.0) == 2
    assert of.next_free((), 10.0) == 2
    assert of.next_free({2}, 10.0) == 0
    of[0].on_welcome(here=True)
    assert of.next_free((), 10.0) == 0


def test_one_more_comes_after_the_one_that_it_was_found_at() -> None:
    of = places(2)
    assert of.add(0) == 2
    assert of.add(2) == 3
    assert (of.order, turns(of, 5)) == ([0, 2, 3, 1], [0, 2, 3, 1, 0])


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_one_that_is_no_more_has_no_turn(removed: int) -> None:
    of = places(3)
    of.remove(removed)
    left = [number for number in range(3) if number != removed]
    assert turns(of, 2) == left
    # What fails there last is of no consequence.
    of.pass_by(removed)
    assert turns(of, 2) == left


def test_the_number_of_one_that_is_no_more_goes_to_the_next_with_nothing_else() -> None:
    of = places(2)
    of[0].on_refusal(NO, 30.0, firm=True)
    of[0].on_failure(0.0)
    of.remove(0)
    assert of.add(1) == 0
    assert (of[0].failures, of[0].refusal, of.order) == (0, None, [1, 0])


REFUSES, FAILED, UNTRIED = "refuses", "failed", "untried"


@pytest.mark.parametrize(
    ("families", "refusal"),
    [
        ([[REFUSES]], NO),
        ([[FAILED]], None),
        ([[REFUSES], [REFUSES]], NO),
        ([[REFUSES], [FAILED]], None),
        ([[REFUSES], [UNTRIED]], None),
        # The records of one host.
        ([[REFUSES, FAILED]], NO),
        ([[FAILED, REFUSES]], NO),
        ([[REFUSES, UNTRIED]], None),
        ([[FAILED, FAILED]], None),
        ([[REFUSES, FAILED], [FAILED, REFUSES]], NO),
        ([[REFUSES, FAILED], [FAILED, FAILED]], None),
    ],
)
def test_a_refusal_counts_when_whatever_can_be_had_refuses(
    families: list[list[str]], refusal: CellError | None
) -> None:
    of = places(len(families))
    for first, states in enumerate(families):
        numbers = [first, *(of.add(first) for _ in states[1:])]
        for number, state in zip(numbers, states, strict=True):
            if state is REFUSES:
                of[number].on_refusal(NO, 30.0, firm=True)
            if state is not UNTRIED:
                of[number].on_failure(0.0)
    assert of.find_refusal() is refusal
