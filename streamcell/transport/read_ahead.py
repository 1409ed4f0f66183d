"""Reading a call of ``grpc.aio`` so that who waits for a batch may be cancelled. Imports ``base``.

Cancelling a read of ``grpc.aio`` cancels the whole call, and with it what was written before. So a
task of its own reads, one batch ahead of who takes them, and lives as long as the lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from streamcell.transport.base import LaneClosed


class ReadAhead:
    """The batches that arrive on a lane. To be made on the event loop, and ended by ``cancel``.

    :param read: returns the next batch, or raises LaneClosed.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._batch: bytes | None = None
        self._closed: LaneClosed | None = None
        self._dropping = asyncio.Event()
        # Set after each change. Whoever waits looks again, and clears it before waiting on.
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def get(self) -> bytes:
        """Return the next batch. May be cancelled without harm.

        :raises LaneClosed: when the lane has ended and what arrived before was taken.
        """
        while self._batch is None:
            if self._closed is not None:
                raise LaneClosed(str(self._closed), self._closed.refusal)
            await self._change()
        batch, self._batch = self._batch, None
        self._changed.set()
        return batch

    def drop(self, reason: str) -> None:
        """Give out nothing more, but read on to the end: what is not read blocks the other side."""
        self._closed = self._closed or LaneClosed(reason)
        self._batch = None
        self._dropping.set()
        self._changed.set()

    async def wait_ended(self, timeout_s: float) -> None:
        """Wait until everything was read, or the time is over."""
        await asyncio.wait({self._task}, timeout=timeout_s)

    def cancel(self) -> None:
        """Read no more."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while True:
                batch = await self._read()
                while self._batch is not None:
                    await self._change()
                if not self._dropping.is_set():
                    self._batch = batch
                    self._changed.set()
        except LaneClosed as closed:
            self._closed = self._closed or closed
            self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
