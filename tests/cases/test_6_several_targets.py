"""`send` to several cells: each gets everything, and each has a line of its own."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import CoreCell, ErrorCode, ReceivedStream, StreamCell, StreamFuture, StreamRejected
from streamcell.cli.app import run
from streamcell.cli.outcome import ExitCode
from streamcell.cli.transfers import AT_A_TIME
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit.cells import running
from tests.kit.programs import run_command as run_process
from tests.kit.waiting import PATIENCE_S


@contextlib.contextmanager
def standing(name: str, inbox: Path | None, connect: tuple[str, ...] = ()) -> Iterator[StandaloneCell]:
    """Run a standing cell with an inbox."""
    settings = ServeSettings(
        fqcn=name,
        listen=("grpc://127.0.0.1:0",),
        connect=connect,
        inbox=None if inbox is None else InboxSettings(folder=inbox),
        grace_s=0,
    )
    with StandaloneCell(settings, LogWatcher()) as cell:
        cell.start()
        cell.wait_connected(PATIENCE_S)
        yield cell


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where `office` listens, with `lab` below it, which both have inboxes, and `store`, which has none."""
    with standing("office", tmp_path / "office") as office:
        urls = tuple(office.cell.listen_urls)
        with standing("lab", tmp_path / "lab", urls), standing("store", None, urls):
            yield urls[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    for number in range(6):
        (path / f"{number}.jpg").write_bytes(bytes([number]) * 1000)
    return path


def arrived(inbox: Path) -> dict[str, bytes]:
    """Return what has arrived of the folder."""
    return {path.name: path.read_bytes() for path in (inbox / "site/photos").iterdir()}


def test_case_6_1_each_cell_gets_everything(
    url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["send", str(folder), "--to", "office", "--to", "lab", "-c", url, "--as", "site"]
    assert run(command) == ExitCode.DONE
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert arrived(tmp_path / "office") == arrived(tmp_path / "lab") == content
    *lines, summary = capsys.readouterr().out.splitlines()
    assert sorted(line.split(" in ")[0] for line in lines) == sorted(
        f"photos/{name}: 1,000 bytes to {cell}" for name in content for cell in ("lab", "office")
    )
    assert summary.startswith("12 files to 2 cells, 12,000 bytes in ")
    # In any order, and for each by itself, it is known again.
    again = ["send", str(folder), "--to", "lab", "--to", "office", "-c", url, "--json", "--as", "site"]
    assert run(again) == ExitCode.DONE
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(results) == 12
    assert {result["peer"] for result in results} == {"office", "lab"}
    assert {result["sent_bytes"] for result in results} == {0}


@pytest.mark.parametrize("other", ["store", "nobody"])
def test_case_6_1_one_that_fails_does_not_keep_the_others_from_it(
    url: str, folder: Path, tmp_path: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["send", str(folder), "--to", other, "--to", "lab", "-c", url, "--as", "site", "--wait", "0.5"]
    assert run(command) == ExitCode.FAILED
    assert len(arrived(tmp_path / "lab")) == 6
    output, errors = capsys.readouterr()
    assert output.splitlines()[-1].endswith("; 6 failed")
    *tried, rest = errors.splitlines()
    assert all(line.startswith("photos/") and f".jpg to {other}: " in line for line in tried)
    assert (len(tried), rest) == (AT_A_TIME, f"{other}: {6 - AT_A_TIME} more are not sent")
    assert run([*command, "--json"]) == ExitCode.FAILED
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(result["peer"], "error" in result) for result in results} == {("lab", False), (other, True)}


def test_case_6_1_a_cell_that_is_missing_is_waited_for_once(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        (folder / str(number)).touch()
    began = time.monotonic()
    command = ["send", str(folder), "--to", "nobody", "-c", url, "--as", "site", "--wait", "1", "--json"]
    assert run(command) == ExitCode.UNREACHABLE
    assert time.monotonic() - began < 200 / AT_A_TIME
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len({result["name"] for result in results}) == len(results) == 200
    assert len({result["error"] for result in results}) == 1


def test_case_6_1_what_can_be_read_once_fails_for_itself(url: str, tmp_path: Path) -> None:
    """A receiver that is ending is waited for with what can be sent again."""
    (tmp_path / "file").write_bytes(b"content")
    names: list[object] = []

    def on_file(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        name = stream.headers["name"]
        names.append(name)
        if name == "stdin":
            raise StreamRejected("far is stopping", ErrorCode.STOPPING)
        stream.readall()

    with running(CoreCell("far", connect=url)) as far:
        StreamCell(far).register_stream_cb(FILE_CHANNEL, FILE_TOPIC, on_file)
        far.wait_connected(PATIENCE_S)
        names_of_more = [f"more-{number}" for number in range(AT_A_TIME)]
        for name in names_of_more:
            (tmp_path / name).touch()
        ended = run_process("send", "-", *names_of_more, "file", "--to", "far", "-c", url, cwd=tmp_path)
    assert ended.returncode == ExitCode.FAILED
    assert sorted(map(str, names)) == sorted(["stdin", "file", *names_of_more])


def test_case_6_1_nothing_could_be_reached(url: str, folder: Path) -> None:
    command = ["send", str(folder), "--to", "nobody", "--to", "nowhere", "-c", url, "--as", "site", "--wait", "0.3"]
    assert run(command) == ExitCode.UNREACHABLE


def test_case_6_1_what_can_be_read_once_goes_to_all(url: str, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    arguments = ("send", "-", "--name", "dump", "--to", "office", "--to", "lab", "-c", url, "--as", "site")
    ended = run_process(*arguments, cwd=tmp_path, data=data)
    assert (ended.returncode, ended.stderr) == (ExitCode.DONE, b"")
    assert len(ended.stdout.splitlines()) == 3
    for cell in ("office", "lab"):
        assert (tmp_path / cell / "site/dump").read_bytes() == data


def test_case_6_1_a_cell_that_is_named_twice_gets_it_once(
    url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["send", str(folder / "1.jpg"), "--to", "lab", "--to", "lab", "-c", url, "--as", "site"]
    assert run(command) == ExitCode.DONE
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert [path.name for path in (tmp_path / "lab/site").iterdir() if path.is_file()] == ["1.jpg"]
