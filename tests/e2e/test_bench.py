"""The benchmark measures: small sizes here, and the arithmetic of its tables."""

import json
from pathlib import Path

import pytest

from scripts.bench import machine, processes, report
from scripts.bench.report import MIB, Row, Spread
from scripts.bench.workloads import memory, throughput
from tests.e2e.programs import run


def test_spread_is_shown_with_its_unit() -> None:
    spread = Spread.of([3.0, 1.0, 2.0])
    assert spread == Spread(2.0, 1.0, 3.0)
    assert spread.text("s", 1) == "2.0 s (1.0 to 3.0)"
    assert Spread.of([1234.4]).text(digits=0) == "1,234 (1,234 to 1,234)"


def test_table_says_which_targets_were_missed() -> None:
    lines = report.table([Row("a", "1"), Row("b", "2", "below 3"), Row("c", "4", "below 3", met=False)]).splitlines()
    assert [line.rsplit("|", 2)[1].strip() for line in lines[2:]] == ["", "met", "missed"]


@pytest.mark.parametrize(
    ("short", "long", "flat"), [(50, 57, True), (50, 59, False), (200, 219, True), (60, 51, False)]
)
def test_growth_is_flat_within_a_tenth_or_eight_mebibytes(short: float, long: float, flat: bool) -> None:
    assert memory.flatness("sender", short, long).met == flat


@pytest.mark.parametrize("peer", throughput.PEERS)
def test_throughput_of_a_short_stream(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "WARM_UP_BYTES", MIB)
    figures = throughput.measure(peer, 8 * MIB)
    assert all(value > 0 for value in figures.values())
    assert len(throughput.rows(8 * MIB, {name: [figures] for name in throughput.PEERS})) == 7


def test_memory_of_a_short_stream() -> None:
    growth = memory.measure(8 * MIB)
    assert growth.keys() == {"sender", "receiver"}
    rows = memory.rows({end: {8 * MIB: [value], 16 * MIB: [value]} for end, value in growth.items()})
    assert all(row.met for row in rows)


def test_blob_and_echo_in_one_pair_of_processes() -> None:
    with processes.pair("streamcell") as (receiver, sender):
        assert sender.ask("blob", size=2 * MIB)["seconds"] > 0
        assert len(sender.ask("echo", size=1024, count=20, outstanding=4)["round_trips"]) == 20
        assert receiver.ask("usage")["peak"] > MIB


def test_worker_that_dies_is_reported() -> None:
    with pytest.raises(RuntimeError, match="has ended with status 1"):
        processes.Worker("streamcell", "not an address")


def test_document_gets_the_table_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"# Before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n", encoding="utf-8")
    for text in ("new", "newer"):
        report.write_into(document, text)
    written = f"# Before\n\n{report.BEGIN}\n\nnewer\n\n{report.END}\n\nafter\n"
    assert document.read_text(encoding="utf-8") == written
    document.write_text("# No place\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no place"):
        report.write_into(document, "new")


def test_machine_is_described_in_a_line() -> None:
    assert "cores" in machine.line(machine.describe())


def test_command_writes_everything(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    lines = run("-m", "scripts.bench", "--quick", "--only", "echo", "--output", output)
    assert any("1 KiB blob and back" in line for line in lines)
    assert json.loads(output.read_text(encoding="utf-8"))["figures"].keys() == {"echo"}
