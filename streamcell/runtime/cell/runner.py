"""The cell as the public classes use it: its states, and the way to what runs on the engine, from any thread.

Everything that takes time returns a future, which one coat waits for in its thread, and the other in a coroutine. What
can be asked is not listed here: :meth:`CellRunner.ask` and its like have any part of the cell's life do it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import functools
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from streamcell.errors import CellError, UsageError
from streamcell.runtime.cell.life import Callbacks, CellLife, CellSettings
from streamcell.runtime.engine.engine import Engine, get_engine
from streamcell.runtime.network.neighbours import LinkCallbacks
from streamcell.runtime.receiving.registry import CallbackRegistry
from streamcell.runtime.requests import PendingRequest, Requests
from streamcell.runtime.sending.sends import Sends
from streamcell.runtime.threads.clock import Clock, monotonic
from streamcell.runtime.threads.waiting import check_may_wait
from streamcell.runtime.transfers import AnyFuture, FutureFactory
from streamcell.transport.base import Network

T = TypeVar("T")


class CellState(enum.Enum):
    """What may be done with a cell. It only moves down this list, except that a start that fails leads back to NEW."""

    NEW = "has not been started"
    STARTING = "is being started"
    RUNNING = "is running"
    STOPPING = "is being stopped"
    STOPPED = "has been stopped"


class CellRunner:
    """A cell from its making to its end. All methods may be called in any thread but the engine's."""

    def __init__(
        self,
        settings: CellSettings,
        make_future: FutureFactory,
        find_network: Callable[[], Network],
        clock: Clock = monotonic,
    ) -> None:
        self.settings = settings
        self.callbacks = Callbacks(CallbackRegistry(), CallbackRegistry(), LinkCallbacks())
        self._make_future = make_future
        self._find_network = find_network
        self._clock = clock
        # Reentrant: the handler of a signal may stop the cell while its thread is in here.
        self._lock = threading.RLock()
        self._state = CellState.NEW
        self._engine: Engine | None = None
        self._life: CellLife | None = None
        self._stopped: concurrent.futures.Future[None] | None = None
        # Written on the engine only: what starts the cell, and whether it is to be stopped when it has been.
        self._start_task: asyncio.Task[None] | None = None
        self._stop_asked = False
        #: What the application has of the cell, if it still has it: a weak reference, set by the public class.
        self.handle: Callable[[], object] = lambda: None
        #: The cell of an event loop that this is, and whether that loop runs in this thread, set by ``streamcell.aio``.
        self.coat: object = None
        self.loop_runs_here: Callable[[], bool] = lambda: False

    @property
    def fqcn(self) -> str:
        """The cell's name."""
        return self.settings.fqcn

    @property
    def state(self) -> CellState:
        """What may be done with the cell."""
        return self._state

    @property
    def listen_urls(self) -> tuple[str, ...]:
        """Where the cell listens; empty before the start."""
        return self._life.listen_urls if self._life is not None else ()

    def check_running(self) -> CellLife:
        """Return the life that runs.

        Raises:
            UsageError: the cell is not running, or this is a forked child.
        """
        life, engine = self._life, self._engine
        if engine is not None:
            engine.check()
        if life is None or self._state is not CellState.RUNNING:
            raise UsageError(f"cell {self.settings.fqcn} {self._state.value}: {_advice(self._state)}")
        return life

    @property
    def sends(self) -> Sends:
        """Where streams and blobs are sent."""
        return self.check_running().sends

    @property
    def requests(self) -> Requests:
        """Where requests are sent."""
        return self.check_running().requests

    def begin_start(self) -> concurrent.futures.Future[None]:
        """Start; the future gets None when the cell listens, or the reason why it cannot.

        Raises:
            UsageError: the cell was started before, or is stopped meanwhile, or this is a forked child.
        """
        with self._lock:
            if self._state is not CellState.NEW:
                raise UsageError(f"cell {self.settings.fqcn} {self._state.value}: make a new CoreCell for another life")
            self._state = CellState.STARTING
        try:
            engine, network = get_engine(), self._find_network()
            engine.decisions.apply(self.fqcn, self.settings.config.process, getattr(network, "batch_threads", None))
            life = CellLife(
                self,
                self.settings,
                self.callbacks,
                self._make_future,
                network,
                engine,
                self._clock,
            )
            self._engine = engine
            return engine.run(self._start(life))
        except BaseException:
            self._undo_start()
            raise

    def begin_stop(self, grace_s: float) -> concurrent.futures.Future[None]:
        """Stop; the future gets None when everything has ended.

        A further call returns the same future, and shortens the wait for sends to its own grace if that ends earlier.
        A cell that is being started is stopped when it has been; its start fails.

        Raises:
            UsageError: this is a forked child.
        """
        with self._lock:
            if self._stopped is None:
                self._stopped = self._begin_stop(grace_s)
            elif self._life is not None and self._engine is not None and self._state is not CellState.STOPPED:
                self._engine.check()
                self._engine.wake(functools.partial(self._life.hurry, grace_s))
            return self._stopped

    def check_may_wait_for_callbacks(self) -> None:
        """Raise if what other cells are asked may need this thread to answer.

        Raises:
            UsageError: this is the engine's thread, or that of the event loop which runs the cell's callbacks.
        """
        check_may_wait()
        if self.loop_runs_here():
            raise UsageError(
                f"the event loop of cell {self.fqcn} runs in this thread, and would stand still meanwhile: await "
                "the method of its streamcell.aio.CoreCell, or call this one in another thread"
            )

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Have ``callback`` called on the engine after ``delay_s``, if it still runs then."""
        if self._engine is not None:
            self._engine.call_later(delay_s, callback)

    def begin_wait_connected(self) -> AnyFuture:
        """Wait for the uplink; the future gets None when it is up, or the refusal.

        Raises:
            UsageError: the cell is not running, or has no uplink.
        """
        self.check_running()
        if not self.settings.connect:
            raise UsageError(f"cell {self.settings.fqcn} has no uplink to wait for: make it with connect=URL")
        return self.ask_later(CellLife.wait_connected)

    def ask(self, question: Callable[[CellLife, float], T]) -> concurrent.futures.Future[T]:
        """Have ``question(life, now)`` called on the engine, as part of a step; the future gets its result.

        Raises:
            UsageError: the cell is not running.
        """
        life = self.check_running()
        return life.stepper.ask(question, life)

    def ask_later(self, question: Callable[[CellLife, AnyFuture, float], object]) -> AnyFuture:
        """Have ``question(life, answer, now)`` called there, which settles ``answer`` then or later; return that.

        Raises:
            UsageError: the cell is not running.
        """
        life = self.check_running()
        return life.stepper.ask_later(functools.partial(question, life))

    def tell(self, verb: Callable[[CellLife, float], object]) -> None:
        """Have ``verb(life, now)`` called there, whatever becomes of it.

        Raises:
            UsageError: the cell is not running.
        """
        life = self.check_running()
        life.stepper.post(verb, life)

    def cancel_requests(self, begun: Iterable[PendingRequest | CellError]) -> None:
        """Wait no more for replies that may still come. In any state: where the cell has ended, so have they."""
        if self._life is not None:
            for each in begun:
                if isinstance(each, PendingRequest):
                    self._life.requests.cancel(each)

    async def _start(self, life: CellLife) -> None:
        self._start_task = asyncio.current_task()
        try:
            self._check_wanted()
            await life.start()
        except BaseException:
            self._undo_start()
            raise
        self._life = life
        self._check_wanted()
        self._state = CellState.RUNNING

    def _check_wanted(self) -> None:
        """Raise if the cell was stopped since its start was asked for."""
        if self._stop_asked or self._state is CellState.STOPPED:
            raise UsageError(f"cell {self.fqcn} was stopped while it was being started: {_advice(CellState.STOPPED)}")

    def _undo_start(self) -> None:
        """Have it that the cell was not started, but for its being stopped."""
        if self._state is CellState.STARTING and not self._stop_asked:
            self._state = CellState.NEW

    def _begin_stop(self, grace_s: float) -> concurrent.futures.Future[None]:
        life, engine = self._life, self._engine
        if engine is not None and self._state is CellState.STARTING:
            return engine.run(self._stop_after_start(grace_s))
        if life is None or engine is None or life.ended:
            self._state = CellState.STOPPED
            nothing: concurrent.futures.Future[None] = concurrent.futures.Future()
            nothing.set_result(None)
            return nothing
        self._state = CellState.STOPPING
        return engine.run(self._stop(life, grace_s))

    async def _stop_after_start(self, grace_s: float) -> None:
        # Only the engine can tell which of the two came first. Where the start has not come here yet, it fails when it
        # does: its thread may wait for this, in the handler of a signal.
        self._stop_asked = True
        if self._start_task is not None:
            await asyncio.wait({self._start_task})
        if self._life is None:
            self._state = CellState.STOPPED
        else:
            self._state = CellState.STOPPING
            await self._stop(self._life, grace_s)

    async def _stop(self, life: CellLife, grace_s: float) -> None:
        try:
            await life.stop(grace_s)
        finally:
            self._state = CellState.STOPPED


def _advice(state: CellState) -> str:
    if state in {CellState.NEW, CellState.STARTING}:
        return "call start() first"
    return "make a new CoreCell for another life"
