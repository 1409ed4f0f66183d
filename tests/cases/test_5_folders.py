"""Folders as they are on disks: what can be sent is sent, what cannot is said."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import Message, StreamCell, StreamRejected
from streamcell.cli.app import run
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.conventions import FILE_CHANNEL, FOLDER_TOPIC
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit.cells import CARRIERS, connected_pair, grpc_carrier, running
from tests.kit.inboxes import World
from tests.kit.programs import LIMIT_S, STREAMCELL, environment
from tests.kit.waiting import PATIENCE_S


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def url(inbox: Path) -> Iterator[str]:
    settings = ServeSettings(
        fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=InboxSettings(folder=inbox), grace_s=PATIENCE_S
    )
    with StandaloneCell(settings, LogWatcher()) as standalone:
        standalone.start()
        yield standalone.cell.listen_urls[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    (path / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt", "z.txt"):
        (path / name).write_text(name)
    return path


def send(url: str, *arguments: str | Path) -> int:
    return run(["send", *map(str, arguments), "--to", "hub", "--connect", url, "--as", "lab"])


def arrived(inbox: Path) -> dict[str, str | None]:
    """Return what is there, with its content: None for a folder without anything."""
    below = inbox / "lab"
    found: dict[str, str | None] = {}
    for path in below.rglob("*"):
        name = str(path.relative_to(below))
        if path.is_file() and not name.startswith(".streamcell"):
            found[name] = path.read_text()
        elif path.is_dir() and not any(path.iterdir()) and name != ".streamcell":
            found[name] = None
    return found


ALL: dict[str, str | None] = {f"folder/{name}": name for name in ("a.txt", "deep/b.txt", "z.txt")}


def add_loop(folder: Path) -> None:
    (folder / "odd").symlink_to("odd")


def add_link_through_a_file(folder: Path) -> None:
    (folder / "odd").symlink_to("a.txt/x")


def add_link_with_a_long_name(folder: Path) -> None:
    (folder / "odd").symlink_to("x" * 300)


@pytest.mark.parametrize(
    ("add", "number"),
    [
        (add_loop, errno.ELOOP),
        (add_link_through_a_file, errno.ENOTDIR),
        (add_link_with_a_long_name, errno.ENAMETOOLONG),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_case_5_2_link_that_cannot_be_followed(
    url: str,
    inbox: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    add: Callable[[Path], None],
    number: int,
    as_json: bool,
) -> None:
    add(folder)
    assert send(url, folder, *(["--json"] if as_json else [])) == ExitCode.FAILED
    output, errors = capsys.readouterr()
    sentence = f"it cannot be read: {os.strerror(number)}"
    if as_json:
        failed = [each for each in map(json.loads, output.splitlines()) if "error" in each]
        assert [(each["name"], each["error"]) for each in failed] == [("folder/odd", sentence)]
    else:
        assert errors.splitlines() == [f"folder/odd: {sentence}"]
        assert output.splitlines()[-1].endswith("1 failed")
    assert arrived(inbox) == ALL


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, int], None]:
    """Have a call of the os module fail for one path. (The superuser may read everything.)"""

    def refuse_one(call: str, name: str, number: int) -> None:
        real = getattr(os, call)

        def refusing(path: Any = ".", *more: Any, **named: Any) -> Any:
            if os.fspath(path).endswith(name):
                raise OSError(number, os.strerror(number), path)
            return real(path, *more, **named)

        monkeypatch.setattr(os, call, refusing)

    return refuse_one


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EIO, errno.ESTALE])
def test_case_5_2_folder_below_that_cannot_be_read(
    url: str,
    inbox: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    refuse: Callable[[str, str, int], None],
    number: int,
) -> None:
    refuse("scandir", "folder/deep", number)
    assert send(url, folder) == ExitCode.FAILED
    assert capsys.readouterr().err.splitlines() == [f"folder/deep: it cannot be read: {os.strerror(number)}"]
    assert arrived(inbox) == {name: content for name, content in ALL.items() if "deep" not in name}


def test_case_5_2_folder_that_is_named_and_cannot_be_read_does_not_keep_others(
    url: str, inbox: Path, folder: Path, refuse: Callable[[str, str, int], None]
) -> None:
    refuse("scandir", "folder/deep", errno.EACCES)
    assert send(url, folder / "deep", folder / "a.txt") == ExitCode.FAILED
    assert arrived(inbox) == {"a.txt": "a.txt"}


def test_case_5_2_file_that_vanishes_while_folders_are_listed(
    url: str, inbox: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.scandir

    def scandir_late(path: Any) -> Any:
        with real(path) as entries:
            listed = list(entries)
        (folder / "z.txt").unlink(missing_ok=True)
        return real_entries(listed)

    monkeypatch.setattr(os, "scandir", scandir_late)
    assert send(url, folder) == ExitCode.FAILED
    assert capsys.readouterr().err.splitlines() == ["folder/z.txt: it cannot be read: No such file or directory"]
    assert arrived(inbox) == {name: content for name, content in ALL.items() if "z.txt" not in name}


class real_entries:  # noqa: N801 - stands for what os.scandir returns
    """A listing that was made before."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(self._entries)

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


def test_case_5_2_deep_folders_are_walked(url: str, inbox: Path, tmp_path: Path) -> None:
    place = tmp_path / "d"
    names = "/".join(["d"] * 60)
    (tmp_path / names).mkdir(parents=True)
    (tmp_path / names / "f").write_text("deep")
    assert send(url, place) == ExitCode.DONE
    assert arrived(inbox) == {f"{names}/f": "deep"}


@pytest.mark.parametrize("as_json", [False, True])
def test_case_5_3_what_has_no_content_is_left_out_and_said(
    url: str,
    inbox: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
) -> None:
    (folder / "nowhere").symlink_to("nothing")
    (folder / "to-a-folder").symlink_to("deep")
    (folder / "back").symlink_to("..")
    (folder / "null").symlink_to("/dev/null")
    (folder / "to-a-file").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert send(url, folder, *(["--json"] if as_json else [])) == ExitCode.DONE
    output, errors = capsys.readouterr()
    counts = {"dangling link": 1, "device": 1, "link to a folder": 2, "pipe": 1, "socket": 1}
    if as_json:
        assert errors == ""
        assert json.loads(output.splitlines()[0]) == {"left_out": counts}
    else:
        assert errors == "left out: 1 dangling link, 1 device, 2 links to folders, 1 pipe, 1 socket\n"
    assert arrived(inbox) == ALL | {"folder/to-a-file": "a.txt"}


def test_case_5_3_folders_without_files_arrive(
    url: str, inbox: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty/inner").mkdir(parents=True)
    (folder / "dangling").mkdir()
    (folder / "dangling/link").symlink_to("nothing")
    (tmp_path / "alone").mkdir()
    for _ in range(2):
        assert send(url, folder, tmp_path / "alone") == ExitCode.DONE
        assert capsys.readouterr().out.splitlines()[-1].startswith("3 files, 3 folders without files, 20 bytes in ")
    empty: dict[str, str | None] = {"folder/empty/inner": None, "folder/dangling": None, "alone": None}
    assert arrived(inbox) == ALL | empty


def test_case_5_3_folder_where_a_file_is_and_with_bytes_is_refused(inbox: Path) -> None:
    for carrier in CARRIERS.values():
        with connected_pair(carrier()) as pair:
            world = World(pair, inbox)
            world.send("taken").result(PATIENCE_S)
            for name, payload, sentence in (
                ("taken", b"", "cannot keep 'taken': 'taken' there is no folder"),
                ("new", b"bytes", "was sent as a folder, and has bytes"),
                ("../outside", b"", "leads out of the inbox"),
            ):
                message = Message({"name": name}, payload)
                sent = StreamCell(pair.site).send_stream(FILE_CHANNEL, FOLDER_TOPIC, "server", message)
                with pytest.raises(StreamRejected, match=sentence):
                    sent.result(PATIENCE_S)
        assert not (inbox / "site/new").exists()


def test_case_5_3_receiving_does_not_count_folders(tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    receiver = [*STREAMCELL, "recv", "--as", "box", "--listen", "grpc://127.0.0.1:0", "--into", "BOX", "--count", "3"]
    with subprocess.Popen(
        receiver, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running_receiver:
        if running_receiver.stderr is None:
            raise AssertionError("a pipe is missing")
        line = running_receiver.stderr.readline()
        address = line.split("listens at ")[1].split(";")[0]
        for path in (empty, folder):
            assert run(["send", str(path), "--to", "box", "-c", address, "--as", "lab"]) == ExitCode.DONE
        output, _ = running_receiver.communicate(timeout=LIMIT_S)
        assert running_receiver.returncode == ExitCode.DONE
    assert "BOX/lab/empty/: 0 bytes" in output
    assert (tmp_path / "BOX/lab/empty").is_dir()


def test_case_5_4_the_rest_is_sent_when_nobody_reads_of_it(url: str, inbox: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(60):
        (many / f"{number:02}").write_text(str(number))
    arguments = [*STREAMCELL, "send", str(many), "--to", "hub", "-c", url, "--as", "lab"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as sender:
        if sender.stdout is None or sender.stderr is None:
            raise AssertionError("a pipe is missing")
        assert sender.stdout.readline().startswith(b"many/")
        sender.stdout.close()
        errors = sender.stderr.read()
        assert sender.wait(LIMIT_S) == ExitCode.DONE, errors
    assert arrived(inbox) == {f"many/{number:02}": str(number) for number in range(60)}


@pytest.mark.parametrize("as_json", [False, True])
def test_case_6_3_cell_without_an_inbox(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    (tmp_path / "x").write_text("x")
    (tmp_path / "empty").mkdir()
    with running(grpc_carrier().cell("hub", listen="grpc://127.0.0.1:0")) as hub:
        more = ["--json"] if as_json else []
        assert send(hub.listen_urls[0], tmp_path / "x", *more) == ExitCode.FAILED
        output, errors = capsys.readouterr()
        sentence = "hub takes no files: start it with --inbox DIR"
        if as_json:
            assert json.loads(output)["error"] == sentence
        else:
            assert errors == f"x: {sentence}\n"
        assert send(hub.listen_urls[0], tmp_path / "empty") == ExitCode.FAILED
        assert "hub takes no folders without files: start it with --inbox DIR" in capsys.readouterr().err


# --- 5.7: what is refused for the same reason


@pytest.mark.parametrize("as_json", [False, True])
def test_case_5_7_a_reason_is_told_once_and_counted(
    url: str, inbox: Path, folder: Path, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    """Two folders cannot be made, and what is in them cannot be kept; the rest arrives."""
    for part in ("deep", "far"):
        for number in range(5):
            (folder / part).mkdir(exist_ok=True)
            (folder / part / f"{number}.txt").write_text("content")
    (inbox / "lab/folder").mkdir(parents=True)
    for part in ("deep", "far"):
        (inbox / "lab/folder" / part).write_text("no folder")
    names = {
        part: {str(path.relative_to(folder.parent)) for path in (folder / part).iterdir()} for part in ("deep", "far")
    }
    assert send(url, folder, *(["--json"] if as_json else [])) == ExitCode.FAILED
    assert {"folder/a.txt", "folder/z.txt"} <= arrived(inbox).keys()
    output, errors = capsys.readouterr()
    if as_json:
        told = [json.loads(line) for line in output.splitlines()]
        failed = {each["name"]: each["error"] for each in told if "error" in each}
        assert failed.keys() == names["deep"] | names["far"]
        assert all(f"cannot keep '{name}': " in error for name, error in failed.items())
        assert errors == ""
        return
    lines = errors.splitlines()
    assert len(lines) == 4
    for part, refused in names.items():
        (first,) = (line.split(":")[0] for line in lines if f"'{part}' there is no folder" in line)
        assert first in refused
        assert f"hub: {len(refused) - 1} more were refused as {first} was" in lines
