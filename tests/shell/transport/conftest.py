"""What the tests of the transport share."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """grpc and asyncio tell the log of tasks, calls and exceptions that were left behind."""
    yield
    for when in ("setup", "call"):
        errors = [r for r in caplog.get_records(when) if r.levelno >= logging.ERROR]
        assert [record.getMessage() for record in errors] == []
