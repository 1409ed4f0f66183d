"""What the documents say of settings, errors and loggers is what the code has."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import streamcell
from streamcell import CellConfig, CellError, StreamCell, UsageError
from streamcell.runtime.sending.specs import SendMore

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def config_table() -> dict[str, tuple[str, str, str]]:
    """Returns default, lowest and highest value of each field as documented, by field."""
    text = (DOCS / "operations.md").read_text(encoding="utf-8").split("\n## Configuration\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|[^|]+\|$", text, re.MULTILINE)
    return {field: (default.strip(), low.strip(), high.strip()) for field, default, low, high in rows}


TABLE = config_table()
RANGED = [field for field, (_, low, _) in TABLE.items() if low]


def number(text: str) -> float:
    value = float(text.replace(",", ""))
    return int(value) if value.is_integer() else value


def with_value(field: str, value: float) -> CellConfig:
    values: dict[str, Any] = {field: value}
    if field.startswith("backoff_"):
        # The shortest wait cannot be longer than the longest.
        values = {"backoff_min_s": 0.001, "backoff_max_s": 3600, **values}
    return CellConfig(**values)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {field: default for field, (default, _, _) in TABLE.items()}
    actual = {field.name: field.default for field in dataclasses.fields(CellConfig)}
    assert documented.keys() == actual.keys()
    for field, default in actual.items():
        shown = documented[field]
        assert (shown == str(default)) if isinstance(default, bool) else (number(shown) == default), field


@pytest.mark.parametrize("field", RANGED)
def test_range_is_what_is_documented(field: str) -> None:
    _, low, high = TABLE[field]
    step = 0.0005 if field.endswith("_s") else 1
    with_value(field, number(low))
    with_value(field, number(high))
    for beyond in (number(low) - step, number(high) + step):
        with pytest.raises(UsageError, match=field):
            with_value(field, beyond)


def test_only_switches_have_no_range() -> None:
    assert set(TABLE) - set(RANGED) == {"tune_allocator", "batch_grpc_threads", "connect_in_order"}


def test_every_error_has_its_line_in_troubleshooting() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    names = (getattr(streamcell, name) for name in streamcell.__all__)
    errors = [value for value in names if inspect.isclass(value) and issubclass(value, CellError)]
    assert len(errors) > 10
    assert [error.__name__ for error in errors if f"`{error.__name__}`" not in text] == []


def test_every_logger_is_documented() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "streamcell").rglob("*.py"))
    loggers = set(re.findall(r'getLogger\("(streamcell[^"]*)"\)', sources))
    assert loggers
    assert {logger for logger in loggers if f"`{logger}`" not in text} == set()


def test_every_module_of_the_core_is_placed_in_the_architecture() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    # Values, and what holds data only.
    plain = {"__init__", "frames", "events", "context", "link", "send_buffer", "timers", "stats"}
    modules = {path.stem for path in (ROOT / "streamcell/protocol").glob("*.py")} - plain
    assert {module for module in modules if f"`protocol/{module}.py`" not in text} == set()


@pytest.mark.parametrize("room", ["security", "transport", "daemon", "cli"])
def test_every_module_of_a_room_is_in_its_row(room: str) -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {room} \|.*$", text, re.MULTILINE)
    assert row is not None
    modules = {path.stem for path in (ROOT / "streamcell" / room).glob("*.py")} - {"__init__"}
    assert {module for module in modules if f"`{module}`" not in row[0]} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_has_one_title_and_balanced_blocks(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert text.count("```") % 2 == 0
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    assert re.findall(r"^(?:<{7}|>{7}) ", text, re.MULTILINE) == []


def test_changelog_knows_the_version() -> None:
    assert f"## {streamcell.__version__}, " in (DOCS / "changelog.md").read_text(encoding="utf-8")


def test_promises_are_checked_by_tests_that_there_are() -> None:
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    kinds = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    tables = re.findall(r"^\|[^\n]*\| checked by \|\n\|[-|]+\|\n((?:\|[^\n]*\n)+)", text, re.MULTILINE)
    assert len(tables) > 3
    for row in "".join(tables).splitlines():
        said = re.sub(r"\([^)]*\)", "", row.split("|")[-2])
        assert {words.split()[0] for words in said.split(",") if words.strip()} <= kinds, row


def test_every_keyword_of_sending_is_documented() -> None:
    text = (DOCS / "sending.md").read_text(encoding="utf-8").split("\n## Keywords\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    takes = inspect.signature(StreamCell.send_stream).parameters
    flags = [name for name, parameter in takes.items() if parameter.default is False]
    assert sorted(documented) == sorted([*flags, *SendMore.__annotations__])
