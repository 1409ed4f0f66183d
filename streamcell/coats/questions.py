"""What a cell can be asked of itself and of the network: declared and explained once for both coats.

Each is written as a method that returns a future of the answer. :func:`answered` and :func:`awaited` make the methods
of the two coats of it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from streamcell.errors import UsageError
from streamcell.fqcn import check_fqcn
from streamcell.limits import FQCN_BYTES
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.sending.specs import check_timeout
from streamcell.runtime.threads.waiting import check_may_wait
from streamcell.stats import RunningStats
from streamcell.topology import CellSelection, Hop, KnownCells
from streamcell.transport.address import as_urls

P = ParamSpec("P")
T = TypeVar("T")

# How long the cells of the network may take to answer a question about it.
ANSWER_S = 5.0


class Coat(Protocol):
    """A cell of one of the two coats, as the package itself sees it."""

    @property
    def __streamcell__(self) -> CellRunner:
        """What it is a coat of."""


def answered(ask: Callable[Concatenate[Coat, P], concurrent.futures.Future[T]]) -> Callable[Concatenate[Coat, P], T]:
    """Return a method for threads: it asks, waits, and returns the answer."""

    @functools.wraps(ask)
    def method(cell: Coat, /, *args: P.args, **kwargs: P.kwargs) -> T:
        check_may_wait()
        return ask(cell, *args, **kwargs).result()

    return method


def awaited(
    ask: Callable[Concatenate[Coat, P], concurrent.futures.Future[T]],
) -> Callable[Concatenate[Coat, P], Coroutine[Any, Any, T]]:
    """Return a method for event loops: a coroutine function that asks, and returns the answer."""

    @functools.wraps(ask)
    async def method(cell: Coat, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(ask(cell, *args, **kwargs))

    return method


def is_cell_connected(self: Coat, name: str) -> concurrent.futures.Future[bool]:
    """Return whether there is a link between this cell and that one that works."""
    check_fqcn(name)
    return self.__streamcell__.ask(lambda life, _now: life.core.is_cell_connected(name))


def is_cell_reachable(self: Coat, name: str) -> concurrent.futures.Future[bool]:
    """Return whether there is a way to that cell, as far as is known here."""
    check_fqcn(name)
    return self.__streamcell__.ask(lambda life, _now: life.core.is_cell_reachable(name))


def disconnect(self: Coat, url: str | Iterable[str]) -> concurrent.futures.Future[bool]:
    """End the peer link that :meth:`connect` has made with the same argument; return whether there was one."""
    urls = as_urls(url, "url")
    return self.__streamcell__.ask(lambda life, now: life.peers.disconnect(urls, now))


def cells(  # noqa: D417
    self: Coat, timeout: float = ANSWER_S, *, prefix: str = "", limit: int = 0, after: str = ""
) -> concurrent.futures.Future[KnownCells]:
    """Return the cells of the tree, this one included, by name; and the peers.

    The root of the tree is asked, since every cell is announced up to it. While the way up is broken, it is the
    cells below the break and the one just above it; here, where there is no uplink.

    A large tree is told in pages: ``cells(limit=500)``, then ``cells(limit=500, after=page[-1].fqcn)``, until one is
    empty; ``total`` says how many cells there are in all.

    Args:
        timeout: seconds to wait for the answer.
        prefix: tell only cells whose names begin with this, as in ``"site-1."``.
        limit: tell at most so many, the first by name in the order of bytes; 0: all.
        after: tell only those behind this name.

    Returns:
        A list with two attributes more: ``total`` is the number of cells with that prefix, ``told_by`` the cell that
        has told.

    Raises:
        StreamError: no answer in time (code TIMEOUT).
        UsageError: the cell is not running, or an argument is none that can be.
    """
    timeout_s = check_timeout(timeout, "timeout", ANSWER_S)
    selection = _selection(prefix, limit, after)
    return self.__streamcell__.ask_later(
        lambda life, answer, now: life.questions.ask_cells(answer, timeout_s, selection, now)
    )


def trace(self: Coat, target: str, timeout: float = ANSWER_S) -> concurrent.futures.Future[list[Hop]]:  # noqa: D417
    """Return the hops on the way to a cell, the nearest first and the cell itself last; empty for this cell.

    Args:
        target: the name of the cell.
        timeout: seconds to wait for all answers.

    Raises:
        StreamTargetUnreachable: a cell on the way knows no way to it; it is named.
        StreamError: a cell on the way did not answer in time (code TIMEOUT).
        UsageError: the cell is not running, or the name is none.
    """
    timeout_s = check_timeout(timeout, "timeout", ANSWER_S)
    check_fqcn(target)
    return self.__streamcell__.ask_later(
        lambda life, answer, now: life.questions.ask_trace(answer, target, timeout_s, now)
    )


def reload_security(self: Coat) -> concurrent.futures.Future[None]:
    """Read the certificates and the policy's file again now, if there are any.

    For certificates that happens by itself every ``check_interval_s``. They count from the next connection on;
    connections of cells that are not believed any more end. The policy counts at once: links and streams that it does
    not allow any more end.

    Raises:
        AuthenticationError: the certificates cannot be used; those of before stay in use.
        UsageError: the policy cannot be used, and that of before stays in use; or the cell is not running.
    """
    return self.__streamcell__.ask_later(lambda life, answer, _now: life.security.reload(answer, life))


def stats(self: Coat) -> concurrent.futures.Future[RunningStats]:
    """Return a snapshot of links, transfers, threads and counts."""
    return self.__streamcell__.ask(lambda life, _now: life.stats())


def _selection(prefix: object, limit: object, after: object) -> CellSelection:
    """Return what is asked for.

    :raises UsageError: if it is no such thing.
    """
    for what, name in (("prefix", prefix), ("after", after)):
        if not isinstance(name, str) or len(name) > FQCN_BYTES or not name.isascii():
            raise UsageError(f"{what} must be a name of a cell or the beginning of one, not {name!r:.100}")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit < 2**32:
        raise UsageError(f"limit must be a number of cells, 0 for all, not {limit!r:.100}")
    return CellSelection(str(prefix), limit, str(after))
