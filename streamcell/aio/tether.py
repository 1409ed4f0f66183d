"""What ties a cell to the event loop that it was started on.

A program may leave its loop without having stopped the cell. Then nobody runs its callbacks any more, so the cell ends
as well: its neighbours hear a Goodbye, and who sends to it an error that is true. There are two ways to notice. A loop
that ends in good order (``asyncio.run``, ``asyncio.Runner``, ``uvloop.run``, ``anyio.run``) closes the asynchronous
generators that have begun on it, and waits for them: one of them stops the cell. A loop that is merely closed tells
nobody: the engine looks every now and then.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

from streamcell.errors import CellError
from streamcell.runtime.cell.runner import CellRunner, CellState
from streamcell.runtime.threads.trace import cell_log
from streamcell.runtime.transfers import AnyFuture

# How often it is looked whether the loop was closed.
LOOK_S = 0.5
# What was answered at the last moment may still leave.
GRACE_S = 0.5


class LoopTether:
    """Stops a cell when its loop ends.

    Args:
        runner: the cell.
        loop: what it belongs to.
        on_ending: called in any thread when nothing will run on the loop any more, before the cell is stopped.
        on_ended: called in any thread when the cell has ended after that.
    """

    def __init__(
        self,
        runner: CellRunner,
        loop: asyncio.AbstractEventLoop,
        on_ending: Callable[[], object],
        on_ended: Callable[[], object],
    ) -> None:
        self.runner = runner
        self.loop = loop
        self._on_ending = on_ending
        self._on_ended = on_ended
        self._lock = threading.Lock()
        self._noticed = False
        self._ended = threading.Event()
        self._generator: AsyncGenerator[None, None] | None = None

    @property
    def loop_is_ending(self) -> bool:
        """Whether nothing is to be begun on the loop any more."""
        return self._noticed or self.loop.is_closed()

    def runs_here(self) -> bool:
        """Return whether the loop runs in this thread, at this moment."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    async def tie(self) -> None:
        """Begin to take care. On the loop."""
        self._generator = self._until_the_loop_ends()
        await anext(self._generator)
        self._look_later()

    async def untie(self) -> None:
        """Stop taking care, because the cell was stopped. On the loop."""
        if self._generator is not None:
            await self._generator.aclose()

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait until the cell has ended because the loop did, and return whether it has. Not on the loop."""
        return self._ended.wait(timeout_s)

    def check(self) -> None:
        """End the cell if the loop was closed. Any thread; does not wait."""
        if self.loop.is_closed():
            stopped = self._notice()
            if stopped is not None:
                stopped.add_done_callback(self._note_ended)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            stopped = self._notice()
            if stopped is not None:
                await asyncio.wrap_future(stopped)
                self._note_ended(stopped)

    def _notice(self) -> concurrent.futures.Future[None] | None:
        """Begin to stop the cell, once and if it runs."""
        with self._lock:
            if self._noticed or self.runner.state is not CellState.RUNNING:
                return None
            self._noticed = True
        self._on_ending()
        # Not if the process exits at this moment.
        with contextlib.suppress(CellError):
            self.runner.ask(lambda life, _now: life.stats()).add_done_callback(self._tell)
            return self.runner.begin_stop(GRACE_S)
        return None

    def _tell(self, asked: AnyFuture) -> None:
        """Say what happens: a warning if anything is lost by it."""
        if asked.cancelled() or asked.exception() is not None:
            return
        under_way = len(asked.result().protocol.sends) + len(asked.result().protocol.receives)
        cell_log(self.runner.fqcn).log(
            logging.WARNING if under_way else logging.INFO,
            "the event loop of the cell has ended before stop() was awaited, so the cell ends as well; transfers under "
            "way: %d",
            under_way,
        )

    def _note_ended(self, _stopped: concurrent.futures.Future[Any]) -> None:
        self._on_ended()
        self._ended.set()

    def _look_later(self) -> None:
        self.runner.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        if self.runner.state is CellState.RUNNING and not self._noticed:
            self.check()
            self._look_later()
