"""Running the application's code.

This is one of the two places where any exception is caught: what an application's callback or source raises must not
end a thread of ours, and must not be lost either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from streamcell.errors import CellError, StreamRejected
from streamcell.runtime.threads.trace import CellLog

T = TypeVar("T")
E = TypeVar("E", bound=CellError)

Level: TypeAlias = int | Callable[[BaseException], int]
Outcome: TypeAlias = tuple[Any, BaseException | None]


class CallbackCancelled(StreamRejected):
    """The coroutine of a callback was cancelled, as is done to all that is left when a loop ends: nobody's failure."""


def call_user_code(
    log: CellLog, level: Level, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Outcome:
    """Call ``function``; return its result and None, or None and what it raised, logged with its traceback.

    ``SystemExit`` and ``KeyboardInterrupt`` are caught too: in a thread of a pool they would end nothing but the
    thread, and the other side would wait for an answer.

    Args:
        log: where.
        level: the level, or what tells it from what was raised.
        what: the name of ``function`` in the log.
        function: the application's.
        *args: passed on.
        **kwargs: passed on.
    """
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        log.log(
            level if isinstance(level, int) else level(error), "%s raised %s", what, type(error).__name__, exc_info=True
        )
        return None, error


def raised_sentence(what: str, error: BaseException) -> str:
    """Return one sentence that says what ``what`` raised, for the other side to read."""
    text = " ".join(_ask_error(lambda: str(error), "").split())
    return f"{what} raised {type(error).__name__}" + (f": {text}" if text else "")


def copy_error(kind: type[E], what: str, error: E) -> E:
    """Return what ``what`` raised as a plain ``kind``: the application may have a class of its own below it."""
    copied = _ask_error(lambda: kind(error.sentence, error.code, error.fault), None)
    return copied if copied is not None else kind(raised_sentence(what, error))


def level_of_raised(error: BaseException) -> int:
    """Return the level at which what a callback raised is logged."""
    return logging.DEBUG if isinstance(error, CallbackCancelled) else logging.ERROR


def _ask_error(question: Callable[[], T], otherwise: T) -> T:
    """Return what an exception of the application says of itself, or ``otherwise`` if that raises in its turn."""
    try:
        return question()
    except BaseException:  # noqa: BLE001
        return otherwise


def level_of(optional: bool) -> int:
    """Return the level at which a failure is logged: an optional transfer may fail as a matter of course."""
    return logging.DEBUG if optional else logging.ERROR
