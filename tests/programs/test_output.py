"""Each verb of the command line with output that goes wrong.

What was to be transferred is transferred, and the exit code tells of that; verbs whose output is all that they do say
that it was lost. A verb that is added needs a scene here.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from streamcell import StreamCell
from streamcell.cli.app import app
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC, FileHeaders
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from streamcell.message import Message
from tests.kit.cells import grpc_carrier, running
from tests.kit.programs import LIMIT_S, STREAMCELL, environment
from tests.kit.waiting import PATIENCE_S, eventually

NAME = "grüße-☃.txt"
ESCAPED = r"gr\xfc\xdfe-\u2603.txt"
CONTENT = b"content\n" * 1000
FULL = Path("/dev/full")
# Processes that run side by side: most of a command's time is Python's own start.
AT_A_TIME = 4


@dataclasses.dataclass(frozen=True)
class Wrong:
    """What is wrong with standard output and standard error: "", closed, full, or gone (nobody reads it)."""

    output: str = ""
    errors: str = ""
    encoding: str = ""

    @property
    def folder(self) -> str:
        """A name of its own."""
        return f"output-{self.output}-errors-{self.errors}-{self.encoding}"

    @property
    def answer(self) -> ExitCode:
        """What a verb ends with whose output is all that it does."""
        return ExitCode.FAILED if self.output in ("closed", "full") else ExitCode.DONE


WRONG = [
    *(Wrong(output=kind) for kind in ("closed", "full", "gone")),
    *(Wrong(output=kind, errors=kind) for kind in ("closed", "full", "gone")),
    Wrong(errors="closed"),
    Wrong(encoding="ascii"),
]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A command that has ended, and what could be read of it."""

    status: int
    output: str
    errors: str


class Run:
    """A command whose output is wrong. A context manager: at its end the command has ended."""

    def __init__(self, wrong: Wrong, arguments: Sequence[str], cwd: Path) -> None:
        closed = "".join(f" {number}>&-" for number, kind in ((1, wrong.output), (2, wrong.errors)) if kind == "closed")
        self._files = contextlib.ExitStack()
        variables = environment() | ({"PYTHONIOENCODING": wrong.encoding} if wrong.encoding else {})
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@"{closed}', "sh", *STREAMCELL, *arguments],
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self._open(wrong.output),
            stderr=self._open(wrong.errors),
        )
        self._files.close()

    def _open(self, kind: str) -> int:
        if kind == "full":
            return self._files.enter_context(FULL.open("wb")).fileno()
        if kind == "gone":
            reading, writing = os.pipe()
            os.close(reading)
            self._files.callback(os.close, writing)
            return writing
        return subprocess.PIPE

    def wait(self) -> Ended:
        """Wait for the end."""
        output, errors = self.process.communicate(timeout=LIMIT_S)
        return Ended(self.process.returncode, (output or b"").decode(), (errors or b"").decode())

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a scene is played on: a hub with an inbox, and a folder of its own."""

    hub: StandaloneCell
    inbox: Path
    folder: Path
    wrong: Wrong

    @property
    def url(self) -> str:
        """Where the hub listens."""
        return self.hub.cell.listen_urls[0]

    def run(self, *arguments: str) -> Run:
        """Start a command."""
        return Run(self.wrong, arguments, self.folder)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StandaloneCell, Path]]:
    inbox = tmp_path_factory.mktemp("inbox")
    settings = ServeSettings(fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=InboxSettings(folder=inbox), grace_s=0)
    with StandaloneCell(settings, LogWatcher()) as standalone:
        standalone.start()
        yield standalone, inbox


def send_to(fqcn: str, url: str) -> None:
    """Send a file to a cell that has just been started."""
    with running(grpc_carrier().cell("site", connect=url)) as cell:
        cell.wait_connected(PATIENCE_S)
        message = Message(FileHeaders(NAME).to_headers(), CONTENT)
        StreamCell(cell).send_stream(FILE_CHANNEL, FILE_TOPIC, fqcn, message).result(PATIENCE_S)


@contextlib.contextmanager
def short_path() -> Iterator[str]:
    """Give an address that is known before anybody has said it; sockets need short paths."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cell-") as folder:
        yield f"unix://{folder}/socket"


# --- the scenes -----------------------------------------------------------------------------------


def send(stage: Stage) -> None:
    own_name = stage.folder.name
    (stage.folder / "files").mkdir()
    for number in range(3):
        (stage.folder / "files" / f"{number}-{NAME}").write_bytes(CONTENT)
    with stage.run("send", "files", "--to", "hub", "-c", stage.url, "--as", own_name) as command:
        ended = command.wait()
    for number in range(3):
        assert (stage.inbox / own_name / "files" / f"{number}-{NAME}").read_bytes() == CONTENT
    if stage.wrong.encoding:
        assert f"files/0-{ESCAPED}: {len(CONTENT):,} bytes to hub" in ended.output
    check_work(stage, ended)


def recv(stage: Stage) -> None:
    with short_path() as address:
        arguments = ("recv", "--as", "far", "--listen", address, "--into", "in", "--count", "1")
        with stage.run(*arguments) as command:
            send_to("far", address)
            ended = command.wait()
    assert (stage.folder / "in/site" / NAME).read_bytes() == CONTENT
    if stage.wrong.encoding:
        assert f"in/site/{ESCAPED}: {len(CONTENT):,} bytes" in ended.output
    check_work(stage, ended)


def serve(stage: Stage) -> None:
    with short_path() as address, stage.run("serve", "--fqcn", "far", "-l", address, "--inbox", "in") as command:
        send_to("far", address)
        command.process.send_signal(signal.SIGTERM)
        ended = command.wait()
    assert (stage.folder / "in/site" / NAME).read_bytes() == CONTENT
    if stage.wrong.encoding:
        assert ESCAPED in ended.errors
    check_work(stage, ended)


def ping(stage: Stage) -> None:
    with stage.run("ping", "hub", "-c", stage.url, "--count", "2", "--interval", "0") as command:
        check_answer(stage, command.wait(), "hub answered in ")


def cells(stage: Stage) -> None:
    with running(grpc_carrier().cell(f"cell-of-{stage.folder.name}", connect=stage.url)) as below:
        below.wait_connected(PATIENCE_S)
        eventually(lambda: below.fqcn in [known.fqcn for known in stage.hub.cell.cells()])
        with stage.run("cells", "-c", stage.url) as command:
            ended = command.wait()
    check_answer(stage, ended, "`-- " if stage.wrong.encoding else "└── ")


def bench(stage: Stage) -> None:
    with stage.run("bench", "hub", "-c", stage.url, "--seconds", "0.1") as command:
        check_answer(stage, command.wait(), "throughput  ")


SCENES: dict[str, Callable[[Stage], None]] = {
    "serve": serve,
    "send": send,
    "recv": recv,
    "ping": ping,
    "cells": cells,
    "bench": bench,
}


def check_work(stage: Stage, ended: Ended) -> None:
    """Check a verb that moves files, and has."""
    assert ended.status == ExitCode.DONE, ended
    complaints = [line for line in ended.errors.splitlines() if line.startswith("streamcell: ")]
    if stage.wrong.output == "full" and not stage.wrong.errors:
        assert complaints == ["streamcell: standard output cannot be written to: No space left on device"]
    else:
        assert complaints == []
    assert "Traceback" not in ended.errors


def check_answer(stage: Stage, ended: Ended, shown: str) -> None:
    """Check a verb whose output is all that it does."""
    assert ended.status == stage.wrong.answer, ended
    if not stage.wrong.output:
        assert shown in ended.output
    if stage.wrong.errors:
        return
    if ended.status == ExitCode.DONE:
        assert ended.errors == ""
    else:
        reason = {"closed": "it is closed", "full": "No space left on device"}[stage.wrong.output]
        assert ended.errors == f"streamcell: standard output cannot be written to: {reason}\n"


# --- the tests ------------------------------------------------------------------------------------


def verbs() -> list[str]:
    """Return the verbs that the command line has."""
    return [command.callback.__name__ for command in app.registered_commands if command.callback is not None]


@pytest.mark.parametrize("verb", verbs())
def test_output_goes_wrong(verb: str, hub: tuple[StandaloneCell, Path], tmp_path: Path) -> None:
    def play(wrong: Wrong) -> None:
        folder = tmp_path / wrong.folder
        folder.mkdir()
        SCENES[verb](Stage(*hub, folder, wrong))

    possible = [wrong for wrong in WRONG if "full" not in (wrong.output, wrong.errors) or FULL.exists()]
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(play, possible))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("send", "--help")])
def test_help_that_cannot_be_shown(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for wrong in (Wrong(output="closed"), Wrong(output="gone"), Wrong(encoding="ascii")):
        with Run(wrong, arguments, tmp_path) as command:
            ended = command.wait()
        assert (ended.status, "Traceback" in ended.errors) == (wrong.answer, False), ended


def test_no_command_gives_bytes_to_what_is_closed(hub: tuple[StandaloneCell, Path], tmp_path: Path) -> None:
    closed = Wrong(output="closed")
    with Run(closed, ("recv", "--as", "far", "-l", "grpc://127.0.0.1:0", "--into", "-"), tmp_path) as command:
        ended = command.wait()
    assert ended.status == ExitCode.USAGE
    assert "standard output is closed" in ended.errors


@pytest.mark.parametrize("path", ["-", "/dev/stdin", "/dev/fd/0"])
@pytest.mark.parametrize("also_closed", ["", " >&-", " >&- 2>&-"])
def test_closed_input_is_not_sent_as_an_empty_file(
    hub: tuple[StandaloneCell, Path], tmp_path: Path, path: str, also_closed: str
) -> None:
    script = [*STREAMCELL, "send", path, "--to", "hub", "-c", hub[0].cell.listen_urls[0]]
    sent = subprocess.run(
        ["sh", "-c", f'exec "$@" <&-{also_closed}', "sh", *script],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert sent.returncode == ExitCode.USAGE
    assert "2>" in also_closed or b"standard input is closed" in sent.stderr


@pytest.mark.skipif(not Path("/proc").exists(), reason="this system does not show what is open")
def test_what_is_closed_is_not_given_to_files(hub: tuple[StandaloneCell, Path], tmp_path: Path) -> None:
    # Descriptor 2 would be the first file or socket that is opened: gRPC's own log would go there.
    closed = Wrong(output="closed", errors="closed")
    with short_path() as address, Run(closed, ("serve", "--fqcn", "x", "-l", address), tmp_path) as command:
        with running(grpc_carrier().cell("site", connect=address)) as cell:
            cell.wait_connected(PATIENCE_S)
        places = [Path(f"/proc/{command.process.pid}/fd/{number}").readlink() for number in (1, 2)]
        command.process.send_signal(signal.SIGTERM)
        assert command.wait().status == ExitCode.DONE
    assert places == [Path(os.devnull)] * 2


def test_json_is_whole_or_not_there(hub: tuple[StandaloneCell, Path], tmp_path: Path) -> None:
    with Run(Wrong(encoding="ascii"), ("cells", "-c", hub[0].cell.listen_urls[0], "--json"), tmp_path) as command:
        ended = command.wait()
    assert [json.loads(line)["fqcn"] for line in ended.output.splitlines()] == ["hub"]
