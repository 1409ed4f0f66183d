"""The law of the tests' folders: they take from the kit, and from no other folder."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# The simulator's storm of trees runs on the core's own harness.
ALLOWED = {("simulation", "core")}


def test_tests_take_from_the_kit_and_from_no_other_folder() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"kit"}
    taken = {
        (folder, found[1])
        for folder in folders
        for path in (TESTS / folder).rglob("*.py")
        for found in re.finditer(r"^ *(?:from|import) tests\.(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {(here, there) for here, there in taken if there in folders - {here}} == ALLOWED


def test_the_kit_takes_from_nobody() -> None:
    for path in (TESTS / "kit").glob("*.py"):
        assert not re.search(r"^ *(from|import) tests\.(?!kit\b)", path.read_text(encoding="utf-8"), re.MULTILINE), path
