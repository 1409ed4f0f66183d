from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamcell.protocol.flow.settled import SettledIds

ids = st.integers(1, 60)
runs = st.lists(st.tuples(ids, ids), max_size=40)


def filled(*runs: tuple[int, int]) -> SettledIds:
    settled = SettledIds()
    for first, last in runs:
        settled.add(first, last)
    return settled


@given(runs, ids)
def test_it_holds_what_a_set_would_hold(added: list[tuple[int, int]], below: int) -> None:
    settled, model = SettledIds(), set[int]()
    for first, last in added:
        settled.add(first, last)
        model.update(range(first, last + 1))
        assert {stream_id for stream_id in range(1, 62) if stream_id in settled} == model
    settled.add_below(below)
    model.update(range(1, below))
    assert {stream_id for stream_id in range(1, 62) if stream_id in settled} == model


@given(runs)
def test_the_floor_is_the_lowest_id_that_is_not_settled(added: list[tuple[int, int]]) -> None:
    settled = filled(*added)
    assert settled.below == next(stream_id for stream_id in range(1, 100) if stream_id not in settled)


@given(st.sets(st.integers(2, 500), min_size=1))
def test_runs_that_touch_are_one(chosen: set[int]) -> None:
    settled = filled(*((stream_id, stream_id) for stream_id in sorted(chosen, reverse=True)))
    assert settled.run_count == sum(stream_id - 1 not in chosen for stream_id in chosen)


def test_one_long_stream_costs_one_gap() -> None:
    settled = filled(*((stream_id, stream_id) for stream_id in range(1, 10_000) if stream_id != 17))
    assert settled.below == 17
    assert (settled.run_count, settled.end) == (1, 9999)


def test_a_run_that_ends_before_it_begins_is_nothing() -> None:
    settled = filled((9, 4))
    assert (settled.below, settled.run_count) == (1, 0)


@given(runs, ids)
def test_what_is_new_is_told_and_nothing_else(added: list[tuple[int, int]], below: int) -> None:
    settled, known = SettledIds(), set[int]()
    for first, last in added:
        fresh = [stream_id for start, end in settled.add(first, last) for stream_id in range(start, end + 1)]
        assert sorted(fresh) == sorted(set(range(first, last + 1)) - known)
        known.update(fresh)
    fresh = [stream_id for start, end in settled.add_below(below) for stream_id in range(start, end + 1)]
    assert sorted(fresh) == sorted(set(range(1, below)) - known)
