"""Buckets of tokens: so many at once, so many a second, and who is remembered."""

from __future__ import annotations

import pytest

from streamcell.protocol.flow.buckets import Buckets, TokenBucket


def test_a_bucket_gives_what_it_has_at_once_and_then_what_comes_back() -> None:
    bucket = TokenBucket(2, 10)
    assert [bucket.take(100.0) for _ in range(11)] == [True] * 10 + [False]
    assert [bucket.take(101.0) for _ in range(3)] == [True, True, False]
    assert bucket.next_at(101.0) == pytest.approx(101.5)
    assert bucket.take(101.5)
    assert bucket.next_at(200.0) == 200.0
    assert [bucket.take(200.0) for _ in range(11)] == [True] * 10 + [False]


def test_what_takes_more_than_there_ever_is_takes_all() -> None:
    bucket = TokenBucket(1, 10)
    assert bucket.take(0.0, 1000)
    assert not bucket.take(5.0, 1000)
    assert bucket.take(10.0, 1000)


def test_time_that_goes_backwards_takes_nothing_back() -> None:
    bucket = TokenBucket(1, 2)
    assert bucket.take(10.0)
    assert bucket.take(5.0)
    assert not bucket.has(5.0)


def test_each_key_has_a_bucket_and_who_was_away_longest_makes_room() -> None:
    buckets = Buckets(1, 2, most=2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.0)
    assert buckets.take("c", 0.0)
    # Of "b" nothing is remembered; of "a", that it has taken all.
    assert not buckets.take("a", 0.0)
    assert [buckets.take("b", 0.0) for _ in range(2)] == [True, True]
