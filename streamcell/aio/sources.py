"""What only a coroutine can read, as a source for a transfer."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterable
from typing import Any

from streamcell.runtime.sending.advice import reads_asynchronously
from streamcell.runtime.sending.payloads import flatten_buffer
from streamcell.runtime.sending.sources import Interruptible
from streamcell.stream import Stream


class AsyncSource(Stream, Interruptible):
    """The bytes of an asynchronous payload, read on its event loop, and only when the transfer can take more.

    One task reads all of it, so that the payload may use whatever belongs to a task: timeouts, context variables. It is
    begun by the first read and is cancelled when the transfers have ended, in whatever way.

    Args:
        payload: something whose ``read(size)`` is a coroutine, else an asynchronous iterable; its pieces are anything
            with the buffer protocol.
    """

    def __init__(self, payload: Any) -> None:
        super().__init__()
        self._payload = payload
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._rest = memoryview(b"")
        # What the reading thread has asked the task for. Both are used on the loop only.
        self._sizes: asyncio.Queue[int] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        # Guards what follows.
        self._lock = threading.Lock()
        # What the reading thread waits for. None as result: the end.
        self._answer: concurrent.futures.Future[Any] | None = None
        self._abandoned = False

    def read(self, size: int) -> memoryview:
        """Return what is left of the present piece, or the next one, which is waited for."""
        while not self._rest:
            piece = self._ask(size)
            if piece is None:
                break
            self._rest = memoryview(flatten_buffer(piece))
        piece, self._rest = self._rest[:size], self._rest[size:]
        self._pos += len(piece)
        return piece

    def close(self) -> None:
        """Have the task end, if it has not."""
        self._abandon()

    def interrupt(self) -> None:
        """Have the task end, and a read that waits for it return."""
        self._abandon()

    def _ask(self, size: int) -> Any:
        """Return the next piece, or None at the end, and when nobody wants it any more."""
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            if self._abandoned:
                return None
            self._answer = answer
        try:
            self._loop.call_soon_threadsafe(self._want, size)
        except RuntimeError:
            raise _loop_has_ended() from None
        return answer.result()

    def _abandon(self) -> None:
        with self._lock:
            self._abandoned = True
        self._give(None)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    def _give(self, piece: Any, error: BaseException | None = None) -> None:
        """Let the reading thread go on, if it waits."""
        with self._lock:
            answer, self._answer = self._answer, None
        if answer is None:
            return
        if error is None:
            answer.set_result(piece)
        else:
            answer.set_exception(error)

    # --- on the loop

    def _want(self, size: int) -> None:
        if self._abandoned:
            return
        if self._task is None:
            self._task = self._loop.create_task(self._read_all(), context=self._context)
            self._task.add_done_callback(self._on_task_done)
        if self._task.done():
            self._on_task_done(self._task)
        else:
            self._sizes.put_nowait(size)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._give(None, _loop_has_ended())
        else:
            self._give(None, task.exception())

    async def _read_all(self) -> None:
        if reads_asynchronously(self._payload):
            while len(piece := await self._payload.read(await self._sizes.get())):
                self._give(piece)
        else:
            await self._iterate(self._payload)

    async def _iterate(self, payload: AsyncIterable[Any]) -> None:
        iterator = aiter(payload)
        try:
            await self._sizes.get()
            async for item in iterator:
                self._give(item)
                await self._sizes.get()
        finally:
            # Generators hold what they have opened until they are closed.
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()


def _loop_has_ended() -> RuntimeError:
    return RuntimeError("the event loop that it is read on has ended: await the transfer before that")
