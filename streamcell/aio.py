"""The same cells for asyncio programs, on their own loop. Imports values, the public classes and the runtime.

What waits is a coroutine; what does not (registering callbacks, closing a stream) is a plain method. A coroutine that
is cancelled while it awaits a transfer cancels the transfer. Callbacks may be coroutine functions: these run on the
loop that the cell was started on, and get the classes of this module. Other callables run in threads as those of
``streamcell.CoreCell`` do, and get its classes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack, cast, overload

from streamcell import core_cell, stream_cell
from streamcell import future as blocking
from streamcell import stream as blocking_stream
from streamcell.config import CellConfig
from streamcell.core_cell import DEFAULT_REQUEST_TIMEOUT_S
from streamcell.errors import CellError, UsageError
from streamcell.fqcn import check_fqcn
from streamcell.limits import CHUNK_PAYLOAD_BYTES
from streamcell.message import HeaderValue, Message
from streamcell.protocol.frames import StreamKind
from streamcell.runtime.cell_runner import ANSWER_S
from streamcell.runtime.incoming import Incoming, IncomingStream, Into, ReceiveCallback
from streamcell.runtime.requests import PendingRequest
from streamcell.runtime.resuming import check_placed
from streamcell.runtime.specs import check_callback, check_timeout
from streamcell.runtime.stats import RunningStats
from streamcell.sending import SendMore
from streamcell.topology import Hop, KnownCell
from streamcell.transport.base import Network


class StreamFuture:
    """What becomes of a stream or blob: awaiting it gives the result or raises the error.

    Beside that it has the methods of :class:`streamcell.StreamFuture` that do not wait. May be awaited more than once;
    an await that is cancelled cancels the transfer (use ``asyncio.shield`` to prevent that).
    """

    def __init__(self, future: blocking.StreamFuture) -> None:
        #: The same for threads, for ``concurrent.futures.wait`` and the like.
        self.future = future

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self.future).__await__()

    @property
    def origin(self) -> str:
        """The cell that sends."""
        return self.future.origin

    @property
    def target(self) -> str:
        """The cell that receives."""
        return self.future.target

    @property
    def channel(self) -> str:
        """The channel that it was sent on."""
        return self.future.channel

    @property
    def topic(self) -> str:
        """The topic that it was sent on."""
        return self.future.topic

    @property
    def rate(self) -> float:
        """Bytes a second over the last seconds."""
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
        loop = asyncio.get_running_loop()
        self.future.add_done_callback(lambda _: _call_soon(loop, lambda: fn(self, *args, **kwargs)))

    def __repr__(self) -> str:
        return f"<aio.StreamFuture of {self.future!r}>"


class ReceivedStream:
    """A stream that arrives: ``async for piece in stream``, or :meth:`read`. One task may read at a time.

    What arrived before a failure can still be read, then the failure is raised. Closing before the end, or dropping the
    last reference, tells the sender that nobody reads on.
    """

    def __init__(self, incoming: IncomingStream) -> None:
        self._queue = incoming.queue
        self._resumption = incoming.resumption
        #: The same for threads: a raw binary file.
        self.stream = blocking_stream.ReceivedStream(incoming)

    @property
    def headers(self) -> dict[str, HeaderValue]:
        """The headers that were sent along."""
        return self.stream.headers

    @property
    def origin(self) -> str:
        """The cell that sends."""
        return self.stream.origin

    @property
    def channel(self) -> str:
        """The channel that it was sent on."""
        return self.stream.channel

    @property
    def topic(self) -> str:
        """The topic that it was sent on."""
        return self.stream.topic

    @property
    def resume_id(self) -> str:
        """The name that the sender gave to the transfer across restarts, or empty."""
        return self.stream.resume_id

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
        placed = await asyncio.to_thread(self.stream.begin_resume, offset, have)
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
        """Read no further: at the end this completes the transfer, before it the sender fails with StreamCancelled."""
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


class CoreCell:
    """A cell for asyncio: see :class:`streamcell.CoreCell` for what it is and for the arguments.

    It belongs to the loop on which it is started; use it there only. Also an asynchronous context manager.
    """

    def __init__(
        self,
        fqcn: str,
        *,
        listen: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        tls: object = None,
        insecure: bool = False,
        policy: object = None,
        authenticate: object = None,
        config: CellConfig | None = None,
        network: Network | None = None,
    ) -> None:
        #: The same for threads.
        self.cell = core_cell.CoreCell(
            fqcn,
            listen=listen,
            connect=connect,
            tls=tls,
            insecure=insecure,
            policy=policy,
            authenticate=authenticate,
            config=config,
            network=network,
        )
        self._runner = self.cell.runner
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def fqcn(self) -> str:
        """The cell's name."""
        return self.cell.fqcn

    @property
    def listen_urls(self) -> list[str]:
        """Where the cell listens, with real ports; empty before the start."""
        return self.cell.listen_urls

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the cell was started on.

        Raises:
            UsageError: it was not started.
        """
        if self._loop is None:
            raise UsageError(f"cell {self.fqcn} has not been started: await start() first")
        return self._loop

    async def start(self) -> None:
        """Start; see :meth:`streamcell.CoreCell.start`."""
        self._loop = asyncio.get_running_loop()
        await asyncio.wrap_future(self._runner.begin_start())

    async def stop(self, grace: float | None = None) -> None:
        """Stop; see :meth:`streamcell.CoreCell.stop`. Goes on if it is cancelled."""
        default = self._runner.settings.config.stop_grace_s
        stopped = self._runner.begin_stop(check_timeout(grace, "grace", default))
        await asyncio.shield(asyncio.wrap_future(stopped))

    async def wait_connected(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait until the uplink is up; see :meth:`streamcell.CoreCell.wait_connected`."""
        waiter = asyncio.wrap_future(self._runner.begin_wait_connected())
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            raise self._runner.connection_error(timeout or 0.0) from None

    async def is_cell_connected(self, name: str) -> bool:
        """Return whether there is a link between this cell and that one that works."""
        return bool(await asyncio.wrap_future(self._runner.begin_is_connected(check_fqcn(name))))

    async def is_cell_reachable(self, name: str) -> bool:
        """Return whether there is a way to that cell, as far as is known here."""
        return bool(await asyncio.wrap_future(self._runner.begin_is_reachable(check_fqcn(name))))

    def connect(self, url: str | Iterable[str]) -> None:
        """Keep a peer link to the cell that listens there. See :meth:`streamcell.CoreCell.connect`."""
        self.cell.connect(url)

    async def disconnect(self, url: str | Iterable[str]) -> bool:
        """End a peer link; return whether there was one."""
        urls = core_cell.as_urls(url, "url")
        return bool(await asyncio.wrap_future(self._runner.begin_disconnect(urls)))

    async def cells(self, timeout: float = ANSWER_S) -> list[KnownCell]:  # noqa: ASYNC109
        """Return every cell of the tree. See :meth:`streamcell.CoreCell.cells`."""
        listed: list[KnownCell] = await asyncio.wrap_future(self._runner.begin_cells(timeout))
        return listed

    async def trace(self, target: str, timeout: float = ANSWER_S) -> list[Hop]:  # noqa: ASYNC109
        """Return the hops on the way to a cell. See :meth:`streamcell.CoreCell.trace`."""
        hops: list[Hop] = await asyncio.wrap_future(self._runner.begin_trace(target, timeout))
        return hops

    async def stats(self) -> RunningStats:
        """Return a snapshot of links, transfers, threads and counts."""
        snapshot: RunningStats = await asyncio.wrap_future(self._runner.begin_stats())
        return snapshot

    def set_cell_connected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(name, *args, **kwargs)`` called when a link comes up."""
        self.cell.set_cell_connected_cb(self.in_thread(cb), *args, **kwargs)

    def set_cell_disconnected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(name, *args, **kwargs)`` called when a link is down."""
        self.cell.set_cell_disconnected_cb(self.in_thread(cb), *args, **kwargs)

    def register_request_cb(self, channel: str, topic: str, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(request, *args, **kwargs)`` answer requests; see :class:`streamcell.CoreCell`."""
        if not inspect.iscoroutinefunction(cb):
            self.cell.register_request_cb(channel, topic, cb, *args, **kwargs)
            return

        def call(request: Message) -> Any:
            # The reply is deferred, so that no thread waits for it.
            return self.begin_in_loop(cb(request, *args, **kwargs))

        self.cell.register_request_cb(channel, topic, call)

    async def send_request(
        self,
        channel: str,
        topic: str,
        target: str,
        request: Message,
        timeout: float | None = DEFAULT_REQUEST_TIMEOUT_S,  # noqa: ASYNC109
        secure: bool = False,
        optional: bool = False,
    ) -> Message:
        """Send a request and wait for the reply; see :meth:`streamcell.CoreCell.send_request`."""
        return await self._wait_for_reply(
            self._runner.begin_request(channel, topic, target, request, timeout, secure=secure, optional=optional)
        )

    async def broadcast_request(
        self,
        channel: str,
        topic: str,
        targets: str | Iterable[str],
        request: Message,
        timeout: float | None = DEFAULT_REQUEST_TIMEOUT_S,  # noqa: ASYNC109
        secure: bool = False,
        optional: bool = False,
    ) -> dict[str, Message | CellError]:
        """Send a request to several cells; see :meth:`streamcell.CoreCell.broadcast_request`."""
        begun = self._runner.begin_broadcast(
            channel, topic, targets, request, timeout, secure=secure, optional=optional
        )
        replies = await asyncio.gather(*(self._reply_or_error(each) for each in begun.values()))
        return dict(zip(begun, replies, strict=True))

    async def fire_and_forget(
        self,
        channel: str,
        topic: str,
        targets: str | Iterable[str],
        message: Message,
        secure: bool = False,
        optional: bool = False,
    ) -> dict[str, CellError | None]:
        """Send a request that nobody answers; see :meth:`streamcell.CoreCell.fire_and_forget`."""
        return self._runner.fire(channel, topic, targets, message, secure=secure, optional=optional)

    def in_thread(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return what a thread may call for ``callback``; a coroutine function is run on the loop and waited for."""
        if not inspect.iscoroutinefunction(callback):
            return callback

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run_in_loop(callback(*args, **kwargs))

        return call

    def run_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the cell's loop and wait for its result. Not on the loop."""
        return self.begin_in_loop(coroutine).result()

    def begin_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Run a coroutine on the cell's loop; the future gets its result. Any thread."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except BaseException:
            # The loop is closed: nobody will await it.
            coroutine.close()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<aio.CoreCell {self.fqcn} {self._runner.state.value}>"

    async def _wait_for_reply(self, pending: PendingRequest) -> Message:
        try:
            reply: Message = await asyncio.wrap_future(pending.future)
        except asyncio.CancelledError:
            self._runner.requests.cancel(pending)
            raise
        return reply

    async def _reply_or_error(self, begun: PendingRequest | CellError) -> Message | CellError:
        if isinstance(begun, CellError):
            return begun
        try:
            return await self._wait_for_reply(begun)
        except CellError as error:
            return error


class StreamCell:
    """Streams and blobs on a cell; see :class:`streamcell.StreamCell` for what is not said here.

    Args:
        cell: what they travel on.
    """

    def __init__(self, cell: CoreCell) -> None:
        self._cell = cell
        #: The same for threads.
        self.stream_cell = stream_cell.StreamCell(cell.cell)

    def get_chunk_size(self) -> int:
        """Return the size in bytes of the chunks that streams are cut into."""
        return self.stream_cell.get_chunk_size()

    @overload
    async def send_stream(
        self,
        channel: str,
        topic: str,
        target: str,
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture: ...

    @overload
    async def send_stream(
        self,
        channel: str,
        topic: str,
        target: list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> dict[str, StreamFuture]: ...

    async def send_stream(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture | dict[str, StreamFuture]:
        """Send a stream; see :meth:`streamcell.StreamCell.send_stream`. Its source is read in a thread."""
        return _wrap_sent(self.stream_cell.send_stream(channel, topic, target, message, secure, optional, **more))

    @overload
    async def send_blob(
        self,
        channel: str,
        topic: str,
        target: str,
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture: ...

    @overload
    async def send_blob(
        self,
        channel: str,
        topic: str,
        target: list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> dict[str, StreamFuture]: ...

    async def send_blob(
        self,
        channel: str,
        topic: str,
        target: str | list[str] | tuple[str, ...],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        **more: Unpack[SendMore],
    ) -> StreamFuture | dict[str, StreamFuture]:
        """Send bytes that the target gets as a whole; see :meth:`streamcell.StreamCell.send_blob`."""
        return _wrap_sent(self.stream_cell.send_blob(channel, topic, target, message, secure, optional, **more))

    def register_stream_cb(
        self, channel: str, topic: str, stream_cb: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Have ``stream_cb(future, stream, resume, *args, **kwargs)`` called for each stream that arrives."""
        if not inspect.iscoroutinefunction(stream_cb):
            self.stream_cell.register_stream_cb(channel, topic, stream_cb, *args, **kwargs)
            return

        def call(incoming: IncomingStream) -> Any:
            return self._cell.run_in_loop(run(incoming))

        async def run(incoming: IncomingStream) -> Any:
            if incoming.resumption is not None:
                incoming.resumption.enter(asyncio.current_task())
            future, stream = _wrap(incoming), ReceivedStream(incoming)
            return await stream_cb(future, stream, incoming.resume, *args, **kwargs)

        registry = self._cell.cell.runner.callbacks.streams
        registry.register(channel, topic, StreamKind.STREAM, ReceiveCallback(call))

    def register_blob_cb(
        self,
        channel: str,
        topic: str,
        blob_cb: Callable[..., Any],
        *args: Any,
        into: Into | None = None,
        **kwargs: Any,
    ) -> None:
        """Have ``blob_cb(future, *args, **kwargs)`` called for each blob; ``into`` is called in a thread."""
        if not inspect.iscoroutinefunction(blob_cb):
            self.stream_cell.register_blob_cb(channel, topic, blob_cb, *args, into=into, **kwargs)
            return
        if into is not None:
            check_callback(into, "into")

        def call(incoming: Incoming) -> Any:
            return self._cell.run_in_loop(blob_cb(_wrap(incoming), *args, **kwargs))

        registry = self._cell.cell.runner.callbacks.streams
        registry.register(channel, topic, StreamKind.BLOB, ReceiveCallback(call, into))

    def unregister_stream_cb(self, channel: str, topic: str) -> None:
        """Forget a stream callback; streams that have begun go on."""
        self.stream_cell.unregister_stream_cb(channel, topic)

    def unregister_blob_cb(self, channel: str, topic: str) -> None:
        """Forget a blob callback; blobs that have begun go on."""
        self.stream_cell.unregister_blob_cb(channel, topic)


def _wrap_sent(
    sent: blocking.StreamFuture | dict[str, blocking.StreamFuture],
) -> StreamFuture | dict[str, StreamFuture]:
    """Return one future, or several by name, for a coroutine."""
    if isinstance(sent, dict):
        return {name: StreamFuture(future) for name, future in sent.items()}
    return StreamFuture(sent)


def _wrap(incoming: Incoming) -> StreamFuture:
    """Return the future of what arrives, for a coroutine."""
    return StreamFuture(cast("blocking.StreamFuture", incoming.future))


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call ``callback`` on ``loop``, unless that is closed, so that nobody is there to be told."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
