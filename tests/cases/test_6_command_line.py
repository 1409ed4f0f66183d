"""What the command line takes and says, in the words of those who run cells."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.app import app, run
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit.cells import grpc_carrier, running
from tests.kit.waiting import PATIENCE_S, eventually

# Nobody listens there.
NOBODY = "grpc://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _commands_may_run_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what typer would set, and delete again, around each command."""
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "1")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandaloneCell]:
    inbox = InboxSettings(folder=tmp_path / "inbox")
    settings = ServeSettings(fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=inbox, grace_s=0)
    with StandaloneCell(settings, LogWatcher()) as standalone:
        standalone.start()
        yield standalone


@pytest.fixture
def url(hub: StandaloneCell) -> str:
    return hub.cell.listen_urls[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def socket_url() -> Iterator[str]:
    """Where a cell may listen that does not run yet."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cell-") as folder:
        yield f"unix://{folder}/socket"


def asking(file: Path) -> list[list[str]]:
    """Return a command of each verb that dials, asks or sends, and ends by itself; without an address."""
    return [
        ["ping", "hub", "--count", "1"],
        ["cells"],
        ["bench", "hub", "--seconds", "0.1"],
        ["send", str(file), "--to", "hub"],
    ]


# --- 6.1: several addresses -----------------------------------------------------------------------


def test_case_6_1_several_addresses(url: str, file: Path) -> None:
    for command in asking(file):
        assert run([*command, "-c", NOBODY, "-c", url]) == ExitCode.DONE, command
        assert run([*command, "-c", url, "-c", NOBODY]) == ExitCode.DONE, command


def test_case_6_1_the_variable_is_honoured(url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCELL_CONNECT", f"{NOBODY} {url}")
    for command in asking(file):
        assert run(command) == ExitCode.DONE, command
    monkeypatch.setenv("STREAMCELL_CONNECT", "memory://nobody")
    for command in asking(file):
        assert run([*command, "-c", url]) == ExitCode.DONE, command


@pytest.mark.parametrize("listens", [False, True])
def test_case_6_1_the_variable_is_honoured_by_recv(
    url: str, file: Path, tmp_path: Path, socket_url: str, *, listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMCELL_CONNECT", url)
    sent: list[int] = []
    command = ["send", str(file), "--to", "far", "--as", "lab", "-c", url]
    sender = threading.Thread(target=lambda: sent.append(run(command)))
    sender.start()
    ways = ["--listen", socket_url] if listens else []
    assert run(["recv", "--as", "far", "--into", str(tmp_path / "in"), "--count", "1", *ways]) == ExitCode.DONE
    sender.join(PATIENCE_S)
    assert sent == [ExitCode.DONE]
    assert (tmp_path / "in/lab/file").read_bytes() == b"content"


def test_case_6_1_the_variable_is_honoured_by_serve(
    hub: StandaloneCell, url: str, socket_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMCELL_CONNECT", url)

    def end_when_it_is_there() -> None:
        eventually(lambda: "office" in [known.fqcn for known in hub.cell.cells()])
        os.kill(os.getpid(), signal.SIGTERM)

    waiter = threading.Thread(target=end_when_it_is_there)
    waiter.start()
    assert run(["serve", "--fqcn", "office", "--listen", socket_url]) == ExitCode.DONE
    waiter.join(PATIENCE_S)
    assert f"office dials {url}\n" in capsys.readouterr().out


# --- 6.4: the words of those who run cells --------------------------------------------------------

WRONG = [
    ["serve", "--fqcn", "x", "--listen", "grpc://0.0.0.0:8014"],
    ["recv", "--as", "x", "--into", "in", "--listen", "grpc://192.0.2.1:8014"],
    ["serve", "--fqcn", "x", "--listen", "http://127.0.0.1:0"],
    ["serve", "--fqcn", "x", "--listen", "memory://x"],
    ["serve", "--fqcn", "x", "--listen", "grpcs://127.0.0.1:0"],
    ["serve", "--fqcn", "x", "--listen", "127.0.0.1:8014"],
    ["serve", "--fqcn", "x", "--connect", "grpc://127.0.0.1:0"],
    ["serve", "--fqcn", "x", "--listen", "grpc://127.0.0.1:0", "--grace", "-1"],
    *(
        [verb, *rest, "-c", address]
        for address in ("memory://x", "grpcs://a..b@127.0.0.1:1", "tcp://x")
        for verb, *rest in (
            ("ping", "hub"),
            ("cells",),
            ("bench", "hub"),
            ("send", __file__, "--to", "hub"),
        )
    ),
    *(["ping", "hub", "-c", NOBODY, option, value] for option in ("--wait", "--interval") for value in ("inf", "nan")),
    ["bench", "hub", "-c", NOBODY, "--seconds", "inf"],
    ["send", __file__, "--to", "hub", "-c", NOBODY, "--wait", "0"],
    ["send", __file__, "--to", "hub", "-c", NOBODY, "--name", ""],
    ["recv", "--as", "x", "--into", "-", "--listen", "grpc://127.0.0.1:0", "--count", "2"],
    ["recv", "--as", "x", "--into", "-", "--listen", "grpc://127.0.0.1:0", "--replace"],
    ["recv", "--as", "x", "--into", "in"],
]
UNREACHABLE = [
    ["ping", "hub", "-c", NOBODY, "--wait", "0.1"],
    ["cells", "-c", NOBODY, "--wait", "0.1"],
    ["bench", "hub", "-c", NOBODY, "--wait", "0.1"],
    ["send", __file__, "--to", "hub", "-c", NOBODY, "--wait", "0.1"],
    ["recv", "--as", "x", "--into", "-", "-c", NOBODY, "--wait", "0.1"],
]
# What only those who write programs know, or what is not so when a command ends.
NO_WORDS = re.compile(
    r"\w=(True|False|\w*\()|memory://name|goes on|CellConfig|wait_connected|_timeout|register|callback|\bcb\b|"
    r"Traceback"
)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [*((each, ExitCode.USAGE) for each in WRONG), *((each, ExitCode.UNREACHABLE) for each in UNREACHABLE)],
)
def test_case_6_4_sentences(
    arguments: list[str],
    code: ExitCode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert errors.startswith("streamcell: ")
    assert NO_WORDS.search(errors) is None, errors


def test_case_6_4_a_listener_that_others_can_reach(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--fqcn", "x", "--listen", "grpc://0.0.0.0:8014"]) == ExitCode.USAGE
    assert (
        "grpc://0.0.0.0:8014 can be reached from other machines and is not encrypted: use grpcs:// with certificates, "
        "or allow that with --insecure" in (capsys.readouterr().err)
    )


def test_case_6_4_nobody_is_there(url: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["ping", "nobody"], ["bench", "nobody"], ["send", str(file), "--to", "nobody"]):
        assert run([*command, "-c", url, "--wait", "0.2"]) == ExitCode.UNREACHABLE
        errors = capsys.readouterr().err
        assert "nobody" in errors
        assert NO_WORDS.search(errors) is None, errors


# --- 6.9: numbers of 64 bits ----------------------------------------------------------------------


def test_case_6_9_numbers_that_every_program_can_read(
    hub: StandaloneCell, url: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(grpc_carrier().cell("far", connect=url)) as far:
        far.wait_connected(PATIENCE_S)
        eventually(lambda: "far" in [known.fqcn for known in hub.cell.cells()])
        shown = []
        for command in asking(file):
            assert run([*command, "-c", url, "--json"]) == ExitCode.DONE
            shown += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        incarnations = {known.fqcn: str(known.incarnation) for known in hub.cell.cells()}
    found = {each["fqcn"]: each["incarnation"] for each in shown if "fqcn" in each}
    assert {name: found[name] for name in ("hub", "far")} == {name: incarnations[name] for name in ("hub", "far")}

    def largest(value: object) -> float:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return max(map(largest, value), default=0)
        return value if isinstance(value, int | float) else 0

    assert largest(shown) < 2**53


# --- every verb -----------------------------------------------------------------------------------


def test_every_verb_tells_its_options_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert run([command.callback.__name__, "--help"]) == ExitCode.DONE
        output = capsys.readouterr().out
        assert "Exit codes: 0 all was done" in output
        assert "--connect" in output
        assert "STREAMCELL_CONNECT" in output
        assert max(map(len, output.splitlines())) <= 80


def test_case_6_4_who_asks_for_nothing_is_shown_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitCode.USAGE
    output, errors = capsys.readouterr()
    assert output.startswith("Usage: streamcell ")
    assert "send" in output
    assert errors == ""
