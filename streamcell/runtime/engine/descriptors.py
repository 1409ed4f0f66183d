"""How many files and sockets the process may still open."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import resource

# Below this part of the limit there is a warning.
WARN_PART = 0.1
# Below this number no cell is taken that has no link yet: the rest is for those that have one, and for the program.
RESERVED = 32
# How old a count may be.
_LOOK_EVERY_S = 1.0
# How many of what is left over may be taken before it is counted anew.
_LOOK_AT_PART = 8
# Where a process finds its own descriptors, on Linux and macOS.
_OWN_DESCRIPTORS = Path("/dev/fd")
# What is asked for where the hard limit is none: some systems take no larger one.
_LARGEST_LIMIT = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True)
class Descriptors:
    """A count of open descriptors."""

    used: int
    limit: int

    @property
    def left(self) -> int:
        """How many can be opened yet."""
        return self.limit - self.used


def count_descriptors() -> Descriptors | None:
    """Return how many descriptors are open, and how many may be; None where there is no limit or it cannot be known."""
    if sys.platform == "win32":
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        return Descriptors(sum(1 for _ in _OWN_DESCRIPTORS.iterdir()), limit)
    except OSError:
        # Most likely there was none left to look with.
        return Descriptors(limit, limit)


def raise_limit() -> int | None:
    """Raise the limit of the process to what it may be; return it, or None where there is none.

    For programs that do not use select(2), which knows no descriptor beyond 1,023.
    """
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = _LARGEST_LIMIT if hard == resource.RLIM_INFINITY else hard
    if wanted > soft:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class DescriptorWatch:
    """Counts the descriptors of the process now and then, and warns when few are left. On the engine.

    Args:
        clock: seconds.
        log: where.
    """

    def __init__(self, clock: Callable[[], float], log: logging.Logger) -> None:
        self._clock = clock
        self._log = log
        self._counted: Descriptors | None = None
        self._counted_at = float("-inf")
        # Connections since then.
        self._since = 0
        self._warned = False

    def are_short(self) -> bool:
        """Return whether so few are left that no further cell is to be taken. To be asked for each connection."""
        self._since += 1
        before = self._counted
        if (
            before is None
            or self._clock() - self._counted_at >= _LOOK_EVERY_S
            or self._since * _LOOK_AT_PART > before.left - RESERVED
        ):
            self._look()
        return self._counted is not None and self._counted.left < RESERVED

    def _look(self) -> None:
        self._counted, self._counted_at, self._since = count_descriptors(), self._clock(), 0
        if self._counted is None:
            return
        few = self._counted.left < max(RESERVED, WARN_PART * self._counted.limit)
        if few and not self._warned:
            self._log.warning(
                "%d of the %d files and sockets that this process may open are open: raise the limit (ulimit -n); with "
                "fewer than %d left no further cell is taken",
                self._counted.used,
                self._counted.limit,
                RESERVED,
            )
        elif self._warned and not few:
            self._log.info("%d of the %d files and sockets are open", self._counted.used, self._counted.limit)
        self._warned = few
