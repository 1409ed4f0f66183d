import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from streamcell import CellError, ErrorCode, UsageError
from streamcell.runtime.engine.stepper import Stepper
from streamcell.runtime.threads.trace import cell_log
from streamcell.runtime.transfers import OpenFutures
from tests.kit.timing import scaled


class Core:
    """The part of a core that a stepper needs, which does what the test says."""

    def __init__(self) -> None:
        self.events: deque[object] = deque()
        self.ready: list[int] = []
        self.deadline: float | None = None
        self.expired: list[float] = []
        self.on_timeout: Callable[[], None] = lambda: None

    def next_event(self) -> object | None:
        return self.events.popleft() if self.events else None

    def take_ready_lanes(self) -> list[int]:
        ready, self.ready = self.ready, []
        return ready

    def next_deadline(self) -> float | None:
        return self.deadline

    def handle_timeout(self, now: float) -> None:
        self.expired.append(now)
        self.deadline = None
        self.on_timeout()


class Engine:
    """The loop of the test as an engine."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.usable = True
        self.wakes = 0

    def wake(self, callback: Callable[[], object]) -> bool:
        self.wakes += 1
        self.loop.call_soon_threadsafe(callback)
        return True


class Cell:
    """A stepper and all around it."""

    def __init__(self) -> None:
        self.core = Core()
        self.engine = Engine()
        self.futures = OpenFutures()
        self.broken: list[CellError] = []
        self.breaking = asyncio.Event()
        self.woken: list[int] = []
        self.handled: list[object] = []
        self.now = 100.0
        self.stepper = Stepper(
            self.core,
            self.engine,
            lambda: self.now,
            self.futures,
            cell_log("site-1"),
            self.note_broken,
        )
        self.told: list[float] = []
        self.stepper.connect({str: self.note_event}, self.woken.extend)

    def note_event(self, event: object, now: float) -> None:
        self.handled.append(event)
        self.told.append(now)

    def note_broken(self, error: CellError) -> None:
        self.broken.append(error)
        self.breaking.set()


def in_loop(test: Callable[[Cell], Any]) -> None:
    async def run() -> None:
        await asyncio.wait_for(test(Cell()), scaled(10))

    asyncio.run(run())


def test_a_step_calls_with_the_time_and_hands_out_what_follows() -> None:
    async def check(cell: Cell) -> None:
        def verb(number: int, now: float) -> float:
            cell.core.events.extend(["first", "second"])
            cell.core.ready = [3, 5]
            return number + now

        assert cell.stepper.step(verb, 1) == 101
        assert cell.handled == ["first", "second"]
        assert cell.woken == [3, 5]

    in_loop(check)


def test_events_that_follow_from_events_are_handled_too() -> None:
    async def check(cell: Cell) -> None:
        def handle(event: str, _now: float) -> None:
            cell.handled.append(event)
            if event == "first":
                cell.core.events.append("second")

        cell.stepper.connect({str: handle}, cell.woken.extend)
        cell.stepper.step(lambda now: cell.core.events.append("first"))
        assert cell.handled == ["first", "second"]

    in_loop(check)


def test_intents_of_threads_run_in_order_with_one_wake_for_many() -> None:
    async def check(cell: Cell) -> None:
        done = asyncio.Event()
        seen: list[int] = []

        def see(number: int, _now: float) -> None:
            seen.append(number)

        def post() -> None:
            for number in range(1000):
                assert cell.stepper.post(see, number)
            cell.stepper.post(lambda now: done.set())

        thread = threading.Thread(target=post)
        thread.start()
        thread.join()
        await done.wait()
        assert seen == list(range(1000))
        assert cell.engine.wakes == 1

    in_loop(check)


def test_all_that_happens_in_a_step_gets_the_time_at_which_it_began() -> None:
    async def check(cell: Cell) -> None:
        told: list[tuple[str, float]] = []

        def intend(what: str, now: float) -> None:
            told.append((what, now))
            # Time passes while the step runs.
            cell.now += 1

        cell.stepper.leave(intend, "left")
        cell.stepper.post(intend, "posted")
        answer = cell.stepper.ask(lambda now: now)
        cell.core.events.append("event")
        cell.stepper.step(intend, "verb")
        assert told == [("left", 100), ("posted", 100), ("verb", 100)]
        assert answer.result(0) == 100
        assert cell.told == [100]
        assert cell.stepper.step(lambda now: now) == 103

    in_loop(check)


def test_a_question_gets_its_answer_or_the_error() -> None:
    async def check(cell: Cell) -> None:
        def refuse(_now: float) -> None:
            raise UsageError("not so")

        assert await asyncio.wrap_future(cell.stepper.ask(lambda now: 5)) == 5
        with pytest.raises(UsageError, match="not so"):
            await asyncio.wrap_future(cell.stepper.ask(refuse))
        assert cell.broken == []

    in_loop(check)


def test_nothing_is_taken_after_the_end() -> None:
    async def check(cell: Cell) -> None:
        cell.stepper.end()
        assert not cell.stepper.post(lambda now: None)
        with pytest.raises(CellError, match="has been stopped"):
            cell.stepper.ask(lambda now: 5).result(0)

    in_loop(check)


def test_nothing_is_taken_without_an_engine() -> None:
    async def check(cell: Cell) -> None:
        cell.engine.usable = False
        assert not cell.stepper.post(lambda now: None)

    in_loop(check)


def test_the_timer_fires_at_the_deadline() -> None:
    async def check(cell: Cell) -> None:
        fired = asyncio.Event()
        cell.core.on_timeout = fired.set
        cell.core.deadline = 100.0
        cell.stepper.step(lambda now: None)
        await fired.wait()
        assert cell.core.expired == [100.0]

    in_loop(check)


def test_the_timer_follows_a_deadline_that_comes_closer() -> None:
    async def check(cell: Cell) -> None:
        fired = asyncio.Event()
        cell.core.on_timeout = fired.set
        cell.core.deadline = 100_000.0
        cell.stepper.step(lambda now: None)
        cell.core.deadline = 100.0
        cell.stepper.step(lambda now: None)
        await fired.wait()

    in_loop(check)


def test_the_timer_fires_again_for_a_deadline_that_moved_away() -> None:
    async def check(cell: Cell) -> None:
        fired = asyncio.Event()
        cell.core.on_timeout = fired.set
        cell.core.deadline = 100.01
        cell.stepper.step(lambda now: None)
        cell.core.deadline = 100.02
        # The timer is not moved; when it fires early it is armed again. Time has passed by then.
        cell.stepper.watch(lambda: setattr(cell, "now", 100.02))
        await fired.wait()
        assert cell.core.expired == [100.02]

    in_loop(check)


def fail(*_: object) -> None:
    raise LookupError("a bug")


async def break_in_verb(cell: Cell) -> None:
    assert cell.stepper.step(fail) is None


async def break_in_handler(cell: Cell) -> None:
    cell.stepper.connect({str: fail}, cell.woken.extend)
    assert cell.stepper.step(lambda now: cell.core.events.append("event")) is None


async def break_in_intent(cell: Cell) -> None:
    cell.stepper.post(fail)
    await cell.breaking.wait()


async def break_in_timer(cell: Cell) -> None:
    cell.core.on_timeout = fail
    cell.core.deadline = 100.0
    cell.stepper.step(lambda now: None)
    await cell.breaking.wait()


async def break_in_task(cell: Cell) -> None:
    async def lane() -> None:
        fail()

    task = asyncio.ensure_future(lane())
    task.add_done_callback(cell.stepper.on_task_done)
    await cell.breaking.wait()


@pytest.mark.parametrize("breaks", [break_in_verb, break_in_handler, break_in_intent, break_in_timer, break_in_task])
def test_a_bug_ends_the_cell_once_and_loudly(breaks: Callable[[Cell], Any], caplog: pytest.LogCaptureFixture) -> None:
    async def check(cell: Cell) -> None:
        await breaks(cell)
        (error,) = cell.broken
        assert error.code is ErrorCode.INTERNAL
        assert "LookupError: a bug" in str(error)
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[0] is LookupError
        # The core is never called again.
        assert cell.stepper.step(lambda now: 5) is None
        assert not cell.stepper.post(lambda now: None)
        assert len(cell.broken) == 1

    in_loop(check)


def test_a_cancelled_task_is_no_bug() -> None:
    async def check(cell: Cell) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.add_done_callback(cell.stepper.on_task_done)  # type: ignore[arg-type]
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert cell.broken == []

    in_loop(check)


def test_open_questions_fail_with_the_cell() -> None:
    async def check(cell: Cell) -> None:
        waiting: concurrent.futures.Future[Any] = cell.stepper.ask(lambda now: 5)
        cell.futures.close(CellError("ended"))
        with pytest.raises(CellError, match="ended"):
            waiting.result(0)

    in_loop(check)
