import functools
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from streamcell.errors import UsageError
from streamcell.logs import Backlog, begin_flush, defer, flush, get_logger, move_elsewhere
from streamcell.runtime.threads.waiting import check_may_wait
from streamcell.whereabouts import enter_engine_thread, on_engine_thread
from tests.kit.timing import scaled

PATIENCE_S = scaled(20.0)


def as_the_engine(act: Callable[[], object]) -> None:
    """Do something in a thread that counts as the engine's."""

    def run() -> None:
        enter_engine_thread()
        act()

    thread = threading.Thread(target=run, name="the-engine")
    thread.start()
    thread.join(PATIENCE_S)


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.append(threading.current_thread().name)


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    logger = logging.getLogger("streamcell.of-a-test")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.disabled = False


def test_threads_know_whether_they_are_the_engines() -> None:
    seen: list[bool] = []
    as_the_engine(lambda: seen.append(on_engine_thread()))
    assert (seen, on_engine_thread()) == ([True], False)


def test_waiting_is_refused_to_the_engine_only() -> None:
    check_may_wait()
    raised: list[str] = []

    def wait() -> None:
        acts: list[Callable[[], object]] = [lambda: check_may_wait("it is begun; "), check_may_wait]
        for act in acts:
            try:
                act()
            except UsageError as error:
                raised.append(str(error))

    as_the_engine(wait)
    assert raised[0] == f"it is begun; {raised[1]}"
    check_may_wait()


def test_record_of_another_thread_is_handed_over_at_once(heard: Heard) -> None:
    get_logger("streamcell.of-a-test").warning("%s", "one", extra={"cell": "here"})
    (record,) = heard.records
    assert (record.getMessage(), vars(record)["cell"]) == ("one", "here")
    assert heard.threads == [threading.current_thread().name]


def test_record_of_the_engine_keeps_where_it_was_made(heard: Heard) -> None:
    def fail() -> None:
        try:
            raise LookupError("lost")
        except LookupError:
            get_logger("streamcell.of-a-test").exception("failed")

    as_the_engine(fail)
    flush(PATIENCE_S)
    (record,) = heard.records
    assert (record.threadName, record.funcName, record.filename) == ("the-engine", "fail", "test_logs.py")
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError
    assert heard.threads == ["streamcell-log"]


def test_level_of_the_registered_logger_counts(heard: Heard) -> None:
    logger, registered = get_logger("streamcell.of-a-test"), logging.getLogger("streamcell.of-a-test")
    registered.setLevel(logging.ERROR)
    logger.warning("too low")
    registered.setLevel(logging.DEBUG)
    logging.disable(logging.WARNING)
    try:
        logger.warning("disabled for all")
    finally:
        logging.disable(logging.NOTSET)
    registered.disabled = True
    logger.error("disabled")
    registered.disabled = False
    logger.debug("heard")
    assert [record.getMessage() for record in heard.records] == ["heard"]


def test_logger_without_any_level_hears_all() -> None:
    logger, root = get_logger("streamcell.of-a-test"), logging.getLogger()
    before = root.level
    root.setLevel(logging.NOTSET)
    try:
        assert logger.isEnabledFor(1)
    finally:
        root.setLevel(before)


def test_class_of_the_application_is_asked_when_the_record_is_handed_over() -> None:
    asked: list[str] = []

    class Choosy(logging.Logger):
        def isEnabledFor(self, level: int) -> bool:  # noqa: N802
            asked.append(threading.current_thread().name)
            return False

    before = logging.getLoggerClass()
    logging.setLoggerClass(Choosy)
    try:
        logger = get_logger("streamcell.of-a-choosy-test")
    finally:
        logging.setLoggerClass(before)
    as_the_engine(lambda: logger.error("not wanted"))
    flush(PATIENCE_S)
    assert asked == ["streamcell-log"]


@pytest.mark.parametrize("shown", [True, False])
def test_what_a_handler_raises_is_shown_as_logging_does(
    heard: Heard, shown: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", shown)
    monkeypatch.setattr(heard, "emit", lambda record: 1 // 0)
    get_logger("streamcell.of-a-test").error("failed")
    assert ("ZeroDivisionError" in capsys.readouterr().err) is shown


def test_what_other_packages_log_on_the_engine_is_heard_elsewhere() -> None:
    handler, logger = Heard(), logging.getLogger("of-another-package")
    logger.addHandler(handler)
    move_elsewhere("of-another-package")
    as_the_engine(lambda: logger.warning("from there"))
    flush(PATIENCE_S)
    logger.warning("from here")
    assert [record.getMessage() for record in handler.records] == ["from there", "from here"]
    assert handler.threads == ["streamcell-log", threading.current_thread().name]


def test_call_is_deferred_on_the_engine_only() -> None:
    threads: list[str] = []
    note = lambda: threads.append(threading.current_thread().name)  # noqa: E731
    defer(note)
    as_the_engine(lambda: defer(note))
    flush(PATIENCE_S)
    assert threads == [threading.current_thread().name, "streamcell-log"]


def test_flush_in_a_handler_does_not_wait_for_itself() -> None:
    done: list[bool] = []
    as_the_engine(lambda: defer(lambda: done.append(begin_flush().done())))
    flush(PATIENCE_S)
    assert done == [True]


def test_flush_gives_up_in_the_end() -> None:
    gate = threading.Event()
    as_the_engine(lambda: defer(lambda: gate.wait(PATIENCE_S)))
    flush(0.01)
    gate.set()
    flush(PATIENCE_S)


def test_what_is_too_much_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    backlog = Backlog(most_waiting=2)
    assert backlog.begin_flush().done()
    gate, begun, done = threading.Event(), threading.Event(), list[int]()

    def block() -> None:
        begun.set()
        gate.wait(PATIENCE_S)

    backlog.add(block)
    assert begun.wait(PATIENCE_S)
    for number in range(5):
        backlog.add(functools.partial(done.append, number))
    flushed = backlog.begin_flush()
    gate.set()
    flushed.result(PATIENCE_S)
    assert done == [0, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "the handlers of the log are slower than the records come: 3 records are lost"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_thread_that_ends_or_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    backlog, done = Backlog(), list[int]()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        backlog.add(lambda: done.append(1))
    backlog.add(lambda: done.append(2))
    backlog.begin_flush().result(PATIENCE_S)

    def end() -> None:
        ended.append(threading.current_thread())
        raise SystemExit

    ended: list[threading.Thread] = []
    backlog.add(end)
    while not ended or ended[0].is_alive():
        threading.Event().wait(0.001)
    backlog.add(lambda: done.append(3))
    backlog.begin_flush().result(PATIENCE_S)
    assert done == [1, 2, 3]
