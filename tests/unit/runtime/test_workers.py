import queue
import threading
from collections.abc import Callable

import pytest

from streamcell.runtime.workers import WorkerPool
from tests.timing import scaled


class Gate:
    """A job that says when it runs and then waits."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        self.open.wait(scaled(10))


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for what no event announces: the end of a thread."""
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    pytest.fail("the condition did not come true")


def test_nothing_starts_before_the_first_job() -> None:
    assert WorkerPool("idle", 4).stats().threads == 0


def test_jobs_run_in_daemon_threads_named_after_the_pool() -> None:
    pool = WorkerPool("readers", 1)
    seen: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    pool.submit(lambda: seen.put(threading.current_thread()))
    thread = seen.get(timeout=scaled(5))
    assert (thread.daemon, thread.name) == (True, "readers")
    pool.close()


def test_one_thread_keeps_the_order_of_jobs() -> None:
    pool = WorkerPool("one", 1)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(100):
        pool.submit(lambda number=number: done.put(number))  # type: ignore[misc]
    assert [done.get(timeout=scaled(5)) for _ in range(100)] == list(range(100))
    pool.close()


def test_threads_are_bounded_and_further_jobs_wait() -> None:
    pool = WorkerPool("two", 2)
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        pool.submit(gate)
    assert gates[0].entered.wait(scaled(5))
    assert gates[1].entered.wait(scaled(5))
    stats = pool.stats()
    assert (stats.threads, stats.running, stats.waiting) == (2, 2, 1)
    assert not gates[2].entered.is_set()
    gates[0].open.set()
    assert gates[2].entered.wait(scaled(5))
    gates[1].open.set()
    gates[2].open.set()
    pool.close()


def test_an_idle_thread_is_used_again() -> None:
    pool = WorkerPool("again", 8)
    idents: queue.SimpleQueue[int] = queue.SimpleQueue()
    seen = set()
    for _ in range(20):
        pool.submit(lambda: idents.put(threading.get_ident()))
        seen.add(idents.get(timeout=scaled(5)))
        wait_until(lambda: pool.stats().running == 0)
    assert len(seen) == 1
    pool.close()


def test_idle_threads_end() -> None:
    pool = WorkerPool("short", 4, idle_s=0.01)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(scaled(5))
    wait_until(lambda: pool.stats().threads == 0)
    again = threading.Event()
    pool.submit(again.set)
    assert again.wait(scaled(5))


def test_close_ends_idle_threads_and_lets_waiting_jobs_run() -> None:
    pool = WorkerPool("closing", 1, idle_s=scaled(60))
    gate, last = Gate(), threading.Event()
    pool.submit(gate)
    pool.submit(last.set)
    pool.close()
    gate.open.set()
    assert last.wait(scaled(5))
    wait_until(lambda: pool.stats().threads == 0)


def test_a_job_may_be_submitted_after_close() -> None:
    pool = WorkerPool("closed", 1)
    pool.close()
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(scaled(5))
    wait_until(lambda: pool.stats().threads == 0)


def test_a_job_that_raises_is_reported_and_the_pool_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: queue.SimpleQueue[threading.ExceptHookArgs] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reported.put)
    pool = WorkerPool("robust", 1)
    done = threading.Event()
    gate = Gate()

    def fail() -> None:
        gate()
        raise LookupError("broken")

    pool.submit(fail)
    pool.submit(done.set)
    gate.open.set()
    assert done.wait(scaled(5))
    assert reported.get(timeout=scaled(5)).exc_type is LookupError
    pool.close()


def test_jobs_are_neither_lost_nor_repeated_while_threads_come_and_go() -> None:
    pool = WorkerPool("churn", 3, idle_s=0.0001)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def submit(start: int) -> None:
        for number in range(start, start + 500):
            pool.submit(lambda number=number: done.put(number))  # type: ignore[misc]

    threads = [threading.Thread(target=submit, args=(start,)) for start in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    numbers = [done.get(timeout=scaled(10)) for _ in range(2000)]
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(2000))
    wait_until(lambda: pool.stats().threads == 0)
    assert pool.stats().waiting == 0
