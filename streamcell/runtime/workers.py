"""Threads for what may block: callbacks and sources. Imports the standard library only.

Unlike those of ``concurrent.futures.ThreadPoolExecutor``, these threads are daemons that nothing waits for at exit: a
callback that blocks for ever must not keep the interpreter alive.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable
from typing import TypeAlias

Job: TypeAlias = Callable[[], None]

# How long a thread without work stays: long enough to serve the next burst, short enough to leave an idle process bare.
IDLE_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment."""

    name: str
    max_threads: int
    threads: int
    running: int
    waiting: int


class WorkerPool:
    """Runs jobs in daemon threads, which start when needed and end when idle.

    Jobs start in the order of ``submit``; with one thread they also end in that order. A job that raises ends its
    thread and is reported by ``threading.excepthook``; the pool goes on.

    The bound on threads is ``max_threads``. Waiting jobs are not bounded here: whoever submits them bounds what they
    stand for (streams by credit and by the number of open ones).
    """

    def __init__(self, name: str, max_threads: int, idle_s: float = IDLE_S) -> None:
        self._name = name
        self._max_threads = max_threads
        self._idle_s = idle_s
        # Each entry is meant for one thread: an idle one, one being started, or, while all are busy, the next one to
        # be free (those entries are counted in _waiting). None tells a thread to end.
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # Reentrant, because a destructor that submits may run anywhere, also in here.
        self._lock = threading.RLock()
        self._threads = 0
        self._idle = 0
        self._waiting = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run ``job`` in a thread as soon as one is free. Never blocks; may be called in any thread.

        After :meth:`close` jobs still run, in threads that end at once.
        """
        with self._lock:
            self._jobs.put(job)
            if self._idle:
                self._idle -= 1
                return
            if self._threads >= self._max_threads:
                self._waiting += 1
                return
            self._threads += 1
        self._start_thread()

    def close(self) -> None:
        """Let idle threads end now, and busy ones when they have done what waits. Does not wait for them."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._jobs.put(None)
            self._idle = 0

    def stats(self) -> PoolStats:
        """Return the pool's figures."""
        with self._lock:
            return PoolStats(
                name=self._name,
                max_threads=self._max_threads,
                threads=self._threads,
                running=self._threads - self._idle,
                waiting=self._waiting,
            )

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        try:
            job = self._jobs.get()
            while job is not None:
                job()
                # What the job refers to must not live until the next one comes.
                job = None
                job = self._next_job()
        finally:
            self._leave()

    def _next_job(self) -> Job | None:
        """Wait for a job; None when the thread is to end."""
        with self._lock:
            if self._waiting:
                self._waiting -= 1
                return self._jobs.get()
            if self._closed:
                return None
            self._idle += 1
        while True:
            try:
                return self._jobs.get(timeout=self._idle_s)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._idle -= 1
                        return None

    def _leave(self) -> None:
        """Take the ending thread out of the count, or start another for a job that came meanwhile."""
        with self._lock:
            if not self._waiting:
                self._threads -= 1
                return
            self._waiting -= 1
        self._start_thread()
