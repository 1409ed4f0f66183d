"""The engine: one event loop in one daemon thread, which runs all cells of the process.

It starts with the first cell, never at import, and ends with the process: an ``atexit`` hook lets every cell say
Goodbye and ends the loop, so that nobody has to call ``stop()``. The application's code never runs on it, except what
the interpreter itself runs in whichever thread it likes: see ``waiting``.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from streamcell.errors import CellError, ErrorCode
from streamcell.logs import flush, move_elsewhere
from streamcell.runtime.engine.descriptors import DescriptorWatch
from streamcell.runtime.engine.fork import forked_error, watch_forks
from streamcell.runtime.engine.gangway import Gangway
from streamcell.runtime.engine.process import ProcessDecisions
from streamcell.runtime.engine.residents import Resident, Residents
from streamcell.runtime.threads.starter import RETRY_S, ThreadStarter
from streamcell.runtime.threads.trace import engine_log
from streamcell.transport.grpc.event_loop import quiet_empty_wakeups
from streamcell.whereabouts import enter_engine_thread

T = TypeVar("T")

# How long the exit of the process may wait for cells to say Goodbye.
EXIT_S = 1.5

# Who else logs in the engine's thread: what happens in the loop, in futures that are settled there, and in gRPC.
_OTHER_LOGGERS = (
    "asyncio",
    "concurrent.futures",
    "grpc",
    "grpc._common",
    "grpc._cython.cygrpc",
    "grpc.aio._call",
    "grpc.aio._server",
)


class EngineGuest(Protocol):
    """A cell, as the engine knows it."""

    async def close(self) -> None:
        """End the cell at once, because the process ends."""

    def fail(self, error: CellError) -> None:
        """End the cell without the engine, which has died. Called in the engine's thread."""

    def leave_to_parent(self) -> None:
        """Let go, in a forked child, of what the parent has to be able to have again. In the thread that has forked."""


class Engine:
    """The loop and its thread. One for each process; see :func:`get_engine`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        quiet_empty_wakeups(self._loop)
        self._guests: set[EngineGuest] = set()
        self._forked = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="streamcell-engine", daemon=True)
        #: Counts what all cells and the program have open.
        self.descriptors = DescriptorWatch(self._loop.time, engine_log())
        #: How many of its cells are connecting at a time.
        self.gangway = Gangway()
        #: What its cells have decided for the process.
        self.decisions = ProcessDecisions()
        self.residents = Residents()
        #: Starts the threads of all cells.
        self.starter = ThreadStarter(functools.partial(self.call_later, RETRY_S), engine_log())

    def start(self) -> None:
        """Start the thread and the hooks that end it.

        Raises:
            RuntimeError, MemoryError: the system refuses the thread. The engine is of no use then.
        """
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            raise
        watch_forks(self._mark_forked)
        move_elsewhere(*_OTHER_LOGGERS)
        atexit.register(self._close)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, for use in its thread."""
        return self._loop

    @property
    def usable(self) -> bool:
        """Whether the engine runs, in this process."""
        return not (self._forked or self._ended)

    def check(self) -> None:
        """Raise unless the engine can be used.

        Raises:
            UsageError: in a forked child.
            CellError: after the engine has ended.
        """
        if self._forked:
            raise forked_error()
        if self._ended:
            raise CellError("streamcell has ended in this process, which is exiting", ErrorCode.STOPPING)

    def wake(self, callback: Callable[[], object]) -> bool:
        """Have ``callback`` called on the loop; return False if it never will be. Any thread."""
        if not self.usable:
            return False
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop was closed this instant.
            return False
        return True

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Have ``callback`` called on the loop after ``delay_s``, if the engine still runs then. Any thread."""
        self.wake(functools.partial(self._loop.call_later, delay_s, callback))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop; the future gets its result. Any thread.

        Raises:
            UsageError: in a forked child.
            CellError: after the engine has ended.
        """
        try:
            self.check()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except BaseException:
            coroutine.close()
            raise

    def add_guest(self, guest: EngineGuest) -> None:
        """Have ``guest`` closed when the process ends. Any thread."""
        self._guests.add(guest)

    def remove_guest(self, guest: EngineGuest) -> None:
        """Forget a guest that has ended. Any thread."""
        self._guests.discard(guest)

    def _run(self) -> None:
        enter_engine_thread()
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._ended = True
            self._fail_guests()
            self._cancel_tasks()
            self._loop.close()

    def _fail_guests(self) -> None:
        """Settle what the cells that are left have promised. There is none after an orderly end."""
        error = CellError("the engine of streamcell has ended", ErrorCode.INTERNAL)
        for guest in list(self._guests):
            engine_log().error("the engine ended under a cell that was running")
            guest.fail(error)

    def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=EXIT_S))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    def _close(self) -> None:
        """Let the cells end, then the loop. At exit of the process, in the main thread."""
        if not self.usable:
            return
        closing = asyncio.run_coroutine_threadsafe(self._close_guests(), self._loop)
        with contextlib.suppress(TimeoutError):
            closing.result(EXIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(EXIT_S)
        flush()

    async def _close_guests(self) -> None:
        await asyncio.gather(*(guest.close() for guest in list(self._guests)))

    def _mark_forked(self) -> None:
        self._forked = True
        for guest in list(self._guests):
            guest.leave_to_parent()


class _EngineHolder:
    """Where the process keeps its one engine.

    With the queue of the log the only mutable global of the package. The engine is one for the process because what it
    stands for is: an interpreter with one lock gains nothing from a second loop, gRPC's asyncio layer serves one loop
    at a time well, and cells of one process must not depend on who was created first to end the thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine | None:
        """The engine, if it was started."""
        return self._engine

    def get(self) -> Engine:
        engine = self._engine
        if engine is None:
            with self._lock:
                engine = self._engine or self._start()
        engine.check()
        return engine

    def _start(self) -> Engine:
        try:
            engine = Engine()
            engine.start()
        except (OSError, RuntimeError, MemoryError) as error:
            raise CellError(
                f"no cell can be started: the system refuses this process a thread or an open file ({error}); end what "
                "holds many of them, or raise the limit, and start it again",
                ErrorCode.LIMIT,
            ) from error
        self._engine = engine
        return engine


_holder = _EngineHolder()


def get_engine() -> Engine:
    """Return the engine of this process, started if it was not.

    Raises:
        UsageError: in a child that was forked after the engine had started.
        CellError: the system refuses what the engine needs. It may be asked for again.
    """
    return _holder.get()


def running_residents() -> list[Resident]:
    """Return the cells that run in this process, in the order of their starts."""
    engine = _holder.engine
    return engine.residents.running() if engine is not None and engine.usable else []
