"""A cell for asyncio programs. Imports values, the public classes and the runtime."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

from streamcell import core_cell
from streamcell.config import CellConfig
from streamcell.errors import CellError, UsageError
from streamcell.fqcn import check_fqcn
from streamcell.message import Message
from streamcell.runtime.callbacks import CallbackCancelled
from streamcell.runtime.cell_runner import ANSWER_S, CellState
from streamcell.runtime.requests import PendingRequest
from streamcell.runtime.specs import check_timeout, check_wait
from streamcell.runtime.stats import RunningStats
from streamcell.topology import Hop, KnownCell
from streamcell.transport.base import Network


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
        #: What runs in the loop for callbacks. A loop itself refers to its tasks weakly.
        self._begun: set[concurrent.futures.Future[Any]] = set()

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
        started = asyncio.wrap_future(self._runner.begin_start())
        try:
            await asyncio.shield(started)
        except asyncio.CancelledError:
            # Neither left half done, nor running without anybody who knows. A start waits for no other cell.
            await asyncio.wait({started})
            if started.exception() is None:
                await self.stop(0)
            raise

    async def stop(self, grace: float | None = None) -> None:
        """Stop; see :meth:`streamcell.CoreCell.stop`. Goes on if it is cancelled."""
        default = self._runner.settings.config.stop_grace_s
        stopped = self._runner.begin_stop(check_timeout(grace, "grace", default))
        await asyncio.shield(asyncio.wrap_future(stopped))

    async def wait_connected(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait until the uplink is up; see :meth:`streamcell.CoreCell.wait_connected`."""
        timeout_s = check_wait(timeout, "timeout")
        waiter = asyncio.wrap_future(self._runner.begin_wait_connected())
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            await asyncio.wrap_future(self._runner.end_wait_connected(timeout_s or 0.0))

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
        timeout: float | None = None,  # noqa: ASYNC109
        secure: bool = False,
        optional: bool = False,
        *,
        copy: bool = False,
    ) -> Message:
        """Send a request and wait for the reply; see :meth:`streamcell.CoreCell.send_request`."""
        return await self._wait_for_reply(
            self._runner.begin_request(
                channel, topic, target, request, timeout, secure=secure, optional=optional, copy=copy
            )
        )

    async def broadcast_request(
        self,
        channel: str,
        topic: str,
        targets: str | Iterable[str],
        request: Message,
        timeout: float | None = None,  # noqa: ASYNC109
        secure: bool = False,
        optional: bool = False,
        *,
        copy: bool = False,
    ) -> dict[str, Message | CellError]:
        """Send a request to several cells; see :meth:`streamcell.CoreCell.broadcast_request`."""
        begun = self._runner.begin_broadcast(
            channel, topic, targets, request, timeout, secure=secure, optional=optional, copy=copy
        )
        try:
            replies = await asyncio.gather(*(self._reply_or_error(each) for each in begun.values()))
        except asyncio.CancelledError:
            # Also those that nobody has begun to wait for.
            self._runner.cancel_requests(begun.values())
            raise
        return dict(zip(begun, replies, strict=True))

    async def fire_and_forget(
        self,
        channel: str,
        topic: str,
        targets: str | Iterable[str],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        *,
        copy: bool = False,
    ) -> dict[str, CellError | None]:
        """Send a request that nobody answers; see :meth:`streamcell.CoreCell.fire_and_forget`."""
        return self._runner.fire(channel, topic, targets, message, secure=secure, optional=optional, copy=copy)

    def in_thread(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return what a thread may call for ``callback``; a coroutine function is run on the loop and waited for."""
        if not inspect.iscoroutinefunction(callback):
            return callback

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run_in_loop(callback(*args, **kwargs))

        return call

    def run_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the cell's loop and wait for its result. Not on the loop.

        Raises:
            CallbackCancelled: it was cancelled, or the cell was stopped, and the loop has ended.
            RuntimeError: the loop has ended, and the cell was not stopped.
        """
        future = self.begin_in_loop(coroutine)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            # What else the coroutine raises may be one, too: StreamCancelled.
            if not future.cancelled():
                raise
            raise CallbackCancelled(f"the coroutine that was called at {self.fqcn} was cancelled") from None

    def begin_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Run a coroutine on the cell's loop; the future gets its result. Any thread.

        Raises:
            CallbackCancelled: the cell was stopped, and the loop has ended.
            RuntimeError: the loop has ended, and the cell was not stopped.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except BaseException as error:
            # Nobody will await it.
            coroutine.close()
            if isinstance(error, RuntimeError) and self._runner.state is not CellState.RUNNING:
                raise CallbackCancelled(f"cell {self.fqcn} and its event loop have ended") from None
            raise
        self._begun.add(future)
        future.add_done_callback(self._begun.discard)
        return future

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
            self._runner.cancel_requests([pending])
            raise
        return reply

    async def _reply_or_error(self, begun: PendingRequest | CellError) -> Message | CellError:
        if isinstance(begun, CellError):
            return begun
        try:
            return await self._wait_for_reply(begun)
        except CellError as error:
            return error
