"""Threads for what may block: callbacks and sources.

Unlike those of ``concurrent.futures.ThreadPoolExecutor``, these threads are daemons that nothing waits for at exit: a
callback that blocks for ever must not keep the interpreter alive.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import TypeAlias

from streamcell.protocol.flow.shares import Line, Shares
from streamcell.protocol.wire.addressing import Party
from streamcell.runtime.threads.starter import ThreadStarter
from streamcell.stats import PoolStats

Job: TypeAlias = Callable[[], None]

# Of what is done for nobody else.
OWN: Party = ("", "")

# How long a thread without work stays: long enough to serve the next burst, short enough to leave an idle process bare.
IDLE_S = 5.0


class WorkerPool:
    """Runs jobs in daemon threads, which start when needed and end when idle.

    Jobs of one party start in the order of ``submit``; with one thread they also end in that order. Where several have
    jobs that wait they take turns, and who holds half of the threads gets no more of them while others wait
    (``protocol/flow/shares.py``). A job that raises ends its thread and is reported by ``threading.excepthook``; the
    pool goes on.

    The bound on threads is ``max_threads``, and ``spare_threads`` more for parties that hold few when all are taken:
    jobs may wait for ever for what another party does not do. Waiting jobs are not bounded here: whoever submits them
    bounds what they stand for (streams by credit and by the number of open ones).

    At most one thread is on its way to work at a time, and it calls for the next one before it begins, if jobs are left
    then. So a burst of short jobs is done by one or two threads, instead of waking as many as there are jobs to fight
    for the interpreter; and jobs that block do not hold up the others by more than the start of a thread each.

    Where the system refuses a thread, the jobs wait for those that there are, and for one that is asked for again and
    again.
    """

    def __init__(
        self, name: str, max_threads: int, starter: ThreadStarter, idle_s: float = IDLE_S, *, spare_threads: int = 0
    ) -> None:
        self._name = name
        self._starter = starter
        self._max_threads = max_threads
        self._most_threads = max_threads + spare_threads
        self._idle_s = idle_s
        # Reentrant, because a destructor that submits may run anywhere, also in here.
        self._lock = threading.RLock()
        # Who waits and who holds how many threads. What is submitted is put in line by who looks there next.
        self._submitted: collections.deque[tuple[Party, Job]] = collections.deque()
        self._shares = Shares(max_threads, spare_threads)
        self._line: Line[Job] = Line(self._shares)
        self._looking = False
        self._threads = 0
        # Threads that wait for a job, as the lock that each waits for. Whoever calls one takes it out and opens it.
        # Plain locks, because one may be opened in the midst of waiting for it.
        self._idle: collections.deque[threading.Lock] = collections.deque()
        # Whether a thread was woken or started and has not got to a job.
        self._coming = False
        # Whether a thread that was refused will be asked for again.
        self._retrying = False
        self._closed = False

    def submit(self, job: Job, party: Party = OWN) -> None:
        """Run ``job`` in a thread as soon as one is free for ``party``. Never blocks; may be called in any thread.

        After :meth:`close` jobs still run, in threads that end at once.
        """
        self._submitted.append((party, job))
        with self._lock:
            if not self._call_thread():
                return
        self._start_thread()

    def close(self) -> None:
        """Let idle threads end now, and busy ones when they have done what waits. Does not wait for them."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().release()

    def stats(self) -> PoolStats:
        """Return the pool's figures."""
        with self._lock:
            return PoolStats(
                name=self._name,
                max_threads=self._max_threads,
                threads=self._threads,
                running=self._threads - len(self._idle),
                waiting=len(self._submitted) + len(self._line),
            )

    # All that follows but the work itself is done with the lock.

    def _call_thread(self) -> bool:
        """Get another thread to work on what waits; return True if the caller is to start one, without the lock."""
        if self._coming or self._next_party() is None:
            return False
        if self._idle:
            self._coming = True
            self._idle.pop().release()
            return False
        if self._threads >= self._most_threads:
            return False
        self._coming = True
        self._threads += 1
        return True

    def _next_party(self) -> Party | None:
        """Return whose job may begin now; None if there is none, or if another look is under way in this thread."""
        party = None
        while not self._looking:
            self._looking = True
            while self._submitted:
                self._line.join(*self._submitted.popleft())
            party = self._line.next_party(1)
            if party is not None and not self._shares.has_room(party, 1):
                party = None
            self._looking = False
            # A destructor may have submitted in the midst of that.
            if not self._submitted:
                break
        return party

    def _take_job(self) -> tuple[Party, Job] | None:
        """Take the job that may begin now, if there is one, and count its thread."""
        party = self._next_party()
        if party is None:
            return None
        self._looking = True
        job = self._line.take(party)
        self._shares.take(party, 1)
        self._looking = False
        return party, job

    def _start_thread(self) -> None:
        """Start a thread that is counted already; if it is refused, it no longer is, and is asked for again later."""
        if self._starter.start(self._work, self._name):
            return
        with self._lock:
            self._threads -= 1
            self._coming = False
            retrying, self._retrying = self._retrying, True
        if not retrying:
            self._starter.again(self._retry)

    def _retry(self) -> None:
        with self._lock:
            self._retrying = False
            start = self._call_thread()
        if start:
            self._start_thread()

    def _work(self) -> None:
        party = None
        call = threading.Lock()
        call.acquire()
        try:
            while (taken := self._next_job(party, call)) is not None:
                party, job = taken
                # What the job refers to must not live until the next one comes.
                del taken
                job()
                del job
        except BaseException:
            self._replace_thread(party)
            raise

    def _next_job(self, done: Party | None, call: threading.Lock) -> tuple[Party, Job] | None:
        """Wait for a job; None when the thread is to end, which is then no longer counted.

        ``done``: whose job this thread has done; None: it has just been started. ``call``: what it waits at.
        """
        with self._lock:
            if done is None:
                self._coming = False
            else:
                self._give_back(done)
            is_over = False
            while (taken := self._take_job()) is None:
                if not (is_over or self._closed):
                    is_over = not self._wait(call)
                elif self._is_let_go():
                    return None
            start = self._call_thread()
        if start:
            self._start_thread()
        return taken

    def _wait(self, call: threading.Lock) -> bool:
        """Wait to be called; return False if nobody called for a while."""
        self._idle.append(call)
        # A destructor may have submitted since the last look and found nobody to call. From here on it finds this one.
        if self._next_party() is None:
            self._lock.release()
            try:
                call.acquire(timeout=self._idle_s)
            finally:
                self._lock.acquire()
        try:
            self._idle.remove(call)
        except ValueError:
            # Called, perhaps after the time was over.
            call.acquire(blocking=False)
            self._coming = False
            return True
        return False

    def _is_let_go(self) -> bool:
        """Take a thread that has nothing to do out of the count, unless there is a job after all."""
        self._threads -= 1
        # Looked at once more: a destructor that submitted before found this thread counted, and started none.
        if self._next_party() is None:
            return True
        self._threads += 1
        return False

    def _give_back(self, party: Party) -> None:
        self._looking = True
        self._shares.give_back(party, 1)
        self._looking = False

    def _replace_thread(self, party: Party | None) -> None:
        """Take a thread that a job has ended out of the count, or start another if jobs wait."""
        with self._lock:
            if party is not None:
                self._give_back(party)
            self._threads -= 1
            start = self._call_thread()
        if start:
            self._start_thread()
