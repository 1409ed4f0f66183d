"""Tests in several processes at once (`pytest -n`): those marked `alone` have the machine for themselves.

They come last, so that nobody waits for them, and a lock on a file keeps the others out while one of them runs.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest


def last_if_alone(items: list[pytest.Item]) -> None:
    """Put the tests that want to be alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


class SideBySide:
    """The plugin, in each process that runs tests."""

    def __init__(self, folder: Path) -> None:
        self._door = folder / "door"
        self._room = folder / "room"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Wait until a test may run beside the others, or alone. Its time has not begun yet."""
        # Who wants to be alone keeps the door shut until the room is empty; the others only pass through it.
        if item.get_closest_marker("alone") is not None:
            with locked(self._door, fcntl.LOCK_EX), locked(self._room, fcntl.LOCK_EX):
                return (yield)
        with locked(self._door, fcntl.LOCK_SH):
            pass
        with locked(self._room, fcntl.LOCK_SH):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, Any, Any]:
        """Say what happened in words that can be sent: what tests print and log may be no Unicode."""
        return with_escapes((yield))


def with_escapes(data: Any) -> Any:
    """Return data for JSON with what cannot be encoded written as escapes."""
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, dict):
        return {with_escapes(key): with_escapes(value) for key, value in data.items()}
    if isinstance(data, list):
        return [with_escapes(each) for each in data]
    if isinstance(data, tuple):
        return tuple(with_escapes(each) for each in data)
    return data


@contextlib.contextmanager
def locked(path: Path, kind: int) -> Iterator[None]:
    """Hold a lock on a file."""
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield
