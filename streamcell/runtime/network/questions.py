"""Questions about the network, from asking to the answer. Everything here runs on the engine."""

from __future__ import annotations

from streamcell.protocol.base.events import CellsListed, QueryFailed, RouteTraced
from streamcell.runtime.context import CellContext
from streamcell.runtime.transfers import AnyFuture, fail, succeed
from streamcell.topology import CellSelection


class Questions:
    """The questions of one cell that were not answered yet."""

    def __init__(self, context: CellContext) -> None:
        self._context = context
        self._waiting: dict[int, AnyFuture] = {}

    def ask_cells(self, answer: AnyFuture, timeout_s: float, selection: CellSelection, now: float) -> None:
        """Ask which cells there are; ``answer`` gets KnownCells."""
        # An answer that needs nobody else is an event already, which is handed out after this.
        self._waiting[self._context.core.ask_cells(selection, timeout_s, now)] = answer

    def ask_trace(self, answer: AnyFuture, target: str, timeout_s: float, now: float) -> None:
        """Ask by which hops a cell is reached; ``answer`` gets a list of Hop."""
        self._waiting[self._context.core.ask_trace(target, timeout_s, now)] = answer

    def on_cells_listed(self, event: CellsListed, _now: float) -> None:
        """All cells above have told."""
        self._succeed(event.query_id, event.cells)

    def on_route_traced(self, event: RouteTraced, _now: float) -> None:
        """All hops have answered."""
        self._succeed(event.query_id, list(event.hops))

    def on_query_failed(self, event: QueryFailed, _now: float) -> None:
        """There is no answer."""
        answer = self._waiting.pop(event.query_id, None)
        if answer is not None:
            self._context.futures.discard(answer)
            fail(answer, event.error)

    def _succeed(self, query_id: int, answered: object) -> None:
        answer = self._waiting.pop(query_id, None)
        if answer is not None:
            self._context.futures.discard(answer)
            succeed(answer, answered)
