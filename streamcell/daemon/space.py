"""Who may write how much before the disk is full."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from streamcell.errors import StreamRejected


class Claim:
    """What one file still needs. Written by the thread that receives the file."""

    def __init__(self, needed_bytes: int) -> None:
        self.needed_bytes = needed_bytes

    def use(self, size_bytes: int) -> None:
        """Take note that so much of it was written."""
        self.needed_bytes = max(0, self.needed_bytes - size_bytes)

    def need(self, size_bytes: int) -> None:
        """Take note of what it needs from now on, which is no more than before but for what was given back."""
        self.needed_bytes = max(0, size_bytes)


class Space:
    """The room on the file system of an inbox, divided among the files that arrive. Safe for use by several threads.

    Args:
        min_free_bytes: what has to stay free for everybody else.

    Attributes:
        min_free_bytes: the same; may be changed.
    """

    def __init__(self, min_free_bytes: int) -> None:
        self.min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        self._claims: set[Claim] = set()

    @contextlib.contextmanager
    def claim(self, needed_bytes: int, free_bytes: int | None) -> Iterator[Claim]:
        """Set room aside for one file as long as it arrives.

        Args:
            needed_bytes: how much it needs.
            free_bytes: how much there is; None: nobody knows, and it may try.

        Raises:
            StreamRejected: there is not so much.
        """
        claim = Claim(needed_bytes)
        with self._lock:
            claimed = sum(other.needed_bytes for other in self._claims)
            if free_bytes is not None:
                self.check(free_bytes - claimed - needed_bytes, needed_bytes)
            self._claims.add(claim)
        try:
            yield claim
        finally:
            with self._lock:
                self._claims.discard(claim)

    def check(self, left_bytes: int, needed_bytes: int) -> None:
        """Check that what will be left is enough.

        Raises:
            StreamRejected: it is not.
        """
        if left_bytes < self.min_free_bytes:
            available = max(0, left_bytes + needed_bytes - self.min_free_bytes)
            # Nobody knows how much a stream of unknown size still needs.
            needs = f": {needed_bytes:,} more bytes are needed and {available:,} are available" if needed_bytes else ""
            raise StreamRejected(f"there is not enough space in the inbox{needs}; make room there and send it again")
