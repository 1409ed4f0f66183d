"""A batch of bytes in parts that follow each other.

Where one part ends and the next begins means nothing: two batches are the same if their bytes are, joined.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import overload

from streamcell.protocol.wire.frames import Parts, Payload


def size_of(parts: Parts) -> int:
    """Return how many bytes the parts have together."""
    return sum(map(len, parts))


def join(parts: Parts) -> bytes:
    """Return the parts as one; without a copy if there is only one, and it is ``bytes``."""
    if len(parts) == 1:
        [part] = parts
        return part if isinstance(part, bytes) else bytes(part)
    return b"".join(parts)


class Rope(Sequence[int]):
    """Parts that are read as one sequence of bytes, without being joined.

    Fast where what is read lies near what was read last. A slice is a view of the part that it lies in; one that
    reaches over several parts is a copy.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(map(len, parts)))
        # The part that was read last, and where it lies.
        self._at = 0
        self._part: Payload = b""
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Payload: ...

    def __getitem__(self, index: int | slice) -> int | Payload:
        if isinstance(index, slice):
            start, end, _ = index.indices(len(self))
            return self._between(start, end)
        if not self._start <= index < self._end:
            self._find(index)
        return self._part[index - self._start]

    def _between(self, start: int, end: int) -> Payload:
        if start >= end:
            return b""
        taken: list[Payload] = []
        while start < end:
            if not self._start <= start < self._end:
                self._find(start)
            until = min(end, self._end)
            taken.append(memoryview(self._part)[start - self._start : until - self._start])
            start = until
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _find(self, index: int) -> None:
        """Turn to the part that has the byte at ``index``.

        :raises IndexError: if there is none.
        """
        at = self._at if index >= self._start else 0
        while at < len(self._ends) and self._ends[at] <= index:
            at += 1
        if index < 0 or at == len(self._ends):
            raise IndexError(index)
        self._at, self._part, self._end = at, self._parts[at], self._ends[at]
        self._start = self._end - len(self._part)
