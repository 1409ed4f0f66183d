"""Questions about the network, from asking to the answer.

Questions may be asked in any thread; methods named ``on_*`` run on the engine.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable

from streamcell.protocol.base.events import CellsListed, QueryFailed, RouteTraced
from streamcell.runtime.context import CellContext
from streamcell.runtime.transfers import AnyFuture, ended_error, fail, succeed


class Questions:
    """The questions of one cell that were not answered yet."""

    def __init__(self, context: CellContext) -> None:
        self._context = context
        self._waiting: dict[int, AnyFuture] = {}

    def ask_cells(self, timeout_s: float) -> AnyFuture:
        """Ask which cells there are; the future gets a list of KnownCell."""
        return self._ask(lambda now: self._context.core.ask_cells(timeout_s, now))

    def ask_trace(self, target: str, timeout_s: float) -> AnyFuture:
        """Ask by which hops a cell is reached; the future gets a list of Hop."""
        return self._ask(lambda now: self._context.core.ask_trace(target, timeout_s, now))

    def on_cells_listed(self, event: CellsListed, _now: float) -> None:
        """All cells above have told."""
        self._succeed(event.query_id, list(event.cells))

    def on_route_traced(self, event: RouteTraced, _now: float) -> None:
        """All hops have answered."""
        self._succeed(event.query_id, list(event.hops))

    def on_query_failed(self, event: QueryFailed, _now: float) -> None:
        """There is no answer."""
        answer = self._waiting.pop(event.query_id, None)
        if answer is not None:
            self._context.futures.discard(answer)
            fail(answer, event.error)

    def _ask(self, ask: Callable[[float], int]) -> AnyFuture:
        answer: AnyFuture = concurrent.futures.Future()
        self._context.futures.add(answer)
        if not self._context.post(self._begin, ask, answer):
            fail(answer, ended_error(self._context.fqcn))
        return answer

    def _begin(self, ask: Callable[[float], int], answer: AnyFuture, now: float) -> None:
        # An answer that needs nobody else is an event already, which is handed out after this.
        self._waiting[ask(now)] = answer

    def _succeed(self, query_id: int, answered: object) -> None:
        answer = self._waiting.pop(query_id, None)
        if answer is not None:
            self._context.futures.discard(answer)
            succeed(answer, answered)
