"""Whether the application lets a stream open, here or through here.

It is asked in a thread of its own kind, and never on the engine, for ``ADMIT_S`` at most. Until it has answered,
nothing of the stream is handed out or passed on. What it raises is the refusal; if it fails otherwise, or does not
answer in time, that is one, too.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from types import MappingProxyType
from typing import TypeAlias

from streamcell.errors import AuthenticationError, CellError, Fault, error_from_wire
from streamcell.lines import NeighbourLog
from streamcell.protocol.base.events import PassageAsked, StreamOpened
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.context import CellContext
from streamcell.runtime.threads.callbacks import call_user_code, raised_sentence
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.threads.workers import WorkerPool
from streamcell.security.policy.opening import Opening
from streamcell.security.policy.policy import TransferKind

# What the application may take to say whether a stream may open: a look into a table, or a question to a service near
# by. Who sends waits meanwhile, and its initial credit is kept here.
ADMIT_S = 3.0
# Threads that ask: enough that some may wait for a slow service, few enough that a flood of streams is no flood there.
_THREADS = 8

Admit: TypeAlias = Callable[[Opening], object]
# Called on the engine with the refusal, None: there is none.
Decide: TypeAlias = Callable[[CellError | None, float], None]

_KINDS = {
    StreamKind.STREAM: TransferKind.STREAM,
    StreamKind.BLOB: TransferKind.BLOB,
    StreamKind.REQUEST: TransferKind.REQUEST,
}


class _Case:
    """One stream that the application is asked about."""

    def __init__(self, opening: Opening, party: Party, decide: Decide) -> None:
        self.opening = opening
        self.party = party
        self.decide = decide
        self.decided = False
        self.late: asyncio.TimerHandle | None = None


class Doorkeeper:
    """Asks the application of one cell. Methods are called on the engine.

    :param admit: the application's.
    """

    def __init__(self, context: CellContext, admit: Admit, log: CellLog) -> None:
        self._context = context
        self._admit = admit
        self._log = NeighbourLog(log)
        self._pool = WorkerPool(f"{context.fqcn}-admit", _THREADS, context.starter)

    def close(self) -> None:
        """Let the threads end as soon as they are idle."""
        self._pool.close()

    def asks_about(self, event: StreamOpened) -> bool:
        """Return whether the application is asked about a stream to here: of another cell, and no reply."""
        return event.key.origin != self._context.fqcn and event.description.kind in _KINDS

    def ask_about_stream(self, event: StreamOpened, decide: Decide) -> None:
        """Ask whether a stream may be received here; ``decide`` is called soon, and not in this call."""
        opening = Opening(
            event.key.origin,
            event.identity,
            self._context.fqcn,
            event.channel,
            event.topic,
            _KINDS[event.description.kind],
            event.description.size,
            MappingProxyType(dict(event.description.headers)),
        )
        self._ask(_Case(opening, event.party, decide))

    def on_passage_asked(self, event: PassageAsked, now: float) -> None:
        """Ask whether an attempt may pass, and have the core told."""

        def decide(refusal: CellError | None, now: float) -> None:
            sentence = "" if refusal is None else refusal.sentence
            self._context.core.judge_passage(event.key, event.attempt, sentence, now)

        kind = _KINDS.get(event.description.kind)
        if kind is None:
            decide(AuthenticationError(f"{self._context.fqcn} does not know what kind of stream this is"), now)
            return
        size = event.description.size
        opening = Opening(
            event.key.origin, event.identity, event.target, event.channel, event.topic, kind, size, headers=None
        )
        self._ask(_Case(opening, event.party, decide))

    def _ask(self, case: _Case) -> None:
        case.late = asyncio.get_running_loop().call_later(ADMIT_S, self._context.post, self._on_late, case)
        self._pool.submit(functools.partial(self._run, case), case.party)

    def _on_late(self, case: _Case, now: float) -> None:
        if not case.decided:
            late = AuthenticationError(f"admit has not answered within {ADMIT_S:g} s", fault=Fault.ORIGIN)
            self._conclude(case, self._refusal(case.opening, late), now)

    def _conclude(self, case: _Case, refusal: CellError | None, now: float) -> None:
        if case.decided:
            return
        case.decided = True
        if case.late is not None:
            case.late.cancel()
        if refusal is not None:
            self._log.log(case.opening.origin, now, logging.WARNING, "< not admitted: %s", refusal)
        case.decide(refusal, now)

    def _refusal(self, opening: Opening, raised: CellError) -> CellError:
        """Return what the origin is told: of the kind that was raised."""
        sentence = (
            f"{self._context.fqcn} does not admit the {opening.kind} {opening.channel}/{opening.topic} from "
            f"{opening.origin} to {opening.target}: {raised.sentence}"
        )
        return error_from_wire(raised.code, sentence, Fault.ORIGIN)

    # In a thread of the pool.

    def _run(self, case: _Case) -> None:
        if case.decided:
            return
        what = f"admit of {self._context.fqcn}"
        _, raised = call_user_code(self._context.stream_log, _level_of, what, self._admit, case.opening)
        refusal = None
        if isinstance(raised, CellError):
            refusal = self._refusal(case.opening, raised)
        elif raised is not None:
            self._context.failures.count_callback()
            refusal = self._refusal(case.opening, AuthenticationError(raised_sentence(what, raised)))
        self._context.post(self._conclude, case, refusal)


def _level_of(raised: BaseException) -> int:
    """Return the level at which what was raised is logged with its traceback: a refusal is told otherwise."""
    return logging.DEBUG if isinstance(raised, CellError) else logging.ERROR
