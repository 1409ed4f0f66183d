"""Random histories of trees. A failing one prints its seed; more are run with STREAMCELL_STORMS=number."""

from __future__ import annotations

import os

import pytest

from tests.simulation.tree_storm import TreeStorm

HISTORIES = int(os.environ.get("STREAMCELL_STORMS", "120")) // 2
PER_TEST = 10


@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_everything_arrives_once_through_broken_moved_and_restarted_relays(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        TreeStorm(seed).run()


@pytest.mark.parametrize("first", range(0, HISTORIES, PER_TEST))
def test_nothing_arrives_twice_when_any_cell_restarts(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        TreeStorm(seed, restarts=True).run()


@pytest.mark.parametrize("restarts", [False, True], ids=["", "restarts"])
@pytest.mark.parametrize("first", range(0, HISTORIES // 2, PER_TEST))
def test_a_leaf_that_lies_costs_the_others_nothing(first: int, restarts: bool) -> None:
    for seed in range(first, first + PER_TEST):
        TreeStorm(seed, restarts=restarts, liar=True).run()


def test_a_history_follows_from_its_seed() -> None:
    storms = [TreeStorm(7, restarts=True) for _ in range(2)]
    for storm in storms:
        storm.run()
    assert storms[0].history == storms[1].history
    assert len(storms[0].net.carried) == len(storms[1].net.carried)
