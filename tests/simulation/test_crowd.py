"""A crowd of cells comes back to a hub that was away."""

from __future__ import annotations

import pytest

from tests.simulation.crowd import BEFORE, HELLO_S, NOW, Crowd

CELLS = 2000
# So slow that the crowd needs far longer than a connection may take, as many more cells at a hub of the usual pace.
SLOW_S = 4 * HELLO_S


@pytest.mark.parametrize("hello_s", [HELLO_S, SLOW_S], ids=["usual", "slow"])
def test_all_are_back_within_twice_the_time_of_their_hellos(hello_s: float) -> None:
    crowd = Crowd(CELLS, 1, NOW, hello_s=hello_s)
    bound_s = 2 * CELLS * hello_s
    assert crowd.run(bound_s) < bound_s


def test_those_that_are_sent_away_are_back_in_time_as_well() -> None:
    crowd = Crowd(CELLS, 1, NOW, eager=True)
    bound_s = 2 * CELLS * HELLO_S
    assert crowd.run(bound_s) < bound_s
    assert crowd.sent_away > 0


def test_with_one_limit_for_a_dial_they_are_not() -> None:
    crowd = Crowd(CELLS, 1, BEFORE, hello_s=SLOW_S, admits=False)
    bound_s = 2 * CELLS * SLOW_S
    assert crowd.run(bound_s) == bound_s
    assert crowd.missing > 0


def test_a_crowd_follows_from_its_seed() -> None:
    first, second, other = [Crowd(300, seed, NOW) for seed in (5, 5, 6)]
    assert first.run(10.0) == second.run(10.0) != other.run(10.0)
