"""Running the application's code. Imports the standard library only.

This is one of the two places where any exception is caught: what an application's callback or source raises must not
end a thread of ours, and must not be lost either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from streamcell.runtime.trace import CellLog

Level: TypeAlias = int | Callable[[BaseException], int]
Outcome: TypeAlias = tuple[Any, BaseException | None]


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
    text = " ".join(str(error).split())
    return f"{what} raised {type(error).__name__}" + (f": {text}" if text else "")


def level_of(optional: bool) -> int:
    """Return the level at which a failure is logged: an optional transfer may fail as a matter of course."""
    return logging.DEBUG if optional else logging.ERROR
