import logging

import pytest

from streamcell import ErrorCode, Fault, StreamRejected
from streamcell.runtime.threads.callbacks import (
    CallbackCancelled,
    call_user_code,
    copy_error,
    level_of,
    level_of_raised,
    raised_sentence,
)
from streamcell.runtime.threads.trace import cell_log

LOG = cell_log("site-1")


def test_the_result_comes_back() -> None:
    assert call_user_code(LOG, logging.ERROR, "a callback", max, 3, 5, key=lambda value: -value) == (3, None)


@pytest.mark.parametrize("raised", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_what_is_raised_is_returned_and_logged_with_its_traceback(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def callback() -> None:
        raise raised

    assert call_user_code(LOG, logging.ERROR, "a callback", callback) == (None, raised)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"[cell=site-1] a callback raised {type(raised).__name__}"
    assert record.exc_info is not None
    assert record.exc_info[1] is raised


def test_the_level_may_depend_on_what_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    call_user_code(
        LOG, lambda error: logging.INFO if isinstance(error, KeyError) else logging.ERROR, "it", {}.pop, "key"
    )
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_sentences_are_one_line() -> None:
    assert raised_sentence("it", ValueError("two\n lines")) == "it raised ValueError: two lines"
    assert raised_sentence("it", ValueError()) == "it raised ValueError"


class Mute(StreamRejected):
    """An error of an application that cannot even say what it is."""

    def __init__(self) -> None:
        pass

    def __str__(self) -> str:
        raise SystemExit(1)


def test_an_error_whose_text_cannot_be_had_is_named_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    def callback() -> None:
        raise Mute

    _, raised = call_user_code(LOG, logging.ERROR, "a callback", callback)
    assert raised is not None
    assert raised_sentence("it", raised) == "it raised Mute"
    assert caplog.records[0].getMessage().endswith("a callback raised Mute")


def test_errors_of_ours_are_copied() -> None:
    class Own(StreamRejected):
        pass

    copied = copy_error(StreamRejected, "it", Own("no", ErrorCode.LIMIT, Fault.ORIGIN))
    assert (type(copied), copied.sentence, copied.code, copied.fault) == (
        StreamRejected,
        "no",
        ErrorCode.LIMIT,
        Fault.ORIGIN,
    )
    assert copy_error(StreamRejected, "it", Mute()).sentence == "it raised Mute"


def test_a_cancelled_coroutine_is_no_accident() -> None:
    assert level_of_raised(CallbackCancelled("cancelled")) == logging.DEBUG
    assert level_of_raised(StreamRejected("no")) == logging.ERROR


def test_optional_failures_are_logged_at_debug() -> None:
    assert (level_of(optional=True), level_of(optional=False)) == (logging.DEBUG, logging.ERROR)
