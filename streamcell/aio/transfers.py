"""What becomes of a transfer, and what arrives, for coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, BinaryIO, Self

from streamcell import future as blocking
from streamcell import stream as blocking_stream
from streamcell.limits import CHUNK_PAYLOAD_BYTES
from streamcell.message import HeaderValue
from streamcell.runtime.receiving.incoming import IncomingStream
from streamcell.runtime.receiving.resuming import begin_resume, check_placed
from streamcell.runtime.sending.specs import check_callback
from streamcell.runtime.transfers import AboutTransfer


class StreamFuture(AboutTransfer):
    """What becomes of a stream or blob: awaiting it gives the result or raises the error.

    Beside that it has the methods of :class:`streamcell.StreamFuture` that do not wait. May be awaited more than once;
    an await that is cancelled cancels the transfer (use ``asyncio.shield`` to prevent that).
    """

    def __init__(self, future: blocking.StreamFuture) -> None:
        #: The same for threads, for ``concurrent.futures.wait`` and the like.
        self.future = future
        self.__streamcell__ = future.__streamcell__

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        loop, settled = asyncio.get_running_loop(), asyncio.Event()
        # Not through the notifier, whose thread may be waiting for the very coroutine that awaits this.
        concurrent.futures.Future.add_done_callback(self.future, lambda _: _call_soon(loop, settled.set))
        try:
            await settled.wait()
        except asyncio.CancelledError:
            self.future.cancel()
            raise
        if self.future.cancelled():
            raise asyncio.CancelledError
        return self.future.result()

    @property
    def resumed_at(self) -> int:
        """How many bytes the target had when this transfer began: they are not sent again."""
        return self.future.resumed_at

    @property
    def rate(self) -> float:
        """Bytes a second that have travelled over the last seconds."""
        return self.future.rate

    @property
    def eta(self) -> float | None:
        """Seconds until the end at the present rate; None if size or rate are not known."""
        return self.future.eta

    def get_stream_id(self) -> int:
        """Return the stream's number at its origin; 0 if it was never opened."""
        return self.future.get_stream_id()

    def get_headers(self) -> dict[str, HeaderValue]:
        """Return a copy of the headers."""
        return self.future.get_headers()

    def get_size(self) -> int:
        """Return the number of payload bytes as declared, or 0 if that is not known."""
        return self.future.get_size()

    def get_progress(self) -> int:
        """Return how many bytes the target has received."""
        return self.future.get_progress()

    def done(self) -> bool:
        """Return whether the transfer has ended."""
        return self.future.done()

    def running(self) -> bool:
        """Return whether the transfer has not ended yet."""
        return self.future.running()

    def cancelled(self) -> bool:
        """Return whether this future was cancelled."""
        return self.future.cancelled()

    def cancel(self) -> bool:
        """Cancel the transfer; return whether it had not ended before."""
        return self.future.cancel()

    def result(self) -> Any:
        """Return the result of a transfer that has ended, or raise what it failed with.

        Raises:
            asyncio.InvalidStateError: it has not ended.
        """
        if not self.done():
            raise asyncio.InvalidStateError("the transfer has not ended")
        return self.future.result()

    def exception(self) -> BaseException | None:
        """Return what a transfer that has ended failed with, or None.

        Raises:
            asyncio.InvalidStateError: it has not ended.
        """
        if not self.done():
            raise asyncio.InvalidStateError("the transfer has not ended")
        return self.future.exception()

    def add_done_callback(self, fn: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Have ``fn(future, *args, **kwargs)`` called on the running loop after the end, also if that is past."""
        check_callback(fn, "a done-callback")
        loop = asyncio.get_running_loop()
        self.future.add_done_callback(lambda _: _call_soon(loop, lambda: fn(self, *args, **kwargs)))

    def __repr__(self) -> str:
        return f"<aio.StreamFuture of {self.future!r}>"


class ReceivedStream(AboutTransfer):
    """A stream that arrives: ``async for piece in stream``, or :meth:`read`. One task may read at a time.

    What arrived before a failure can still be read, then the failure is raised. Closing before the end, or dropping the
    last reference, tells the sender that nobody reads on.
    """

    def __init__(self, incoming: IncomingStream) -> None:
        self._queue = incoming.queue
        self._resumption = incoming.resumption
        self._in_thread = incoming.in_thread
        #: The same for threads: a raw binary file.
        self.stream = blocking_stream.ReceivedStream(incoming)
        self.__streamcell__ = incoming.info

    @property
    def headers(self) -> dict[str, HeaderValue]:
        """The headers that were sent along."""
        return self.stream.headers

    @property
    def digest_checked(self) -> bool:
        """Whether the whole has the digest that the sender gives; see :class:`streamcell.ReceivedStream`."""
        return self.stream.digest_checked

    def get_size(self) -> int:
        """Return the number of bytes of the whole stream, or 0 while it is not known."""
        return self.stream.get_size()

    def get_pos(self) -> int:
        """Return the offset of the next byte."""
        return self.stream.get_pos()

    async def resume_from(self, offset: int, have: BinaryIO | None = None) -> None:
        """Have the origin go on at ``offset``; see :meth:`streamcell.ReceivedStream.resume_from`.

        ``have`` is read in a thread.
        """
        begin = functools.partial(begin_resume, self._resumption, self._queue.position, self.origin, offset, have)
        placed = begin() if have is None else await asyncio.wrap_future(self._in_thread(begin))
        if placed is not None:
            check_placed(offset, await asyncio.wrap_future(placed), self.origin)

    async def read(self, size: int = -1) -> bytes:
        """Return 1 to ``size`` bytes as soon as there are any, empty at the end; all that follow for -1.

        Raises:
            CellError: the stream failed, and what arrived before has been read.
            ValueError: the stream is closed.
        """
        if size < 0:
            return b"".join([piece async for piece in self])
        return bytes(await self._take(size)) if size else b""

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self.pieces()

    async def pieces(self) -> AsyncIterator[bytes | memoryview]:
        """Return an iterator over what is left, in the pieces in which it arrives, without copying."""
        while piece := await self._take(CHUNK_PAYLOAD_BYTES):
            yield piece

    def close(self) -> None:
        """Read no further; see :meth:`streamcell.ReceivedStream.close`."""
        self.stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _take(self, limit: int) -> bytes | memoryview:
        if self._resumption is not None:
            self._resumption.before_read(asyncio.current_task())
        while (piece := self._queue.take(limit, wait=False)) is None:
            await self._wait_until_ready()
        return piece

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        self._queue.call_when_ready(lambda: _call_soon(loop, ready.set))
        await ready.wait()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call ``callback`` on ``loop``, unless that is closed, so that nobody is there to be told."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
