"""What happens to cells in a forked child: nothing, safely.

The engine's thread does not exist in the child, its sockets belong to the parent, and locks may be held by threads that
are gone. So the child may do anything but use streamcell: whatever needs the engine or would wait for it raises, and
nothing of ours runs at its exit. What listens is closed in it, so that the address is free when the parent has ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from streamcell.errors import UsageError


def watch_forks(on_child: Callable[[], None]) -> None:
    """Have ``on_child`` called in every child that is forked from now on. Cannot be undone."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=on_child)


class Birthplace:
    """Tells whether the process is still the one in which this was made. Costs a system call."""

    __slots__ = ("_process_id",)

    def __init__(self) -> None:
        self._process_id = os.getpid()

    def check(self) -> None:
        """Raise if nothing that is waited for here can come.

        Raises:
            UsageError: in a forked child.
        """
        if os.getpid() != self._process_id:
            raise forked_error()


def forked_error() -> UsageError:
    """Return what each use of a cell raises in a forked child."""
    return UsageError(
        "this process was forked after a cell had started, and cells do not work in it: start the "
        "process with the 'spawn' method, or fork before the first cell starts"
    )
