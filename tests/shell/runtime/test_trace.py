import logging
from pathlib import Path

import pytest

from streamcell import StreamError
from streamcell.runtime.threads.trace import cell_log, engine_log, link_log, stream_log


@pytest.mark.parametrize(
    ("log", "name"),
    [
        (cell_log("site-1"), "streamcell.cell"),
        (link_log("site-1"), "streamcell.link"),
        (stream_log("site-1"), "streamcell.stream"),
    ],
)
def test_records_say_which_cell_they_are_of(
    log: logging.LoggerAdapter[logging.Logger], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log.warning("stream %d failed: %s", 7, "lost")
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == (name, "[cell=site-1] stream 7 failed: lost")
    assert vars(record)["cell"] == "site-1"


def test_arguments_are_not_formatted_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    caplog.set_level(logging.WARNING)
    cell_log("site-1").debug("%s", Unprintable())
    assert caplog.records == []


def test_the_engine_has_a_logger_of_its_own() -> None:
    assert engine_log().name == "streamcell.engine"


def test_what_other_cells_choose_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    stream_log("site-1").warning(
        "%s/%s failed: %s, %d", "a\nERROR forged", "caf\udce9 \x1b[2J\u2028é", StreamError("one\rtwo"), 3
    )
    (record,) = caplog.records
    assert record.getMessage() == (r"[cell=site-1] a\nERROR forged/caf\udce9 \x1b[2J\u2028é failed: one\rtwo, 3")


def test_records_say_where_they_were_written(caplog: pytest.LogCaptureFixture) -> None:
    log = stream_log("site-1")
    log.warning("one")
    log.log(logging.WARNING, "two")
    log.warning("three", stacklevel=1)
    assert [Path(record.pathname).name for record in caplog.records] == ["test_trace.py"] * 3
