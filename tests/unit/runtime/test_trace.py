import logging

import pytest

from streamcell.runtime.trace import cell_log, engine_log, link_log, stream_log


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
