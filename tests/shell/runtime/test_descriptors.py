import errno
import logging
import os
import resource
import sys
from pathlib import Path

import pytest

from streamcell.runtime.engine import descriptors
from streamcell.runtime.engine.descriptors import RESERVED, Descriptors, DescriptorWatch, count_descriptors, raise_limit


class System:
    """Stands in for the process's count."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.looks = 0
        self.used, self.limit = 20, 1000
        patch.setattr(descriptors, "count_descriptors", self.count)

    def count(self) -> Descriptors | None:
        self.looks += 1
        return Descriptors(self.used, self.limit) if self.limit else None


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


def test_open_descriptors_are_counted() -> None:
    before = count_descriptors()
    assert before is not None
    file = os.open(os.devnull, os.O_RDONLY)
    after = count_descriptors()
    os.close(file)
    assert after is not None
    assert (after.used - before.used, after.limit - before.limit) == (1, 0)
    assert after.left == after.limit - after.used


def test_where_none_is_left_to_count_with_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "iterdir", refuse)
    counted = count_descriptors()
    assert counted is not None
    assert counted.left == 0


def test_there_may_be_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    assert count_descriptors() is None
    assert raise_limit() is None
    monkeypatch.setattr(sys, "platform", "win32")
    assert count_descriptors() is None
    assert raise_limit() is None


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 500), hard))
    try:
        assert raise_limit() == (hard if hard != resource.RLIM_INFINITY else 1 << 16)
        assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_few_that_are_left_are_said_once_and_so_is_the_end_of_it(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch = DescriptorWatch(lambda: system.now, logging.getLogger("test"))
    said = []
    for used in (20, 890, 910, 950, 969, 999, 910, 500, 400):
        system.used = used
        system.now += 2.0
        said.append((watch.are_short(), len(caplog.records)))
    assert said == [(False, 0)] * 2 + [(False, 1)] * 2 + [(True, 1)] * 2 + [(False, 1)] + [(False, 2)] * 2
    warning, over = (record.getMessage() for record in caplog.records)
    assert warning.startswith("910 of the 1000 files and sockets that this process may open are open: raise the limit")
    assert over == "500 of the 1000 files and sockets are open"


def test_each_second_and_each_eighth_of_what_is_left_is_counted_anew(system: System) -> None:
    watch = DescriptorWatch(lambda: system.now, logging.getLogger("test"))
    system.used = 1000 - RESERVED - 80
    for _ in range(11):
        watch.are_short()
    assert system.looks == 1
    watch.are_short()
    assert system.looks == 2
    system.now = 1.0
    watch.are_short()
    assert system.looks == 3


def test_without_a_limit_there_is_no_shortage(system: System) -> None:
    system.limit = 0
    assert not DescriptorWatch(lambda: system.now, logging.getLogger("test")).are_short()
