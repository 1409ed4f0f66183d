"""What is sent in tests, and sources that note how they are used."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from typing import Any

from streamcell import HeaderValue, IterStream, Stream
from tests.kit.waiting import Box

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@functools.lru_cache(maxsize=64)
def pattern(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes that show when one is missing, twice, or out of place; other sizes have other bytes."""
    return random.Random(f"{size} {seed}").randbytes(size)


def endless() -> IterStream:
    return IterStream(itertools.repeat(bytes(MIB)))


class Counted(Stream):
    """Beside any kind of source: counts what is read of it, and how often it is closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.given = 0
        self.closed = Box[str]()

    def read(self, size: int) -> Any:
        piece = super().read(size)
        self.given += len(piece)
        return piece

    def close(self) -> None:
        super().close()
        self.closed.put("closed")


class Recorded(Stream):
    """A source that notes how it is used. It gives pieces, in parts as asked for, and raises exceptions among them."""

    def __init__(self, pieces: list[Any], size: int = 0, headers: dict[str, HeaderValue] | None = None) -> None:
        super().__init__(size, headers)
        self.left = list(pieces)
        self.asked: list[int] = []
        self.closed = 0
        self.threads: set[threading.Thread] = set()

    def read(self, size: int) -> Any:
        assert not self.closed
        self.asked.append(size)
        self.threads.add(threading.current_thread())
        if not self.left:
            return b""
        piece = self.left.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        if isinstance(piece, bytes) and len(piece) > size:
            self.left.insert(0, piece[size:])
            return piece[:size]
        return piece

    def close(self) -> None:
        self.closed += 1
