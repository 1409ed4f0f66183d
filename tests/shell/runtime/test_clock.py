import time

from streamcell.runtime.threads.clock import INCARNATION_RANDOM_BITS, make_incarnation, monotonic


def test_incarnations_are_start_times_in_milliseconds_above_random_bits() -> None:
    before = time.time_ns() // 1_000_000
    incarnation = make_incarnation()
    after = time.time_ns() // 1_000_000
    assert before <= incarnation >> INCARNATION_RANDOM_BITS <= after
    assert incarnation < 2**64


def test_time_never_goes_back() -> None:
    assert monotonic() <= monotonic()
