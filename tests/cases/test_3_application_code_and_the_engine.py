"""Code of the application, wherever streamcell comes to run it, cannot make the cells of the process stand still."""

from __future__ import annotations

import contextlib
import logging
import logging.config
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamcell import Message, StreamFuture, UsageError
from tests.kit.cells import Pair, connected_pair, memory_carrier
from tests.kit.waiting import PATIENCE_S, Box, Gate

ENGINE = "streamcell-engine"


class Acting(logging.Handler):
    """Does something with each record."""

    def __init__(self, act: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._act = act

    def emit(self, record: logging.LogRecord) -> None:
        self._act(record)


@contextlib.contextmanager
def heard_by(act: Callable[[logging.LogRecord], object], name: str = "streamcell") -> Iterator[None]:
    handler, logger = Acting(act), logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def fail_on_the_engine(pair: Pair, count: int = 1) -> list[StreamFuture]:
    """Send what the engine finds to be in vain, and logs."""
    message = Message({}, b"blob")
    return [pair.at_site.send_blob("c", str(number), "server", message) for number in range(count)]


def test_case_3_2_handler_that_asks_a_cell_gets_its_answer(pair: Pair) -> None:
    answers: Box[object] = Box()
    with heard_by(lambda record: answers.put(pair.site.stats()), "streamcell.stream"):
        fail_on_the_engine(pair)
        assert answers.get() is not None
    assert pair.site.is_cell_connected("server")


def test_case_3_2_handler_that_stops_the_cell_stops_it(pair: Pair) -> None:
    stopped: Box[bool] = Box()

    def stop(record: logging.LogRecord) -> None:
        pair.site.stop(0)
        stopped.put(True)

    with heard_by(stop, "streamcell.stream"):
        fail_on_the_engine(pair)
        assert stopped.get()
    with pytest.raises(UsageError):
        pair.site.stats()


def test_case_3_2_handler_that_blocks_holds_up_no_cell(pair: Pair) -> None:
    pair.server.register_request_cb("c", "echo", lambda request: None)
    with Gate() as gate, heard_by(lambda record: gate.pass_through(), "streamcell.stream"):
        fail_on_the_engine(pair)
        gate.wait_arrived()
        pair.site.send_request("c", "echo", "server", Message(), PATIENCE_S)
        with connected_pair(memory_carrier()) as other:
            assert other.server.is_cell_connected("site")


def test_case_3_2_no_handler_filter_or_factory_runs_in_the_engines_thread(pair: Pair) -> None:
    ran: set[str] = set()
    heard: Box[logging.LogRecord] = Box()
    factory = logging.getLogRecordFactory()

    def filtering(record: logging.LogRecord) -> bool:
        ran.add(threading.current_thread().name)
        return True

    def making(*args: object, **kwargs: object) -> logging.LogRecord:
        ran.add(threading.current_thread().name)
        return factory(*args, **kwargs)

    def hearing(record: logging.LogRecord) -> None:
        filtering(record)
        heard.put(record)

    logger = logging.getLogger("streamcell.stream")
    logger.addFilter(filtering)
    logging.setLogRecordFactory(making)
    try:
        with heard_by(hearing):
            fail_on_the_engine(pair)
            record = heard.get()
    finally:
        logging.setLogRecordFactory(factory)
        logger.removeFilter(filtering)
    assert ENGINE not in ran
    # It still tells where it was made.
    assert record.threadName == ENGINE
    assert record.pathname.endswith("sends.py")
    assert vars(record)["cell"] == "site"


def test_case_3_2_records_come_in_order_and_before_stop_returns(pair: Pair) -> None:
    count, heard = 200, list[str]()
    with heard_by(lambda record: heard.append(record.getMessage()), "streamcell.stream"):
        for future in fail_on_the_engine(pair, count):
            future.exception(PATIENCE_S)
        pair.site.stop()
    topics = [message.split()[4] for message in heard if "failed" in message]
    assert topics == [f"c/{number}" for number in range(count)]


def test_case_3_2_handler_that_raises_is_no_failure_of_the_cell(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    def raising(record: logging.LogRecord) -> None:
        raise LookupError("of the handler")

    pair.at_server.register_blob_cb("c", "raises", lambda future: 1 // 0)
    pair.server.register_request_cb("c", "raises", lambda request: 1 // 0)
    with heard_by(raising, "streamcell"):
        fail_on_the_engine(pair)[0].exception(PATIENCE_S)
        assert pair.at_site.send_blob("c", "raises", "server", Message({}, b"blob")).result(PATIENCE_S) == 4
        with pytest.raises(Exception, match="ZeroDivisionError"):
            pair.site.send_request("c", "raises", "server", Message(), PATIENCE_S)
        pair.site.stop()
        pair.server.stop()
    assert "LookupError: of the handler" in capsys.readouterr().err


def test_case_3_2_logging_that_is_configured_later_counts(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(levelname)s %(threadName)s %(message)s"}},
            "handlers": {"file": {"class": "logging.FileHandler", "filename": str(path), "formatter": "plain"}},
            "loggers": {"streamcell.stream": {"handlers": ["file"], "level": "INFO", "propagate": False}},
        }
    )
    try:
        fail_on_the_engine(pair)[0].exception(PATIENCE_S)
        pair.site.stop()
        (line,) = path.read_text(encoding="utf-8").splitlines()
        assert line.startswith(f"ERROR {ENGINE} [cell=site] > stream")
    finally:
        logger = logging.getLogger("streamcell.stream")
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_case_3_2_source_that_waits_for_its_own_transfer_is_told_so(pair: Pair) -> None:
    futures: Box[StreamFuture] = Box()
    raised: Box[BaseException] = Box()

    def items() -> Iterator[bytes]:
        future = futures.get()
        try:
            future.result()
        except UsageError as error:
            raised.put(error)
        yield b"piece"

    pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
    future = pair.at_site.send_stream("c", "t", "server", Message({}, items()))
    futures.put(future)
    assert "cannot end before its source" in str(raised.get())
    assert future.result(PATIENCE_S) == 5
