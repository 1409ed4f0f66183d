"""How a call of ``grpc.aio`` is read and written.

Reading and writing a call must not be cancelled: on the caller's side that cancels the call, and
with it what was written before; on either side the message of the cancelled operation is never
freed. So a lane is ended by its ``close``, not by cancelling who waits on it, and this is where
closing finds out what is still under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streamcell.logs import get_logger
from streamcell.protocol.wire.frames import Parts
from streamcell.transport.base import LaneClosed

_T = TypeVar("_T")

_logger = get_logger("streamcell.transport")


class CallUse:
    """The reads and writes of one call. One task reads and one writes at a time.

    :param read: returns the next batch, or raises LaneClosed.
    :param write: writes a batch and returns when there is room for the next, or raises LaneClosed.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], write: Callable[[Parts], Awaitable[None]]) -> None:
        self._read = read
        self._write: Callable[[Parts], Awaitable[object]] = write
        # Why nothing more is given out, or taken.
        self._reading_ended: LaneClosed | None = None
        self._writing_ended: LaneClosed | None = None
        # Whether the call has been read to its end.
        self._at_end = False
        self._reading = False
        self._writing = False
        self._dropping: asyncio.Task[None] | None = None
        # Set when a read or a write has ended. Whoever waits looks again, and clears it before waiting on.
        self._changed = asyncio.Event()

    async def send(self, batch: Parts) -> None:
        """Write a batch.

        :raises LaneClosed: if the call has ended, or ends meanwhile.
        """
        _raise_if(self._writing_ended)
        self._writing = True
        try:
            await _only_closed(self._write(batch))
        except LaneClosed as closed:
            self._writing_ended = self._writing_ended or _fresh(closed)
            _raise_if(self._writing_ended)
        finally:
            self._writing = False
            self._changed.set()

    async def receive(self) -> bytes:
        """Return the next batch.

        :raises LaneClosed: when the call has ended, and after :meth:`close`.
        """
        _raise_if(self._reading_ended)
        self._reading = True
        try:
            batch = await _only_closed(self._read())
            while self._reading_ended is not None:
                # Closed meanwhile: what comes is dropped.
                batch = await _only_closed(self._read())
        except LaneClosed as closed:
            self._at_end = True
            self._reading_ended = self._reading_ended or _fresh(closed)
            raise _fresh(self._reading_ended) from closed
        finally:
            self._reading = False
            self._changed.set()
        return batch

    def check_readable(self) -> None:
        """Check that what was read last may still be given out.

        :raises LaneClosed: after :meth:`close`.
        """
        _raise_if(self._reading_ended)

    def close(self, reason: str) -> None:
        """Take and give out nothing more, but read on to the end: what is not read blocks the other side."""
        closed = LaneClosed(reason)
        self._writing_ended = self._writing_ended or closed
        self._reading_ended = self._reading_ended or closed
        if not self._reading and not self._at_end:
            self._reading = True
            self._dropping = asyncio.get_running_loop().create_task(self._drop_rest())

    async def wait_written(self) -> None:
        """Wait until no write is under way."""
        while self._writing:
            await self._change()

    async def wait_ended(self) -> None:
        """Wait until neither a read nor a write is under way."""
        while self._writing or self._reading:
            await self._change()

    def cancel(self) -> None:
        """Stop reading on though the call goes on. For calls that do not end by themselves."""
        if self._dropping is not None:
            self._dropping.cancel()

    def let_go(self) -> None:
        """Forget the call, for good: who has this and knows how the call is used is kept alive by it no longer."""
        self._read = self._write = _after_the_end

    async def _drop_rest(self) -> None:
        try:
            while True:
                await _only_closed(self._read())
        except LaneClosed:
            self._at_end = True
        finally:
            self._reading = False
            self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def _only_closed(operation: Awaitable[_T]) -> _T:
    """Have an operation on a call that fails in whatever way raise LaneClosed."""
    try:
        return await operation
    except LaneClosed:
        raise
    except asyncio.CancelledError as error:
        if is_cancelled_itself():
            raise
        raise LaneClosed("the lane was ended") from error
    except MemoryError as error:
        raise LaneClosed("this process had no memory for what travels on the lane") from error
    except Exception as error:
        _logger.exception("a lane failed in a way that it should not")
        raise LaneClosed(f"the lane failed: {error!r}") from error


async def _after_the_end(*_: Parts) -> bytes:
    raise LaneClosed("the lane was ended")


def is_cancelled_itself() -> bool:
    """Tell a cancellation of this task from that of a call which it waited on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _fresh(closed: LaneClosed) -> LaneClosed:
    """Return the same without a traceback: what is kept must not refer to the frames that refer to who keeps it."""
    return LaneClosed(str(closed), closed.refusal, closed.retry_after_s)


def _raise_if(closed: LaneClosed | None) -> None:
    if closed is not None:
        raise _fresh(closed)
