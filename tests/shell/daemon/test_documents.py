"""What the documents say of the standing cell is what it does."""

import dataclasses
import re
import tomllib
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamcell import CoreCell, TLSConfig
from streamcell.daemon.inbox import InboxSettings
from streamcell.daemon.lag import LagMeter
from streamcell.daemon.metrics import CellCollector
from streamcell.daemon.settings import ServeSettings, load_settings
from streamcell.testing import InMemoryNetwork
from tests.kit.cells import running

ROOT = Path(__file__).resolve().parents[3]
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """Return the cells of the table below a heading, by what stands first in each row."""
    section = OPERATIONS.split(f"### {heading}\n")[1].split("\n#")[0]
    lines = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE)
    return {first: [cell.strip() for cell in rest.split("|")] for first, rest in lines}


def test_every_setting_is_in_the_reference() -> None:
    table = rows("Configuration file")
    sections = {"inbox", "metrics", "tls", "token_file", "accept_tokens", "policy", "config"}
    top = {field.name for field in dataclasses.fields(ServeSettings)} - sections
    inbox = {f"[inbox] {field.name}" for field in dataclasses.fields(InboxSettings)}
    tls = {f"[tls] {field.name}" for field in dataclasses.fields(TLSConfig)}
    assert table.keys() == top | inbox | tls | {
        "[tokens] show",
        "[tokens] accept",
        "[policy] file",
        "[metrics] listen",
        "[cell] …",
    }


def test_defaults_in_the_reference() -> None:
    table = rows("Configuration file")
    fields = {field.name: field.default for field in dataclasses.fields(ServeSettings)}
    fields |= {f"[inbox] {field.name}": field.default for field in dataclasses.fields(InboxSettings)}
    fields |= {f"[tls] {field.name}": field.default for field in dataclasses.fields(TLSConfig)}
    for name, (_, shown, _) in table.items():
        if not shown:
            continue
        default = fields[name]
        if isinstance(default, bool | str):
            assert shown == str(default).removeprefix("True").removeprefix("False") or shown == str(default).lower()
        else:
            assert float(shown.replace(",", "")) == default, name


def test_every_metric_is_in_the_list() -> None:
    with running(CoreCell("cell", listen="memory://", network=InMemoryNetwork())) as cell:
        registry = CollectorRegistry()
        registry.register(CellCollector(cell, LagMeter()))
        text = generate_latest(registry).decode()
    suffix = {"counter": "_total", "info": "_info", "gauge": ""}
    names = {family.name + suffix[family.type] for family in text_string_to_metric_families(text)}
    names = {name.replace("_info_info", "_info") for name in names}
    assert names == rows("Metrics").keys()


def test_ready_made_configuration_is_valid() -> None:
    path = ROOT / "docs/operations/hub.toml"
    settings = load_settings(path, {})
    assert settings.fqcn == tomllib.loads(path.read_text(encoding="utf-8"))["fqcn"]
    unit = (ROOT / "docs/operations/streamcell.service").read_text(encoding="utf-8")
    timeout = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert timeout is not None
    assert int(timeout[1]) > settings.grace_s
