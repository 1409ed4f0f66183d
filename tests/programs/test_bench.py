"""The benchmark measures: small sizes here, and the arithmetic of its tables. Of the peers, those that need nothing."""

import contextlib
import dataclasses
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.bench import charts, machine, processes, report, threads
from scripts.bench.document import Report, write_document
from scripts.bench.processes import MeasurementError
from scripts.bench.proxy import NetworkPath
from scripts.bench.report import KIB, MIB, Row, Section, Spread
from scripts.bench.systems import NVFLARE_GRPC, SOCKETS, STREAMCELL, System, bare_grpc, cells, tuned
from scripts.bench.workloads import (
    WORKLOADS,
    beside,
    blob,
    computing,
    costs,
    distance,
    echo,
    many,
    memory,
    relay,
    settings,
    slow,
    throughput,
)
from scripts.bench.workloads import threads as thread_times
from scripts.bench.workloads.base import SAME_ALLOCATOR, Figures, Outcome, Rounds, same_for_all
from tests.kit.programs import run

HERE = (STREAMCELL, bare_grpc(1), tuned(bare_grpc(2)), SOCKETS)
MISSING = System("missing", "no_such_peer")


def test_spread_is_shown_with_its_unit() -> None:
    spread = Spread.of([3.0, 1.0, 2.0])
    assert spread == Spread(2.0, 1.0, 3.0)
    assert spread.text("s", 1) == "2.0 s (1.0 to 3.0)"
    assert Spread.of([1234.4]).text(digits=0) == "1,234 (1,234 to 1,234)"


def test_table_says_which_targets_were_missed() -> None:
    rows = [
        Row("a", "1"),
        report.at_most("b", Spread.of([2]), 3),
        report.at_least("c", Spread.of([2]), 3),
        report.at_least("d", None, 3),
    ]
    lines = report.table(rows).splitlines()
    assert [line.rsplit("|", 2)[1].strip() for line in lines[2:]] == ["", "met", "missed", "not measured"]


@pytest.mark.parametrize(
    ("short", "long", "flat"), [(50, 57, True), (50, 59, False), (200, 219, True), (60, 51, False)]
)
def test_growth_is_flat_within_a_tenth_or_eight_mebibytes(short: float, long: float, flat: bool) -> None:
    assert memory.flatness("sender", short, long).met == flat


def test_rounds_take_turns_and_keep_what_failed() -> None:
    first, second = cells("first"), cells("second")
    calls: list[str] = []

    def measure(system: System) -> Figures:
        calls.append(system.label)
        if calls == ["first", "second", "first"]:
            raise MeasurementError("the reason")
        return {"speed": len(calls)}

    rounds = Rounds((first, second))
    rounds.run(3, measure, str)
    assert calls == ["first", "second"] * 3
    assert rounds.values("first", "speed") == [1, 5]
    assert rounds.ratio("second", "first", "speed") == Spread.of([2 / 1, 6 / 5])
    assert rounds.failures("it") == ["first: it failed in 1 of 3 rounds: the reason"]


def test_peer_that_cannot_be_run_is_named_with_its_reason() -> None:
    rounds = Rounds((MISSING,))
    rounds.run(3, lambda system: throughput.measure(system, MIB), str)
    (failure,) = rounds.failures("the stream")
    assert "failed in 3 of 3 rounds" in failure
    assert "No module named" in failure
    assert rounds.spread("missing", "gib_per_s") is None


@pytest.mark.skipif(importlib.util.find_spec("nvflare") is not None, reason="NVFlare is installed here")
def test_nvflare_that_is_not_installed_is_named() -> None:
    with pytest.raises(MeasurementError, match="No module named 'nvflare'"):
        processes.Worker(NVFLARE_GRPC, "receiver")


@pytest.mark.parametrize("system", HERE, ids=lambda system: system.label)
def test_throughput_of_a_short_stream(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "WARM_UP_BYTES", MIB)
    figures = throughput.measure(system, 8 * MIB)
    assert all(value > 0 for value in figures.values())


def test_throughput_has_a_row_for_each_target_whatever_is_missing() -> None:
    rounds = Rounds((*throughput.INSTALLED, *throughput.TUNED))
    for system in rounds.systems:
        rounds.add(system.label, {"gib_per_s": 1.0, "processor_s_per_gib": 1.0} if system in HERE else None)
    assert [row.verdict for row in throughput.rows(rounds)] == ["not measured"] * 5


def test_memory_of_a_short_stream() -> None:
    growth = memory.measure(8 * MIB)
    assert growth.keys() == {"sender", "receiver"}
    values = {size * MIB: {end: [each / MIB] for end, each in growth.items()} for size in (8, 16)}
    assert all(row.met for row in memory.rows(values))


@pytest.mark.parametrize("system", [STREAMCELL, relay.BARE, bare_grpc(2)], ids=lambda system: system.label)
def test_short_stream_through_a_relay(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WARM_UP_BYTES", MIB)
    figures = relay.measure(system, 8 * MIB)
    assert figures["gib_per_s"] > 0
    assert figures["relay_processor_s_per_gib"] >= 0


def test_relay_has_its_row_and_its_table_whatever_is_missing() -> None:
    measured = {"gib_per_s": 1.5, **{f"{name}_processor_s_per_gib": 1.0 for name in relay.PROCESSES}}
    for bare, figure in ((None, "not measured"), ({**measured, "gib_per_s": 2.0}, "0.75 (0.75 to 0.75)")):
        rounds = Rounds(relay.SYSTEMS)
        rounds.add(STREAMCELL.label, measured)
        rounds.add(relay.BARE.label, bare)
        assert [row.figure for row in relay.rows(rounds)] == [figure]
        assert [len(line) for line in relay.section(MIB, rounds).lines] == [5] * len(relay.SYSTEMS)


def test_relay_beside_a_slow_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "BYTES", MIB)
    figures = slow.measure(STREAMCELL, 0.6)
    assert 0 <= figures["slow_mib"] <= figures["both_mib"]
    assert figures["read_mib"] > 0
    rounds = Rounds((STREAMCELL,))
    rounds.add(STREAMCELL.label, figures)
    assert [row.verdict for row in slow.rows(rounds)[:2]] == ["met", "met"]
    assert [len(line) for line in slow.section(0.6, rounds).lines] == [3, 3, 3]


def test_slow_receiver_has_its_rows_when_nothing_was_measured() -> None:
    rounds = Rounds((STREAMCELL,))
    rounds.add(STREAMCELL.label, None)
    assert [row.verdict for row in slow.rows(rounds)] == ["not measured"] * 3


@pytest.mark.parametrize("into", [False, True])
def test_blobs_in_succession(into: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob, "WARM_UP_BYTES", MIB)
    figures = blob.measure(cells(into=into), 2 * MIB + 1, 3)
    assert len(figures["speeds"]) == 3
    assert all(speed > 0 for speed in figures["speeds"])


def test_echo() -> None:
    figures = echo.measure(STREAMCELL, 20, 100)
    assert 0 < figures["median_ms"] <= figures["slow_ms"]
    assert figures["per_s"] > 0


def test_echo_beside_a_stream_on_a_narrow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "NARROW_LEAD_S", 0.1)
    path = beside.NARROW
    begun = time.monotonic()
    figures = beside.measure(STREAMCELL, 64 * MIB, 0.5, path)
    assert figures["count"] > 0
    assert time.monotonic() - begun < 64 * MIB * 8 / path.bits_per_s + 30, "the stream is not waited for"


def test_computing_and_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "WARM_UP_BYTES", MIB)
    assert computing.measure(computing.SWITCHING, 2 * MIB)["seconds"] > 0
    assert many.measure(STREAMCELL, 20, 16 * KIB)["seconds"] > 0


@pytest.mark.parametrize("system", [STREAMCELL, bare_grpc(1), SOCKETS], ids=lambda system: system.label)
def test_stream_over_a_distance_takes_a_round_trip_at_least(system: System) -> None:
    path = NetworkPath(round_trip_s=0.2)
    figures = distance.measure(system, MIB, path)
    assert all(0 < value < 1 / path.round_trip_s for value in figures.values())


def test_checksums_can_be_switched_off_here_and_nowhere_else() -> None:
    without = cells("no checksums", checksums=False)
    assert without in settings.systems(quick=True)
    # It is what it says: a receiver that checks does not take what such a sender sends.
    with contextlib.ExitStack() as stack:
        checking, trusting = (processes.Worker(system, "receiver") for system in (STREAMCELL, without))
        for receiver in (checking, trusting):
            stack.callback(receiver.end)
            sender = processes.Worker(without, "sender", receiver.greeting["address"])
            stack.callback(sender.end)
            if receiver is trusting:
                assert sender.ask("stream", size=2 * MIB)["seconds"] > 0
            else:
                with pytest.raises(MeasurementError, match="checksum"):
                    sender.ask("stream", size=2 * MIB)


def test_each_cost_is_measured_by_itself() -> None:
    figures = costs.measure(2, 3)
    assert figures.keys() == costs.TITLES.keys()
    assert all(len(seconds) == 3 and min(seconds) > 0 for seconds in figures.values())


@pytest.mark.skipif(not threads.TASKS.exists(), reason="only Linux tells what each thread uses")
@pytest.mark.parametrize("system", thread_times.SYSTEMS, ids=lambda system: system.label)
def test_what_threads_use_is_told_by_kind(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_times, "WARM_UP_BYTES", MIB)
    figures = thread_times.measure(system, 64 * MIB)
    for end in thread_times.ENDS:
        # A thread that waits gives the processor up. Its time is counted in hundredths of a second only.
        assert figures[f"{end} loop gave_up"] > 0
        assert figures[f"{end} grpc gave_up"] > 0
    rounds = Rounds((system,))
    rounds.add(system.label, figures)
    for section in thread_times.sections(64 * MIB, rounds):
        assert [len(line) for line in section.lines] == [len(section.head)] * 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (None, "grpc"),
        ("Thread-1 (_poll_wrapper)", "grpc"),
        ("streamcell-engine", "loop"),
        ("server-callback", "callback"),
        ("site-1-source", "source"),
        ("MainThread", "other"),
    ],
)
def test_threads_are_told_apart_by_their_names(name: str | None, kind: str) -> None:
    assert threads.kind_of(name) == kind


@pytest.mark.parametrize("workload", [blob, echo, many])
def test_peers_get_a_second_table_with_the_same_allocator_settings(workload: Any) -> None:
    rounds = Rounds((*workload.SYSTEMS, *workload.TUNED))
    (table,) = same_for_all(lambda systems: workload.section(SAME_ALLOCATOR, rounds, systems), workload.TUNED)
    assert [line[0] for line in table.lines] == [STREAMCELL.label, "NVFlare grpc://, tuned", "NVFlare tcp://, tuned"]
    assert same_for_all(lambda systems: workload.section(SAME_ALLOCATOR, rounds, systems), ()) == []


def test_worker_that_dies_is_reported() -> None:
    with pytest.raises(RuntimeError, match="has ended with status 1"):
        processes.Worker(STREAMCELL, "sender", "not an address")


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


def test_report_is_kept_as_a_file_and_drawn(tmp_path: Path) -> None:
    figures = {
        "median_ms": 1.0,
        "slow_ms": 2.0,
        "per_s": 1000.0,
    }
    measured = {"systems": ["a", "b"], "rounds": {"a": [figures, None, figures], "b": [None, None, None]}}
    kept = Report(machine.describe(), quick=True)
    kept.add("echo", Outcome(measured, [Row("x", "1")], [Section("title", ["", "ms"], [["a", "1"]])], ["b: failed"]))
    kept.save(tmp_path / "bench.json")
    again = Report.load(tmp_path / "bench.json")
    assert dataclasses.asdict(again) == dataclasses.asdict(kept)

    document = tmp_path / "performance.md"
    document.write_text(f"{report.BEGIN}\n{report.END}\n", encoding="utf-8")
    write_document(document, again)
    written = document.read_text(encoding="utf-8")
    for expected in ("| a | 1 |", "- b: failed", "performance-echo.svg", "A quick run."):
        assert expected in written
    for ending in ("svg", "png"):
        assert 0 < (tmp_path / f"performance-echo.{ending}").stat().st_size < 100_000


def test_charts_are_of_workloads_that_exist() -> None:
    assert {workload for workload, _, _ in charts.CHARTS} <= WORKLOADS.keys()


def test_machine_is_described_in_a_line() -> None:
    assert "cores" in machine.line(machine.describe())


def test_command_writes_everything(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    lines = run("-m", "scripts.bench", "--quick", "--only", "many", "--output", output)
    assert any("streams at once, all delivered" in line for line in lines)
    assert json.loads(output.read_text(encoding="utf-8"))["figures"].keys() == {"many"}
    again = run("-m", "scripts.bench", "--from", output)
    assert any("streams at once, all delivered" in line for line in again)
