"""Loggers whose records reach the application in a thread where it may block.

What hears a record belongs to the application: handlers, filters, the class of a logger, the factory of records. It may
take its time, wait for a cell, or raise. So nothing of it runs in the engine's thread: a record that is made there
waits in a queue for a thread that hands them over, in order, one after the other. It keeps its time, its thread and
its traceback. Elsewhere a record is handed over at once, by the thread that makes it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

from streamcell.whereabouts import on_engine_thread

# Most records that wait. Handlers that are slower than a cell that fails thousands of transfers lose what is beyond.
MOST_WAITING = 10_000
# Most that a stop or the exit of the process waits for what was logged before.
FLUSH_S = 1.0

_ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None] | None"

# What tells where and when a record was made.
_ORIGIN = ("created", "msecs", "relativeCreated", "thread", "threadName", "process", "processName", "taskName")


class _Record(logging.LogRecord):
    """A record as it was made, by no code but that of the standard library."""

    extra: Mapping[str, object] | None = None


class HouseLogger(logging.Logger):
    """Speaks in place of the registered logger of its name, whose level, handlers and filters count."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._heard = logging.getLogger(name)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Return whether a record may be wanted, without a lock and without running code of the application.

        A class of the application's own is asked when the record is handed over.
        """
        heard = self._heard
        kind = type(heard)
        if kind.isEnabledFor is not logging.Logger.isEnabledFor:
            return True
        if heard.disabled or heard.manager.disable >= level:
            return False
        each: logging.Logger | None = heard
        while each is not None:
            if each.level:
                return level >= each.level
            each = each.parent
        return True

    def makeRecord(  # noqa: N802
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: _ExcInfo,
        func: str | None = None,
        extra: Mapping[str, object] | None = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        """Return what is needed to have the registered logger make the record, later perhaps."""
        record = _Record(name, level, fn, lno, msg, args, exc_info, func, sinfo)
        record.extra = extra
        return record

    def handle(self, record: logging.LogRecord) -> None:
        """Hand the record over, or have it handed over."""
        defer(_deliver, self._heard, record)


class Backlog:
    """Calls that wait for a thread of their own, which makes them in order.

    The thread is a daemon, starts with the first call and stays. Where it cannot be started it is tried again with the
    next call.

    Args:
        most_waiting: calls beyond that are dropped, which the log then says.
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        # Reentrant, as a destructor may run anywhere.
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        # Written by those who add, and by the thread.
        self._dropped = 0
        self._told = 0

    def add(self, call: Callable[[], object]) -> None:
        """Have ``call`` made. Never blocks; any thread."""
        if self._calls.qsize() >= self._most_waiting:
            self._dropped += 1
            return
        self._calls.put(call)
        self._ensure_thread()

    def begin_flush(self) -> concurrent.futures.Future[None]:
        """Return a future that settles when all that was added before is done. At once in a call that is made here."""
        flushed: concurrent.futures.Future[None] = concurrent.futures.Future()
        if threading.current_thread() is self._thread or (self._thread is None and self._calls.empty()):
            flushed.set_result(None)
        else:
            self._calls.put(functools.partial(_settle, flushed))
            self._ensure_thread()
        return flushed

    def _ensure_thread(self) -> None:
        thread = self._thread
        if (thread is not None and thread.is_alive()) or not self._starting.acquire(blocking=False):
            return
        try:
            thread = threading.Thread(target=self._work, name="streamcell-log", daemon=True)
            # Refused by the system: the next call tries again.
            with contextlib.suppress(RuntimeError, MemoryError):
                thread.start()
                self._thread = thread
        finally:
            self._starting.release()

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            call()
            # What the record refers to must not live until the next one comes.
            del call
            if self._dropped != self._told:
                self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped, self._told = self._dropped - self._told, self._dropped
        get_logger("streamcell.engine").warning(
            "the handlers of the log are slower than the records come: %d records are lost", dropped
        )


_backlog = Backlog()


def get_logger(name: str) -> logging.Logger:
    """Return what logs in the name of a registered logger, and may be used in every thread."""
    return HouseLogger(name)


def defer(function: Callable[..., object], *args: Any) -> None:
    """Call ``function(*args)``, which runs code of the application: here, or soon if this is the engine's thread."""
    if on_engine_thread():
        _backlog.add(functools.partial(function, *args))
    else:
        function(*args)


def begin_flush() -> concurrent.futures.Future[None]:
    """Return a future that settles when all that was logged before has reached the handlers."""
    return _backlog.begin_flush()


def flush(timeout_s: float = FLUSH_S) -> None:
    """Wait until what was logged before has reached the handlers, for up to ``timeout_s``."""
    with contextlib.suppress(TimeoutError):
        begin_flush().result(timeout_s)


class _Elsewhere(logging.Filter):
    """Takes what others log in the engine's thread out of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass, unless this is the engine's thread: then it comes again in another."""
        if not on_engine_thread():
            return True
        defer(_hand_over, logging.getLogger(record.name), record)
        return False


_elsewhere = _Elsewhere()


def move_elsewhere(*names: str) -> None:
    """Have what these loggers of other packages say in the engine's thread reach their handlers in another one."""
    for name in names:
        logging.getLogger(name).addFilter(_elsewhere)


def _deliver(heard: logging.Logger, made: _Record) -> None:
    """Have the application's logger make and handle a record that was made for it."""
    _guarded(_pass_on, heard, made)


def _hand_over(heard: logging.Logger, record: logging.LogRecord) -> None:
    """Have the application's logger handle a record that it made itself."""
    _guarded(heard.handle, record)


def _pass_on(heard: logging.Logger, made: _Record) -> None:
    if not heard.isEnabledFor(made.levelno):
        return
    # The types of the standard library know no exc_info without an exception.
    exc_info: Any = made.exc_info
    record = heard.makeRecord(
        made.name,
        made.levelno,
        made.pathname,
        made.lineno,
        made.msg,
        made.args or (),
        exc_info,
        made.funcName,
        made.extra,
        made.stack_info,
    )
    for name in _ORIGIN:
        if hasattr(made, name):
            setattr(record, name, getattr(made, name))
    heard.handle(record)


def _guarded(function: Callable[..., object], *args: Any) -> None:
    """Call what runs the application's handlers and filters. What they raise is shown, as ``logging`` itself does."""
    try:
        function(*args)
    except Exception:  # noqa: BLE001
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()


def _settle(future: concurrent.futures.Future[None]) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        future.set_result(None)
