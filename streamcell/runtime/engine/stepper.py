"""The one way into a cell's core.

Three sorts of things reach the core: intents of other threads, frames of lanes, and time. All go through
:meth:`Stepper.step`, on the engine: it calls the core, hands out the core's events, wakes the writers of lanes that
have got something to send, and arms the timer. Nothing else touches the core, and no step begins inside another.

A step has one time, ``now``: the intents, the verb and the handlers of events are given it, and hand it to the core.
None of them reads the clock, so the time that a core is told never falls.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, TypeVarTuple

from streamcell.errors import CellError, ErrorCode
from streamcell.runtime.threads.clock import Clock
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.transfers import AnyFuture, OpenFutures, ended_error, fail, succeed

# Called with an event of that type and with the time of the step.
EventHandlers: TypeAlias = Mapping[type, Callable[[Any, float], None]]

Args = TypeVarTuple("Args")
T = TypeVar("T")


class SteppedCore(Protocol):
    """What a stepper itself needs of a core; verbs are handed to it by those who know them. A CellCore is one."""

    def next_event(self) -> object | None:
        """Return the oldest event that was not yet taken, or None."""

    def take_ready_lanes(self) -> Sequence[int]:
        """Return the lanes that have got something to send since the last call."""

    def next_deadline(self) -> float | None:
        """Return when ``handle_timeout`` is to be called, or None."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due at ``now``."""


class StepLoop(Protocol):
    """The thread that steps are made in. The Engine is one."""

    @property
    def usable(self) -> bool:
        """Whether it runs, in this process."""

    def wake(self, callback: Callable[[], object]) -> bool:
        """Have ``callback`` called in it; return False if it never will be. Any thread."""


class Stepper:
    """Owns a core: every call into it, from whichever thread it comes, is made here on the engine.

    If a call raises what it should not, the core cannot be trusted any more: it is never called again, ``on_broken`` is
    called once with the error that everything has to fail with, and the traceback is logged once.
    """

    def __init__(
        self,
        core: SteppedCore,
        engine: StepLoop,
        clock: Clock,
        futures: OpenFutures,
        log: CellLog,
        on_broken: Callable[[CellError], None],
    ) -> None:
        self._core = core
        self._engine = engine
        self._clock = clock
        self._futures = futures
        self._log = log
        self._on_broken = on_broken
        self._handlers: EventHandlers = {}
        self._wake_lanes: Callable[[Sequence[int]], None] = _wake_nothing
        self._after_step: Callable[[], None] | None = None
        self._intents: collections.deque[tuple[Callable[..., object], tuple[Any, ...]]] = collections.deque()
        # Whether a run of _run_intents is on its way. Reset before the intents are taken, so none is left lying.
        self._posted = False
        self._ended = False
        self._broken = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def connect(self, handlers: EventHandlers, wake_lanes: Callable[[Sequence[int]], None]) -> None:
        """Say who gets the core's events, by type, and who wakes writers. Once, before the first step."""
        self._handlers = handlers
        self._wake_lanes = wake_lanes

    def post(self, intent: Callable[[*Args, float], object], *args: *Args) -> bool:
        """Have ``intent(*args, now)`` run as part of a step, in order; return False if it never will. Any thread."""
        if self._ended or not self._engine.usable:
            return False
        self._intents.append((intent, args))
        if self._posted:
            return True
        self._posted = True
        return self._engine.wake(self._run_intents)

    def leave(self, intent: Callable[[*Args, float], object], *args: *Args) -> None:
        """Have ``intent(*args, now)`` run at the start of the next step, whatever causes it and whenever. Any thread.

        For what matters to nobody before: it costs no wake-up of the engine.
        """
        self._intents.append((intent, args))

    def ask(self, question: Callable[[*Args, float], T], *args: *Args) -> concurrent.futures.Future[T]:
        """Have ``question(*args, now)`` run as part of a step; the future gets its result, or what it raises.

        It fails if the cell has ended. Any thread.
        """
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._futures.add(answer)
        if not self.post(self._answer, question, args, answer):
            fail(answer, ended_error("this cell"))
        return answer

    def ask_later(self, question: Callable[[AnyFuture, float], object]) -> AnyFuture:
        """Have ``question(answer, now)`` run as part of a step, which settles ``answer`` then or later; return that.

        It fails if the cell has ended. Any thread.
        """
        answer: AnyFuture = concurrent.futures.Future()
        self._futures.add(answer)
        if not self.post(question, answer):
            fail(answer, ended_error("this cell"))
        return answer

    def step(self, verb: Callable[[*Args, float], T], *args: *Args) -> T | None:
        """Call ``verb(*args, now)``, then do what follows from it, and return its result. On the engine.

        None if the core is broken, or breaks in here; the caller goes on.
        """
        if self._broken:
            return None
        try:
            now = self._clock()
            if self._intents:
                self.take_intents(now)
            result = verb(*args, now)
            self._handle_events(now)
        except Exception as error:  # noqa: BLE001
            self._break(error)
            return None
        return result

    def take_intents(self, now: float) -> None:
        """Run what was posted. A verb for :meth:`step`."""
        while self._intents:
            intent, args = self._intents.popleft()
            intent(*args, now)

    def watch(self, after_step: Callable[[], None] | None) -> None:
        """Have ``after_step`` called after each step, until another is given or None."""
        self._after_step = after_step

    def end(self) -> None:
        """Take no more intents from other threads, and stop the timer."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_task_done(self, task: asyncio.Task[None]) -> None:
        """Treat the failure of a task that belongs to the cell as a bug in a step."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._broken:
            self._break(error)

    def _answer(self, question: Callable[..., Any], args: tuple[Any, ...], answer: AnyFuture, now: float) -> None:
        self._futures.discard(answer)
        try:
            succeed(answer, question(*args, now))
        except CellError as error:
            fail(answer, error)

    def _run_intents(self) -> None:
        self._posted = False
        self.step(self.take_intents)

    def _handle_events(self, now: float) -> None:
        core = self._core
        while (event := core.next_event()) is not None:
            self._handlers[type(event)](event, now)
        lane_ids = core.take_ready_lanes()
        if lane_ids:
            self._wake_lanes(lane_ids)
        self._arm_timer(now)
        if self._after_step is not None:
            self._after_step()

    def _arm_timer(self, now: float) -> None:
        """Set the timer unless it fires early enough: deadlines move with every frame, and mostly further away."""
        deadline = self._core.next_deadline()
        if deadline is None or self._ended:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0.0, deadline - now)
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.step(self._expire)

    def _expire(self, now: float) -> None:
        deadline = self._core.next_deadline()
        if deadline is not None and now >= deadline:
            self._core.handle_timeout(now)

    def _break(self, error: BaseException) -> None:
        self._broken = True
        self.end()
        cause = "this process has no memory left" if isinstance(error, MemoryError) else "of a bug in streamcell"
        self._log.error("the cell has ended because %s", cause, exc_info=error)
        self._on_broken(
            CellError(
                f"the cell has ended because {cause} ({type(error).__name__}: {error}); the log has the traceback",
                ErrorCode.INTERNAL,
            )
        )


def _wake_nothing(_lane_ids: Sequence[int]) -> None:
    """Stand in until there are lanes."""
