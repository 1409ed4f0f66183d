import concurrent.futures
from typing import Any

import pytest

from streamcell import CellError, StreamError
from streamcell.runtime.transfers import OpenFutures, Progress, fail, succeed


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_future() -> concurrent.futures.Future[Any]:
    return concurrent.futures.Future()


def test_a_future_settles_once() -> None:
    future = make_future()
    assert succeed(future, 5)
    assert not succeed(future, 6)
    assert not fail(future, CellError("late"))
    assert future.result() == 5


def test_a_cancelled_future_stays_cancelled() -> None:
    future = make_future()
    future.cancel()
    assert not fail(future, CellError("late"))
    assert future.cancelled()


def test_closing_fails_what_is_open_and_what_comes_later() -> None:
    futures = OpenFutures()
    done, open_one, late = make_future(), make_future(), make_future()
    futures.add(done)
    succeed(done, 1)
    futures.discard(done)
    futures.add(open_one)
    futures.close(StreamError("ended"))
    futures.add(late)
    assert done.result() == 1
    for future in (open_one, late):
        with pytest.raises(StreamError, match="ended"):
            future.result()


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = FakeClock()
    progress = Progress(clock)
    assert progress.rate == 0
    for _ in range(100):
        progress.add(100, clock.now)
        clock.now += 1
    assert progress.received == 10_000
    assert progress.rate == pytest.approx(100, rel=0.25)


def test_the_rate_falls_to_nothing_in_a_pause() -> None:
    clock = FakeClock()
    progress = Progress(clock)
    for _ in range(10):
        progress.add(100, clock.now)
        clock.now += 0.5
    clock.now += 60
    assert progress.rate == 0


def test_progress_may_fall() -> None:
    clock = FakeClock()
    progress = Progress(clock)
    progress.note(100, clock.now)
    clock.now += 1
    progress.note(40, clock.now)
    assert progress.received == 40
    assert progress.rate >= 0


def test_what_the_target_had_before_has_no_rate() -> None:
    clock = FakeClock()
    progress = Progress(clock)
    progress.place(1_000_000, 1_000_000)
    assert (progress.received, progress.resumed_at) == (1_000_000, 1_000_000)
    progress.note(1_000_000, clock.now)
    clock.now += 1
    progress.note(1_000_100, clock.now)
    assert progress.rate == pytest.approx(100)
    # A break, after which the target has something that was on its way, and nothing that it had not.
    progress.place(1_000_150, 0)
    progress.note(1_000_150, clock.now)
    assert progress.resumed_at == 1_000_000
    assert progress.rate == pytest.approx(150)


def test_what_a_restarted_target_has_kept_has_no_rate() -> None:
    clock = FakeClock()
    progress = Progress(clock)
    for received in (0, 400, 800):
        clock.now += 1
        progress.note(received, clock.now)
    rate = progress.rate
    progress.note(0, clock.now)
    assert progress.rate == rate
    progress.place(700, 700)
    assert (progress.received, progress.resumed_at, progress.rate) == (700, 0, rate)
    # It has lost what it had before, so that all is sent.
    again = Progress(clock)
    again.place(500, 500)
    again.note(500, clock.now)
    again.note(600, clock.now)
    again.place(0, 0)
    again.note(0, clock.now)
    assert (again.received, again.resumed_at) == (0, 0)
