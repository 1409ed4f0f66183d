"""The tasks that read and write a call of ``grpc.aio``. Imports ``base``.

Reading and writing a call must not be cancelled: on the caller's side that cancels the call, and
with it what was written before; on either side the message of the cancelled operation is never
freed. So two tasks that live as long as the lane do it, one batch ahead of who takes the batches
and one behind who gives them, and only those wait who may be cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from streamcell.transport.base import LaneClosed

_logger = logging.getLogger("streamcell.transport")


class _CallTask:
    """A task, and the place for one batch between it and who gives or takes batches."""

    def __init__(self, run: Coroutine[Any, Any, None]) -> None:
        self._batch: bytes | None = None
        self._closed: LaneClosed | None = None
        # Set after each change. Whoever waits looks again, and clears it before waiting on.
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(run)
        self._task.add_done_callback(self._on_task_done)

    async def wait_ended(self) -> None:
        """Wait until the task has ended."""
        await asyncio.wait({self._task})

    def cancel(self) -> None:
        """End the task though its call goes on. For calls that do not end by themselves."""
        self._task.cancel()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        # However it ends, nobody may go on waiting for it.
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _logger.error("a lane failed in a way that it should not", exc_info=error)
        self._set_closed(LaneClosed(f"the lane failed: {error!r}" if error else "the lane was ended"))

    def _set_batch(self, batch: bytes | None) -> None:
        self._batch = batch
        self._changed.set()

    def _set_closed(self, closed: LaneClosed) -> None:
        self._closed = self._closed or closed
        self._changed.set()

    def _check_open(self) -> None:
        if self._closed is not None:
            raise LaneClosed(str(self._closed), self._closed.refusal)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class CallReader(_CallTask):
    """Reads batches. To be made on the event loop.

    :param read: returns the next batch, or raises LaneClosed.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        super().__init__(self._run(read))
        self._dropping = asyncio.Event()

    async def get(self) -> bytes:
        """Return the next batch.

        :raises LaneClosed: when the lane has ended and what arrived before was taken.
        """
        while self._batch is None:
            self._check_open()
            await self._change()
        batch = self._batch
        self._set_batch(None)
        return batch

    def drop(self, reason: str) -> None:
        """Give out nothing more, but read on to the end: what is not read blocks the other side."""
        self._dropping.set()
        self._set_batch(None)
        self._set_closed(LaneClosed(reason))

    async def _run(self, read: Callable[[], Awaitable[bytes]]) -> None:
        try:
            while True:
                batch = await read()
                while self._batch is not None:
                    await self._change()
                if not self._dropping.is_set():
                    self._set_batch(batch)
        except LaneClosed as closed:
            self._set_closed(closed)


class CallWriter(_CallTask):
    """Writes batches. To be made on the event loop.

    :param write: writes a batch and returns when there is room for the next, or raises LaneClosed.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        super().__init__(self._run(write))

    async def put(self, batch: bytes) -> None:
        """Give a batch; returns when the one before it is written.

        :raises LaneClosed: if the lane has ended. The batch was not given.
        """
        self._check_open()
        while self._batch is not None:
            await self._change()
            self._check_open()
        self._set_batch(batch)

    def finish(self, reason: str) -> None:
        """Take nothing more, and end the task when what was given is written."""
        self._set_closed(LaneClosed(reason))

    async def _run(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        try:
            while True:
                while self._batch is None:
                    self._check_open()
                    await self._change()
                await write(self._batch)
                self._set_batch(None)
        except LaneClosed as closed:
            self._set_closed(closed)
