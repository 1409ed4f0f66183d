"""Results and progress as they are shown, apart from the work."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from streamcell import IterStream, Message, StreamFuture
from streamcell.cli import views
from streamcell.cli.views import PlainView, Result, TerminalView, make_view, progress_line
from tests.kit.cells import connected_pair, memory_carrier
from tests.kit.waiting import PATIENCE_S, Gate, eventually

SUCCESS = Result("a.bin", 3_000_000, 3_000_000, 0, 2.0, "hub")
FAILURE = Result("a.bin", 0, 0, 0, 2.0, "hub", error="hub is full; make room there")


def test_result_for_people() -> None:
    assert SUCCESS.sentence == "a.bin: 3,000,000 bytes to hub in 2.00 s, 1.5 MB/s"
    assert Result("small", 10, 10, 0, 0.1, "hub").sentence == "small: 10 bytes to hub in 0.10 s"
    assert Result("small", 10, 10, 0, 0.1, "site", "in/site/small").sentence == "in/site/small: 10 bytes in 0.10 s"
    assert Result("empty", 0, 0, 0, 0.1, "hub").sentence == "empty: 0 bytes to hub in 0.10 s"
    assert FAILURE.sentence == "a.bin: hub is full; make room there"


def test_result_for_programs() -> None:
    assert json.loads(SUCCESS.to_json()) == {
        "name": "a.bin",
        "size_bytes": 3_000_000,
        "sent_bytes": 3_000_000,
        "resumed_at": 0,
        "seconds": 2.0,
        "peer": "hub",
    }
    assert json.loads(FAILURE.to_json())["error"] == "hub is full; make room there"


def test_what_was_there_before_does_not_count_for_the_rate() -> None:
    there = Result("a.bin", 3_000_000, 0, 3_000_000, 2.0, "hub")
    assert there.sentence == "a.bin: 3,000,000 bytes to hub, already there"
    resumed = Result("a.bin", 3_000_000, 1_000_000, 2_000_000, 2.0, "hub")
    assert resumed.sentence == (
        "a.bin: 3,000,000 bytes to hub in 2.00 s, 500 kB/s; 2,000,000 of them were there before"
    )


@pytest.fixture
def half_way() -> Iterator[StreamFuture]:
    """A transfer of 1,000,000 bytes, 400,000 of which have arrived."""
    with connected_pair(memory_carrier()) as pair, Gate() as gate:
        pair.at_server.register_stream_cb("files", "*", lambda _future, stream, _resume: stream.readall())

        def source() -> Iterator[bytes]:
            yield bytes(400_000)
            gate.pass_through()
            yield bytes(600_000)

        message = Message(None, IterStream(source(), size=1_000_000))
        future = pair.at_site.send_stream("files", "any", "server", message)
        eventually(lambda: future.get_progress() == 400_000)
        yield future
        gate.open()
        future.result(PATIENCE_S)


def test_progress_line(half_way: StreamFuture) -> None:
    line = progress_line("a.bin", half_way)
    assert line.startswith("a.bin: 40 % of 1.0 MB, ")
    assert "/s" in line
    assert "left" in line


def test_plain_view(
    half_way: StreamFuture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PLAIN_INTERVAL_S", 0.0)
    with PlainView() as view:
        view.start("a.bin", half_way)
        view.refresh()
        view.note("something else")
        view.end(half_way, SUCCESS)
        view.refresh()
        view.end(None, FAILURE)
    output, errors = capsys.readouterr()
    assert output == SUCCESS.sentence + "\n"
    progress, *rest = errors.splitlines()
    assert progress.startswith("a.bin: 40 % of 1.0 MB")
    assert rest == ["something else", FAILURE.sentence]


def test_plain_view_does_not_repeat_itself(half_way: StreamFuture, capsys: pytest.CaptureFixture[str]) -> None:
    with PlainView(as_json=True) as view:
        view.start("a.bin", half_way)
        for _ in range(100):
            view.refresh()
        view.drop(half_way)
        view.end(None, FAILURE)
    output, errors = capsys.readouterr()
    assert [json.loads(line)["name"] for line in output.splitlines()] == ["a.bin"]
    assert errors == ""


def test_terminal_view_takes_names_as_they_are(half_way: StreamFuture, capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalView() as view:
        view.start("[red]a[/red].bin", half_way)
        view.refresh()
        view.note("[bold]note")
        view.end(half_way, Result("[red]a[/red].bin", 1, 1, 0, 1.0, "hub"))
        view.end(None, FAILURE)
    output, errors = capsys.readouterr()
    assert "[bold]note" in errors
    assert output.splitlines() == ["[red]a[/red].bin: 1 bytes to hub in 1.00 s"]


@pytest.mark.parametrize(("kind", "view"), [("dumb", PlainView), ("xterm", TerminalView)])
def test_a_terminal_that_cannot_draw_gets_plain_lines(kind: str, view: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(make_view(), view)


def test_no_terminal_means_plain_lines() -> None:
    assert isinstance(make_view(), PlainView)
