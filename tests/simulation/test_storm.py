"""Hundreds of random histories. A failing one prints its seed; more are run with STREAMCELL_STORMS=number."""

from __future__ import annotations

import os

import pytest

from tests.simulation.storm import Storm

HISTORIES = int(os.environ.get("STREAMCELL_STORMS", "120"))
# Seeds in one test: few enough tests to read, small enough for the timeout of one.
PER_TEST = 20


@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_everything_arrives_once_through_breaks_and_delays(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        Storm(seed).run()


@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_nothing_arrives_twice_through_restarts(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        Storm(seed, restarts=True).run()


def test_a_history_follows_from_its_seed() -> None:
    storms = [Storm(7, restarts=True) for _ in range(2)]
    for storm in storms:
        storm.run()
    assert storms[0].history == storms[1].history
    assert len(storms[0].net.carried) == len(storms[1].net.carried)
