"""A cell for asyncio programs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeAlias

from streamcell import core_cell
from streamcell.aio.coroutines import with_coroutine_functions
from streamcell.aio.tether import LoopTether
from streamcell.coats import questions
from streamcell.coats.asking import Asking
from streamcell.coats.cell import AnyCell
from streamcell.coats.questions import awaited
from streamcell.errors import CellError, UsageError
from streamcell.logs import FLUSH_S, begin_flush
from streamcell.message import Message
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.engine.engine import running_residents
from streamcell.runtime.receiving.incoming import Begun
from streamcell.runtime.requests import PendingRequest
from streamcell.runtime.sending.specs import check_timeout, check_wait
from streamcell.runtime.threads.callbacks import CallbackCancelled

# How long it takes at most until a loop that has cancelled a callback is known to end, or is taken to go on.
CANCELLED_S = 1.0

# What runs in a loop, by the future of its result: a coroutine of the application inside one of this module.
_Begun: TypeAlias = dict[concurrent.futures.Future[Any], tuple[Coroutine[Any, Any, Any], ...]]


@with_coroutine_functions("send_request", "broadcast_request", "fire_and_forget")
class CoreCell(
    AnyCell[
        Coroutine[Any, Any, Message],
        Coroutine[Any, Any, dict[str, Message | CellError]],
        Coroutine[Any, Any, dict[str, CellError | None]],
    ]
):
    """A cell for asyncio: see :class:`streamcell.CoreCell` for what it is and for the arguments.

    It belongs to the loop on which it is started; use it there only. Also an asynchronous context manager.
    """

    def _on_made(self) -> None:
        #: The same for threads.
        self.cell = core_cell.cell_of(self.__streamcell__)
        self._tether: LoopTether | None = None
        # What runs in the loop for callbacks: what a thread waits for, and the replies to requests. A loop itself
        # refers to its tasks weakly.
        self._begun: _Begun = {}
        self._replies: _Begun = {}
        self._tasks: set[Any] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the cell was started on.

        Raises:
            UsageError: it was not started.
        """
        if self._tether is None:
            raise UsageError(f"cell {self.fqcn} has not been started: await start() first")
        return self._tether.loop

    async def start(self) -> None:
        """Start; see :meth:`streamcell.CoreCell.start`.

        The cell ends with the loop: at the latest when ``asyncio.run`` returns, or half a second after the loop was
        closed. The log says so, since what is under way fails then; await :meth:`stop` before.
        """
        self._tether = tether = LoopTether(
            self.__streamcell__, asyncio.get_running_loop(), self._on_loop_ending, self._on_loop_ended
        )
        started = asyncio.wrap_future(self.__streamcell__.begin_start())
        try:
            await asyncio.shield(started)
        except asyncio.CancelledError:
            # Neither left half done, nor running without anybody who knows. A start waits for no other cell.
            await asyncio.wait({started})
            if started.exception() is None:
                await self.stop(0)
            raise
        self.__streamcell__.coat = self
        self.__streamcell__.loop_runs_here = tether.runs_here
        await tether.tie()

    async def stop(self, grace: float | None = None) -> None:
        """Stop; see :meth:`streamcell.CoreCell.stop`. Goes on if it is cancelled."""
        default = self.__streamcell__.settings.config.stop_grace_s
        stopped = self.__streamcell__.begin_stop(check_timeout(grace, "grace", default))
        await asyncio.shield(asyncio.wrap_future(stopped))
        if self._tether is not None:
            await self._tether.untie()
        await asyncio.wait({asyncio.wrap_future(begin_flush())}, timeout=FLUSH_S)

    async def wait_connected(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait until the way up is there; see :meth:`streamcell.CoreCell.wait_connected`."""
        runner, timeout_s = self.__streamcell__, check_wait(timeout, "timeout")
        waiter = asyncio.wrap_future(runner.begin_wait_connected())
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            looked = runner.ask(lambda life, _now: life.check_connected(timeout_s or 0.0))
            await asyncio.wrap_future(looked)

    is_cell_connected = awaited(questions.is_cell_connected)
    is_cell_reachable = awaited(questions.is_cell_reachable)
    disconnect = awaited(questions.disconnect)
    cells = awaited(questions.cells)
    trace = awaited(questions.trace)
    stats = awaited(questions.stats)
    reload_security = awaited(questions.reload_security)

    def set_cell_connected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb`` called when a neighbour is there; see :meth:`streamcell.CoreCell.set_cell_connected_cb`."""
        self.cell.set_cell_connected_cb(self._in_thread(cb), *args, **kwargs)

    def set_cell_disconnected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb`` called when a neighbour is gone; see :meth:`streamcell.CoreCell.set_cell_disconnected_cb`."""
        self.cell.set_cell_disconnected_cb(self._in_thread(cb), *args, **kwargs)

    def register_request_cb(self, channel: str, topic: str, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(request, *args, **kwargs)`` answer requests; see :class:`streamcell.CoreCell`."""
        if not inspect.iscoroutinefunction(cb):
            self.cell.register_request_cb(channel, topic, cb, *args, **kwargs)
            return

        def call(request: Message) -> Any:
            # The reply is deferred, so that no thread waits for it.
            return self._begin_in_loop(cb(request, *args, **kwargs), self._replies)

        self.cell.register_request_cb(channel, topic, call)

    def _in_thread(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return what a thread may call for ``callback``; a coroutine function is run on the loop and waited for."""
        if not inspect.iscoroutinefunction(callback):
            return callback

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.run_in_loop(callback(*args, **kwargs))

        return call

    def run_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the cell's loop and wait for its result. For threads.

        Raises:
            UsageError: this is the loop's own thread, which can only await it.
            CallbackCancelled: it was cancelled, or the loop has ended.
        """
        if self._tether is not None and self._tether.runs_here():
            coroutine.close()
            raise UsageError(f"this is the thread of {self.fqcn}'s event loop: await the coroutine instead")
        return self._result_of(self._begin_in_loop(coroutine, self._begun))

    def begin_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Begun:
        """Run a coroutine on the cell's loop, without a thread that waits for it. For threads.

        Raises:
            CallbackCancelled: the loop has ended.
        """
        future = self._begin_in_loop(coroutine, self._begun)
        return Begun(future, functools.partial(self._result_of, future))

    def _result_of(self, future: concurrent.futures.Future[Any]) -> Any:
        """Wait for the result of a coroutine.

        Raises:
            CallbackCancelled: it was cancelled, or the loop has ended.
        """
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            # What the coroutine raises may be one, too: StreamCancelled.
            if not future.cancelled():
                raise
            # A loop that ends cancels all that runs on it. Then the cell ends as well, and says so itself.
            if self._tether is not None:
                self._tether.wait_ended(CANCELLED_S)
            raise CallbackCancelled(f"the coroutine that was called at {self.fqcn} was cancelled") from None

    def _begin_in_loop(self, coroutine: Coroutine[Any, Any, Any], begun: _Begun) -> concurrent.futures.Future[Any]:
        """Run a coroutine on the cell's loop, one of ``begun``; the future gets its result. Any thread.

        Raises:
            CallbackCancelled: the loop has ended.
        """
        task = self._run_as_task(coroutine)
        try:
            if self._tether is not None and self._tether.loop_is_ending:
                self._tether.check()
                raise self._loop_ended()
            future = asyncio.run_coroutine_threadsafe(task, self.loop)
        except BaseException as error:
            # Nobody will await it.
            task.close()
            coroutine.close()
            if isinstance(error, RuntimeError) and self.loop.is_closed():
                # It was closed this instant.
                raise self._loop_ended() from None
            raise
        begun[future] = (task, coroutine)
        future.add_done_callback(lambda _: begun.pop(future, None))
        return future

    async def _run_as_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            return await coroutine
        finally:
            self._tasks.discard(task)

    def _on_loop_ending(self) -> None:
        """Reply to the requests that nobody works on any more, while the cell still can."""
        if self.loop.is_closed():
            for task in list(self._tasks):
                # The log has one line for all of them. asyncio has no other way to say that this is known.
                task._log_destroy_pending = False  # noqa: SLF001
            self._give_up(self._replies)
        else:
            # A loop that ends has cancelled everything; this is what was begun since.
            for future in [*self._replies, *self._begun]:
                future.cancel()

    def _on_loop_ended(self) -> None:
        """Let the threads go that wait for what nobody does any more."""
        self._give_up(self._begun)

    def _give_up(self, begun: _Begun) -> None:
        for future, coroutines in list(begun.items()):
            for coroutine in coroutines:
                if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                    coroutine.close()
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(self._loop_ended())

    def _loop_ended(self) -> CallbackCancelled:
        return CallbackCancelled(f"the event loop of cell {self.fqcn} has ended")

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
        return f"<aio.CoreCell {self.fqcn} {self.__streamcell__.state.value}>"

    async def _ask(self, asking: Asking, target: str) -> Message:
        return await self._wait_for_reply(asking.begin(self.__streamcell__, target))

    async def _ask_each(self, asking: Asking, targets: str | Iterable[str]) -> dict[str, Message | CellError]:
        begun = asking.begin_each(self.__streamcell__, targets)
        try:
            replies = await asyncio.gather(*(self._reply_or_error(each) for each in begun.values()))
        except asyncio.CancelledError:
            # Also those that nobody has begun to wait for.
            self.__streamcell__.cancel_requests(begun.values())
            raise
        return dict(zip(begun, replies, strict=True))

    async def _fire(self, asking: Asking, targets: str | Iterable[str]) -> dict[str, CellError | None]:
        return asking.fire(self.__streamcell__, targets)

    async def _wait_for_reply(self, pending: PendingRequest) -> Message:
        try:
            reply: Message = await asyncio.wrap_future(pending.future)
        except asyncio.CancelledError:
            self.__streamcell__.cancel_requests([pending])
            raise
        return reply

    async def _reply_or_error(self, begun: PendingRequest | CellError) -> Message | CellError:
        if isinstance(begun, CellError):
            return begun
        try:
            return await self._wait_for_reply(begun)
        except CellError as error:
            return error


def running_cells() -> list[CoreCell]:
    """Return the cells that run on the running event loop, also those that no variable refers to any more.

    See :func:`streamcell.running_cells`, which gives every cell of the process. To be called in a coroutine.
    """
    loop = asyncio.get_running_loop()
    cells = (runner.coat for runner in running_residents() if isinstance(runner, CellRunner))
    return [cell for cell in cells if isinstance(cell, CoreCell) and cell.loop is loop]
