"""Numbers and names as people read them."""

import pytest

from streamcell.cli.text import (
    left_text,
    milliseconds_text,
    percent_text,
    rate_text,
    seconds_text,
    shortened,
    size_text,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (2**60, "1153 PB"),
    ],
)
def test_size(size: int, text: str) -> None:
    assert size_text(size) == text


def test_rate_and_round_trip() -> None:
    assert rate_text(98_200_000) == "98.2 MB/s"
    assert milliseconds_text(0.000_62) == "0.62 ms"


@pytest.mark.parametrize(
    ("seconds", "text", "left"),
    [
        (0.004, "0.00 s", "0 s left"),
        (9.4, "9.40 s", "9 s left"),
        (10.4, "10 s", "10 s left"),
        (59.6, "1:00 min", "1:00 min left"),
        (185, "3:05 min", "3:05 min left"),
        (7800, "2:10 h", "2:10 h left"),
    ],
)
def test_time(seconds: float, text: str, left: str) -> None:
    assert seconds_text(seconds) == text
    assert left_text(seconds) == left


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 10, "0 %"), (999, 1000, "99 %"), (10, 10, "100 %"), (11, 10, "100 %"), (5, 0, "")]
)
def test_percent_is_not_100_before_the_end(part: int, whole: int, text: str) -> None:
    assert percent_text(part, whole) == text


def test_long_name_keeps_its_ends() -> None:
    assert shortened("short.txt", 9) == "short.txt"
    assert shortened("2026-measurements-a.csv", 11) == "2026-…a.csv"
    assert len(shortened("x" * 100, 20)) == 20
