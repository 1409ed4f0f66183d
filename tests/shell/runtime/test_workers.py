import gc
import logging
import queue
import threading
from collections.abc import Callable

import pytest

from streamcell.protocol.wire.addressing import Party
from streamcell.runtime.threads.starter import ThreadStarter
from streamcell.runtime.threads.workers import WorkerPool
from tests.kit.timing import scaled
from tests.kit.waiting import eventually, wait_for
from tests.shell.runtime.starters import STARTER


class Gate:
    """A job that says when it runs and then waits."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        self.open.wait(scaled(10))


def test_nothing_starts_before_the_first_job() -> None:
    assert WorkerPool("idle", 4, STARTER).stats().threads == 0


def test_jobs_run_in_daemon_threads_named_after_the_pool() -> None:
    pool = WorkerPool("readers", 1, STARTER)
    seen: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    pool.submit(lambda: seen.put(threading.current_thread()))
    thread = seen.get(timeout=scaled(5))
    assert (thread.daemon, thread.name) == (True, "readers")
    pool.close()


def test_one_thread_keeps_the_order_of_jobs() -> None:
    pool = WorkerPool("one", 1, STARTER)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(100):
        pool.submit(lambda number=number: done.put(number))  # type: ignore[misc]
    assert [done.get(timeout=scaled(5)) for _ in range(100)] == list(range(100))
    pool.close()


def test_threads_are_bounded_and_further_jobs_wait() -> None:
    pool = WorkerPool("two", 2, STARTER)
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
    pool = WorkerPool("again", 8, STARTER)
    idents: queue.SimpleQueue[int] = queue.SimpleQueue()
    seen = set()
    for _ in range(20):
        pool.submit(lambda: idents.put(threading.get_ident()))
        seen.add(idents.get(timeout=scaled(5)))
        eventually(lambda: pool.stats().running == 0)
    assert len(seen) == 1
    pool.close()


def test_idle_threads_end() -> None:
    pool = WorkerPool("short", 4, STARTER, idle_s=0.01)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(scaled(5))
    eventually(lambda: pool.stats().threads == 0)
    again = threading.Event()
    pool.submit(again.set)
    assert again.wait(scaled(5))


def test_close_ends_idle_threads_and_lets_waiting_jobs_run() -> None:
    pool = WorkerPool("closing", 1, STARTER, idle_s=scaled(60))
    gate, last = Gate(), threading.Event()
    pool.submit(gate)
    pool.submit(last.set)
    pool.close()
    gate.open.set()
    assert last.wait(scaled(5))
    eventually(lambda: pool.stats().threads == 0)


def test_a_job_may_be_submitted_after_close() -> None:
    pool = WorkerPool("closed", 1, STARTER)
    pool.close()
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(scaled(5))
    eventually(lambda: pool.stats().threads == 0)


def test_a_job_that_raises_is_reported_and_the_pool_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: queue.SimpleQueue[threading.ExceptHookArgs] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reported.put)
    pool = WorkerPool("robust", 1, STARTER)
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
    pool = WorkerPool("churn", 3, STARTER, idle_s=0.0001)
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
    eventually(lambda: pool.stats().threads == 0)
    assert pool.stats().waiting == 0


class Refusing:
    """Stands in for ``Thread.start``: refuses as long as it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refusing = True
        really_start = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if self.refusing:
                raise RuntimeError("can't start new thread")
            really_start(thread)

        patch.setattr(threading.Thread, "start", start)


def test_a_job_whose_thread_is_refused_waits_for_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "refusals")
    attempts: list[Callable[[], None]] = []
    pool = WorkerPool("refused", 1, ThreadStarter(attempts.append, logging.getLogger("refusals")))
    refusing = Refusing(monkeypatch)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    pool.submit(lambda: done.put(1))
    pool.submit(lambda: done.put(2))
    attempts.pop()()
    assert (pool.stats().threads, pool.stats().waiting, len(attempts)) == (0, 2, 1)
    refusing.refusing = False
    attempts.pop()()
    assert [done.get(timeout=scaled(5)) for _ in range(2)] == [1, 2]
    assert attempts == []
    pool.close()
    refused, over = (record.getMessage() for record in caplog.records)
    assert refused == "the system refuses a thread (can't start new thread): what needs one waits until it can be had"
    assert over == "threads can be had again"


def test_where_a_further_thread_is_refused_the_jobs_wait_for_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[Callable[[], None]] = []
    pool = WorkerPool("few", 4, ThreadStarter(attempts.append, logging.getLogger("refusals")))
    gate = Gate()
    pool.submit(gate)
    assert gate.entered.wait(scaled(5))
    Refusing(monkeypatch)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(3):
        pool.submit(lambda number=number: done.put(number))  # type: ignore[misc]
    gate.open.set()
    assert [done.get(timeout=scaled(5)) for _ in range(3)] == [0, 1, 2]
    pool.close()


def test_a_thread_that_a_job_has_ended_is_replaced_when_one_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    attempts: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    pool = WorkerPool("robust", 1, ThreadStarter(attempts.put, logging.getLogger("refusals")))
    gate = Gate()

    def fail() -> None:
        gate()
        raise ValueError

    pool.submit(fail)
    assert gate.entered.wait(scaled(5))
    done = threading.Event()
    pool.submit(done.set)
    refusing = Refusing(monkeypatch)
    gate.open.set()
    attempt = attempts.get(timeout=scaled(5))
    refusing.refusing = False
    attempt()
    assert done.wait(scaled(5))
    pool.close()


def busy(pool: WorkerPool, count: int, party: Party) -> list[Gate]:
    """Have a party hold as many threads as it gets for so many jobs that block."""
    gates = [Gate() for _ in range(count)]
    for gate in gates:
        pool.submit(gate, party)
    return gates


def entered(gates: list[Gate]) -> int:
    return sum(gate.entered.is_set() for gate in gates)


def test_a_party_alone_gets_all_threads_and_those_that_come_late_the_spare_ones() -> None:
    pool = WorkerPool("fair", 8, STARTER, spare_threads=4)
    flood = busy(pool, 20, ("flood", "flood"))
    eventually(lambda: entered(flood) == 8)
    late = busy(pool, 20, ("late", "late"))
    eventually(lambda: entered(late) == 2)
    later = busy(pool, 20, ("later", "later"))
    eventually(lambda: entered(later) == 1)
    assert (entered(flood), entered(late), pool.stats().running) == (8, 2, 11)
    for gate in [*late, *later, *flood]:
        gate.open.set()
    eventually(lambda: entered([*flood, *late, *later]) == 60)
    eventually(lambda: pool.stats().running == 0)
    assert pool.stats().waiting == 0
    pool.close()


def test_threads_that_come_free_go_to_who_holds_less_than_half() -> None:
    pool = WorkerPool("half", 4, STARTER)
    flood = busy(pool, 20, ("flood", "flood"))
    eventually(lambda: entered(flood) == 4)
    late = busy(pool, 20, ("late", "late"))
    for number in range(1, 3):
        flood[number - 1].open.set()
        eventually(lambda number=number: entered(late) == number)  # type: ignore[misc]
    flood[2].open.set()
    eventually(lambda: entered([*flood, *late]) == 7)
    assert (entered(flood), entered(late)) == (5, 2)
    for gate in [*late, *flood]:
        gate.open.set()
    eventually(lambda: pool.stats().running == 0)
    pool.close()


def test_parties_take_turns() -> None:
    pool = WorkerPool("turns", 1, STARTER)
    (gate,) = busy(pool, 1, ("first", "first"))
    assert gate.entered.wait(scaled(5))
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name, count in (("a", 4), ("b", 2)):
        for _ in range(count):
            pool.submit(lambda name=name: done.put(name), (name, name))  # type: ignore[misc]
    gate.open.set()
    assert [done.get(timeout=scaled(5)) for _ in range(6)] == ["a", "b", "a", "b", "a", "a"]
    pool.close()


def test_a_thread_that_a_job_has_ended_is_not_held_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: queue.SimpleQueue[threading.ExceptHookArgs] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", reported.put)
    pool = WorkerPool("robust", 2, STARTER)

    def fail() -> None:
        raise LookupError("broken")

    for _ in range(10):
        pool.submit(fail, ("a", "a"))
    for _ in range(10):
        assert reported.get(timeout=scaled(5)).exc_type is LookupError
    gates = busy(pool, 2, ("a", "a"))
    eventually(lambda: entered(gates) == 2)
    for gate in gates:
        gate.open.set()
    pool.close()


def test_a_destructor_may_submit_in_the_midst_of_anything() -> None:
    """As one does that settles a future, whose callbacks then run in a pool."""
    pool = WorkerPool("reentrant", 4, STARTER, spare_threads=2)
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Dropped:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            pool.submit(lambda: done.put(1), ("b", "b"))

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(300):
            Dropped()
            pool.submit(lambda: done.put(1), ("a", "a"))
    finally:
        gc.set_threshold(*thresholds)

    def all_are_done() -> bool:
        # Again and again, because a collection does nothing while another thread is at one.
        gc.collect()
        return done.qsize() == 600

    eventually(all_are_done)
    eventually(lambda: pool.stats().running == 0)
    assert pool.stats().waiting == 0
    pool.close()


@pytest.mark.parametrize("idle_s", [scaled(60.0), 0.0], ids=["idle threads stay", "idle threads end"])
def test_a_destructor_may_submit_at_every_point_of_a_thread(idle_s: float) -> None:
    """What is submitted there begins, although all threads are taken, and the one it is submitted in looks for work."""

    def submit_at(point: int) -> bool:
        """Submit at this point, where a destructor could run; return False if a thread does not come so far."""
        points = 0
        pool = WorkerPool("reentrant", 1, STARTER, idle_s=idle_s)
        first, second = threading.Event(), threading.Event()

        def pass_point(*_: object) -> None:
            nonlocal points
            points += 1
            if points == point:
                pool.submit(second.set)

        threading.setprofile(pass_point)
        try:
            pool.submit(first.set)
            wait_for(first)
        finally:
            threading.setprofile(None)
        eventually(lambda: pool.stats().running == 0)
        reached = points >= point
        if reached:
            wait_for(second)
        pool.close()
        return reached

    point = 1
    while submit_at(point):
        point += 1
    assert point > 20
