"""Threads for what may block: callbacks and sources.

Unlike those of ``concurrent.futures.ThreadPoolExecutor``, these threads are daemons that nothing waits for at exit: a
callback that blocks for ever must not keep the interpreter alive.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import TypeAlias

from streamcell.runtime.threads.starter import ThreadStarter
from streamcell.stats import PoolStats

Job: TypeAlias = Callable[[], None]

# How long a thread without work stays: long enough to serve the next burst, short enough to leave an idle process bare.
IDLE_S = 5.0


class WorkerPool:
    """Runs jobs in daemon threads, which start when needed and end when idle.

    Jobs start in the order of ``submit``; with one thread they also end in that order. A job that raises ends its
    thread and is reported by ``threading.excepthook``; the pool goes on.

    The bound on threads is ``max_threads``. Waiting jobs are not bounded here: whoever submits them bounds what they
    stand for (streams by credit and by the number of open ones).

    At most one thread is on its way to work at a time, and it calls for the next one before it begins, if jobs are left
    then. So a burst of short jobs is done by one or two threads, instead of waking as many as there are jobs to fight
    for the interpreter; and jobs that block do not hold up the others by more than the start of a thread each.

    Where the system refuses a thread, the jobs wait for those that there are, and for one that is asked for again and
    again.
    """

    def __init__(self, name: str, max_threads: int, starter: ThreadStarter, idle_s: float = IDLE_S) -> None:
        self._name = name
        self._starter = starter
        self._max_threads = max_threads
        self._idle_s = idle_s
        # Reentrant, because a destructor that submits may run anywhere, also in here.
        self._changed = threading.Condition(threading.RLock())
        self._jobs: collections.deque[Job] = collections.deque()
        self._threads = 0
        # Threads that wait for a job, those included that were woken for one and have not got to it.
        self._idle = 0
        # Whether a thread was woken or started and has not got to a job.
        self._coming = False
        # Whether a thread that was refused will be asked for again.
        self._retrying = False
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run ``job`` in a thread as soon as one is free. Never blocks; may be called in any thread.

        After :meth:`close` jobs still run, in threads that end at once.
        """
        with self._changed:
            self._jobs.append(job)
            if not self._call_thread():
                return
        self._start_thread()

    def close(self) -> None:
        """Let idle threads end now, and busy ones when they have done what waits. Does not wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stats(self) -> PoolStats:
        """Return the pool's figures."""
        with self._changed:
            return PoolStats(
                name=self._name,
                max_threads=self._max_threads,
                threads=self._threads,
                running=self._threads - self._idle,
                waiting=len(self._jobs),
            )

    def _call_thread(self) -> bool:
        """Get another thread to work on what waits; return True if the caller is to start one, without the lock."""
        if self._coming or not self._jobs:
            return False
        if self._idle > 0:
            self._coming = True
            self._changed.notify()
            return False
        if self._threads >= self._max_threads:
            return False
        self._coming = True
        self._threads += 1
        return True

    def _start_thread(self) -> None:
        """Start a thread that is counted already; if it is refused, it no longer is, and is asked for again later."""
        if self._starter.start(self._work, self._name):
            return
        with self._changed:
            self._threads -= 1
            self._coming = False
            retrying, self._retrying = self._retrying, True
        if not retrying:
            self._starter.again(self._retry)

    def _retry(self) -> None:
        with self._changed:
            self._retrying = False
            start = self._call_thread()
        if start:
            self._start_thread()

    def _work(self) -> None:
        self._coming = False
        try:
            while (job := self._next_job()) is not None:
                job()
                # What the job refers to must not live until the next one comes.
                del job
        except BaseException:
            self._replace_thread()
            raise

    def _next_job(self) -> Job | None:
        """Wait for a job; None when the thread is to end, which is then no longer counted."""
        with self._changed:
            while not self._jobs:
                if self._closed or not self._wait():
                    self._threads -= 1
                    return None
            job = self._jobs.popleft()
            start = self._call_thread()
        if start:
            self._start_thread()
        return job

    def _wait(self) -> bool:
        """Wait for a change; return False if none came for a while."""
        self._idle += 1
        try:
            return self._changed.wait(self._idle_s) or bool(self._jobs)
        finally:
            self._idle -= 1
            self._coming = False

    def _replace_thread(self) -> None:
        """Take a thread that a job has ended out of the count, or start another if jobs wait."""
        with self._changed:
            if not self._jobs:
                self._threads -= 1
                return
        self._start_thread()
