"""Lines about one neighbour: ten a second, and then a count."""

from __future__ import annotations

import logging

import pytest

from streamcell.lines import LINES, NeighbourLog
from streamcell.runtime.threads.trace import link_log


def test_lines_about_one_neighbour_are_so_many_a_second_and_then_a_count(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="streamcell.link")
    log = NeighbourLog(link_log("hub"))
    for number in range(LINES + 5):
        log.log("loud", 0.0, logging.INFO, "< %s did it again, number %d", "loud", number)
        log.log("loud", 0.0, logging.DEBUG, "nobody wants to see this")
    log.log("quiet", 0.5, logging.INFO, "< connected with %s", "quiet")
    assert [record.message.count("loud") for record in caplog.records] == [1] * LINES + [0]
    caplog.clear()
    # The second of the one is over, that of the other is not; strangers are one neighbour.
    log.log("", 1.2, logging.INFO, "> a stranger")
    assert [record.message for record in caplog.records] == [
        "[cell=hub] 5 more lines about loud were left out",
        "[cell=hub] > a stranger",
    ]
    assert caplog.records[0].levelno == logging.WARNING
    caplog.clear()
    for _ in range(LINES + 1):
        log.log("", 1.2, logging.INFO, "> a stranger")
    log.log("loud", 9.0, logging.INFO, "< %s did it again", "loud")
    assert [record.message for record in caplog.records[-2:]] == [
        "[cell=hub] 2 more lines about strangers were left out",
        "[cell=hub] < loud did it again",
    ]
