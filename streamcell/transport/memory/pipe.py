"""One direction of a lane in memory."""

from __future__ import annotations

import asyncio
import collections
from typing import Generic, TypeVar

from streamcell.limits import MIB
from streamcell.transport.base import LaneClosed

# What a pipe holds before its sender waits: about what a socket's buffers hold.
_PIPE_BYTES = 4 * MIB
_CLOSED_HERE = "the lane was closed here"
_CLOSED_THERE = "the other side closed the lane"

_Batch = TypeVar("_Batch")


class Pipe(Generic[_Batch]):
    """A queue of batches, bounded by their bytes."""

    def __init__(self) -> None:
        self._batches: collections.deque[tuple[_Batch, int]] = collections.deque()
        self._bytes = 0
        self._put_ended = ""
        self._get_ended = ""
        # Set after each change. Whoever waits looks again, and clears it before waiting on.
        self._changed = asyncio.Event()

    async def wait_for_room(self) -> None:
        """Wait until the next batch may be put.

        :raises LaneClosed: if it has ended.
        """
        while self._bytes >= _PIPE_BYTES and not self._put_ended:
            await self._change()
        if self._put_ended:
            raise LaneClosed(self._put_ended)

    def put(self, batch: _Batch, size: int) -> None:
        """Append a batch of ``size`` bytes, for which there is room."""
        self._batches.append((batch, size))
        self._bytes += size
        self._changed.set()

    async def get(self) -> _Batch:
        """Return the next batch.

        :raises LaneClosed: if it has ended, and all was taken out.
        """
        while not self._batches:
            if self._get_ended:
                raise LaneClosed(self._get_ended)
            await self._change()
        batch, size = self._batches.popleft()
        self._bytes -= size
        self._changed.set()
        return batch

    def end_by_sender(self) -> None:
        """Take nothing more. What is in it can still be taken out."""
        self._end(_CLOSED_HERE, _CLOSED_THERE)

    def end_by_receiver(self) -> None:
        """Take nothing more, and drop what is in it."""
        self._batches.clear()
        self._bytes = 0
        self._end(_CLOSED_THERE, _CLOSED_HERE)

    def _end(self, to_sender: str, to_receiver: str) -> None:
        self._put_ended = self._put_ended or to_sender
        self._get_ended = self._get_ended or to_receiver
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
