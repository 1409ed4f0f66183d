"""The verbs in this process: what they return and print. As programs of their own they are in tests/programs."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell.cli import sources
from streamcell.cli.app import run
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit.cells import grpc_carrier, running
from tests.kit.waiting import PATIENCE_S, eventually

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandaloneCell]:
    settings = ServeSettings(
        fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=InboxSettings(folder=tmp_path / "inbox"), grace_s=PATIENCE_S
    )
    with StandaloneCell(settings, LogWatcher()) as standalone:
        standalone.start()
        yield standalone


@pytest.fixture
def url(hub: StandaloneCell) -> str:
    return hub.cell.listen_urls[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    path = tmp_path / "photos"
    path.mkdir()
    (path / "a").write_bytes(CONTENT)
    (path / "b").write_bytes(b"b")
    return path


def test_send_a_folder(url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["send", str(folder), "--to", "hub", "-c", url, "--as", "lab", "--digest"]) == ExitCode.DONE
    output, errors = capsys.readouterr()
    assert errors == ""
    assert output.splitlines()[-1].startswith("2 files, 256,001 bytes in ")
    assert (tmp_path / "inbox/lab/photos/a").read_bytes() == CONTENT


def test_send_what_has_gone_meanwhile(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = sources.find_sources

    def find_and_remove(*arguments: Any) -> sources.Found:
        found = find(*arguments)
        (folder / "b").unlink()
        return found

    monkeypatch.setattr(sources, "find_sources", find_and_remove)
    assert run(["send", str(folder), "--to", "hub", "-c", url]) == ExitCode.FAILED
    output, errors = capsys.readouterr()
    assert errors == "photos/b: it cannot be read: No such file or directory\n"
    assert output.splitlines()[-1].endswith("; 1 failed")


def test_send_what_is_refused(
    url: str, folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["send", str(folder / "a"), "--name", "../a", "--to", "hub", "-c", url]
    assert run(arguments) == ExitCode.FAILED
    assert "leads out of the inbox" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == ExitCode.FAILED
    assert "leads out of the inbox" in json.loads(capsys.readouterr().out)["error"]
    # The inbox tells of each, once. (Which cell of the process has set what is told by the cells.)
    warnings = [record.name for record in caplog.records if record.levelname == "WARNING"]
    assert [name for name in warnings if name != "streamcell.cell"] == ["streamcell.daemon"] * 2


def test_ping_and_cells_and_bench(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with running(grpc_carrier().cell("far", connect=url)) as far:
        far.wait_connected(PATIENCE_S)
        assert run(["ping", "far", "-c", url, "--count", "2", "--interval", "0"]) == ExitCode.DONE
        assert capsys.readouterr().out.splitlines()[-1] == "by way of hub"
        assert run(["ping", "far", "-c", url, "--count", "1", "--json"]) == ExitCode.DONE
        assert json.loads(capsys.readouterr().out)["way"] == ["hub", "far"]
        assert run(["cells", "-c", url]) == ExitCode.DONE
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["hub", "└──"]
        assert run(["cells", "-c", url, "--json"]) == ExitCode.DONE
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {each["fqcn"]: each["parent"] for each in found} == {"hub": "", "far": "hub"}
    assert run(["bench", "hub", "-c", url, "--seconds", "0.1"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("throughput  ")
    assert run(["bench", "hub", "-c", url, "--seconds", "0.1", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["bytes_per_s"] >= 0


def test_nobody_answers(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ping", "nobody", "-c", url, "--wait", "0.3"]) == ExitCode.UNREACHABLE
    assert run(["ping", "hub", "-c", "grpc://127.0.0.1:1", "--wait", "0.3"]) == ExitCode.UNREACHABLE
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["send"], "missing argument 'PATH'; 'streamcell send --help' tells what there is"),
        (["nothing"], "no such command 'nothing'; 'streamcell --help' tells what there is"),
        (["recv", "--as", "x", "--into", "y"], "name a way to the others"),
        (["serve", "--fqcn", "x"], "neither listens nor dials"),
        (["serve", "--fqcn", "x", "--connect", "grpc://127.0.0.1:0"], "port 0 is for listening"),
        (["send", "", "--to", "hub", "-c", "grpc://127.0.0.1:1"], "'' is no path"),
        (["recv", "--as", "x", "--into", "", "--listen", "grpc://127.0.0.1:0"], "'' is no path"),
        (["serve", "--fqcn", "x", "--listen", "grpc://127.0.0.1:0", "--inbox", ""], "'' is no path"),
    ],
)
def test_wrong_usage(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == ExitCode.USAGE
    assert sentence in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("streamcell ")
    assert run(["send", "--help"]) == ExitCode.DONE
    assert "Exit codes" in capsys.readouterr().out


@pytest.fixture
def address() -> Iterator[str]:
    """Where a cell may listen that does not run yet; its path is short, as sockets need it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cell-") as folder:
        yield f"unix://{folder}/socket"


@pytest.mark.parametrize("target", ["folder", "output"])
def test_receive(
    tmp_path: Path, folder: Path, address: str, target: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sent: list[int] = []
    command = ["send", str(folder / "a"), "--to", "far", "-c", address, "--as", "lab"]
    sender = threading.Thread(target=lambda: sent.append(run(command)))
    sender.start()
    into = ["--into", str(tmp_path / "in"), "--count", "1"] if target == "folder" else ["--into", "-"]
    assert run(["recv", "--as", "far", "--listen", address, *into]) == ExitCode.DONE
    sender.join(PATIENCE_S)
    assert sent == [ExitCode.DONE]
    output = capfdbinary.readouterr().out
    if target == "folder":
        assert (tmp_path / "in/lab/a").read_bytes() == CONTENT
        assert f"{tmp_path}/in/lab/a: 256,000 bytes in ".encode() in output
    else:
        assert CONTENT in output


def test_serve_until_a_signal(tmp_path: Path, folder: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[int] = []

    def send_and_end() -> None:
        sent.append(run(["send", str(folder / "a"), "--to", "hub", "-c", address, "--as", "lab"]))
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send_and_end)
    sender.start()
    config = tmp_path / "hub.toml"
    config.write_text('fqcn = "hub"\n[metrics]\nlisten = "127.0.0.1:0"\n')
    inbox = str(tmp_path / "inbox")
    assert run(["serve", "--config", str(config), "-l", address, "--inbox", inbox, "--reflection"]) == ExitCode.DONE
    sender.join(PATIENCE_S)
    assert sent == [ExitCode.DONE]
    output = capsys.readouterr().out
    for line in (f"hub listens at {address}", "metrics at http://127.0.0.1:", "hub is draining", "hub has ended"):
        assert line in output
    eventually(lambda: (tmp_path / "inbox/lab/a").read_bytes() == CONTENT)
