"""Sealed files on the command line: through a hub that has no certificate and can open nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import Command, certificate, complaint, hub, make_certificates, run_command

FILE = b"what only the office may read" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with certificates, and a file."""
    make_certificates(tmp_path, "office", "lab")
    (tmp_path / "numbers.txt").write_bytes(FILE)
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """Where a hub listens that has a standing cell below it which takes only what is sealed."""
    with contextlib.ExitStack() as ends:
        _, address = ends.enter_context(hub(folder))
        office = ("serve", "--fqcn", "office", "--connect", address, "--inbox", "office", "--require-sealed")
        ends.enter_context(Command(*office, *certificate("office"), cwd=folder))
        yield address


def test_only_what_is_sealed_is_taken(folder: Path, url: str) -> None:
    send = ("send", "numbers.txt", "--to", "office", "--connect", url, "--as", "lab", *certificate("lab"))
    refused = run_command(*send, cwd=folder)
    assert refused.returncode == ExitCode.FAILED
    assert "office takes only what is sealed: send it with --secure" in complaint(refused)
    sent = run_command(*send, "--secure", cwd=folder)
    assert sent.returncode == ExitCode.DONE, sent.stderr
    assert (folder / "office/lab/numbers.txt").read_bytes() == FILE
    (folder / "empty").mkdir()
    folders = ("send", "empty", *send[2:])
    assert "takes only what is sealed" in complaint(run_command(*folders, cwd=folder))
    assert run_command(*folders, "--secure", cwd=folder).returncode == ExitCode.DONE
    assert (folder / "office/lab/empty").is_dir()


def test_a_receiver_without_a_certificate_gets_nothing(folder: Path, url: str) -> None:
    sent = run_command(
        "send", "numbers.txt", "--to", "hub", "--connect", url, "--secure", *certificate("lab"), cwd=folder
    )
    assert sent.returncode not in (ExitCode.DONE, ExitCode.USAGE)
    assert "hub cannot seal: it has no certificates" in complaint(sent)
    assert list((folder / "inbox").rglob("numbers.txt")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("send", "numbers.txt", "--to", "office", "--connect", "grpc://127.0.0.1:1", "--secure"), "--secure needs"),
        (
            ("serve", "--fqcn", "office", "--listen", "grpc://127.0.0.1:0", "--inbox", "in", "--require-sealed"),
            "is to take only files that are sealed, and cannot open them: give it certificates",
        ),
        (
            ("serve", "--fqcn", "office", "--listen", "grpc://127.0.0.1:0", "--require-sealed"),
            "--require-sealed are about files in the inbox",
        ),
        (
            ("recv", "--as", "office", "--listen", "grpc://127.0.0.1:0", "--into", "-", "--require-sealed"),
            "are for a folder",
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = run_command(*arguments, cwd=folder)
    assert ended.returncode == ExitCode.USAGE
    assert said in complaint(ended)
