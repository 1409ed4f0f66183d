"""What the tests of the command line share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _commands_may_run_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what typer would set, and delete again, around each command: two at once would do so to each other."""
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "1")
