"""What is shown on a terminal of 80 columns, and what where there is none."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import CoreCell, ReceivedStream, StreamCell, StreamFuture
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from tests.kit.cells import QUICK, grpc_carrier, running
from tests.kit.programs import LIMIT_S, STREAMCELL, Command, environment
from tests.kit.waiting import Gate, eventually

COLUMNS = 80
SIZE = 5_000_000
NAME = "measurements-of-the-whole-year-[2026]-and-more.tar.zst"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class HalfWay:
    """A cell that takes nothing but the first two fifths of a file until its gate is opened."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        # A small window: progress counts what has arrived, not what was read.
        config = dataclasses.replace(QUICK, max_window_bytes=256 * 1024)
        self.cell = grpc_carrier().cell("office", listen="grpc://127.0.0.1:0", config=config)
        StreamCell(self.cell).register_stream_cb(FILE_CHANNEL, FILE_TOPIC, self._receive)

    def _receive(self, _future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        while stream.get_pos() < 2_000_000 and stream.read(2_000_000 - stream.get_pos()):
            pass
        self._gate.pass_through()
        stream.readall()


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as made:
        yield made


@pytest.fixture
def office(gate: Gate) -> Iterator[CoreCell]:
    with running(HalfWay(gate).cell) as cell:
        yield cell


@pytest.fixture
def command(tmp_path: Path, office: CoreCell) -> list[str]:
    (tmp_path / NAME).write_bytes(bytes(SIZE))
    return ["send", NAME, "--to", "office", "--connect", office.listen_urls[0], "--as", "lab"]


class Terminal:
    """A terminal of 80 columns with a program on it."""

    def __init__(self, command: list[str], cwd: Path) -> None:
        self._main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        variables = environment() | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [*STREAMCELL, *command], cwd=cwd, env=variables, stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        self.shown = ""

    def read(self) -> bool:
        """Read what is shown next; return False at the end."""
        ready, _, _ = select.select([self._main], [], [], LIMIT_S)
        if not ready:
            raise AssertionError(f"nothing was shown for {LIMIT_S} s: {self.shown!r}")
        try:
            data = os.read(self._main, 65536)
        except OSError:
            # Linux says so when nobody has the terminal open any more.
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def wait_for(self, pattern: str) -> None:
        """Wait until something is shown in which `pattern` is found."""
        while not re.search(pattern, CONTROL.sub("", self.shown)):
            if not self.read():
                raise AssertionError(f"{pattern!r} was never shown: {self.shown!r}")

    def wait(self) -> int:
        """Read to the end and return the status."""
        while self.read():
            pass
        return self.process.wait(LIMIT_S)

    @property
    def lines(self) -> list[str]:
        """Every line that was ever shown, without colours and movements of the cursor."""
        return [line for line in re.split(r"[\r\n]+", CONTROL.sub("", self.shown)) if line.strip()]

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)
        os.close(self._main)


@pytest.fixture
def terminal(command: list[str], tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(command, tmp_path)
    yield opened
    opened.close()


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


def test_terminal_shows_a_bar_and_then_the_result(terminal: Terminal, gate: Gate) -> None:
    terminal.wait_for(r"[45]\d % of 5\.0 MB +[\d.]+ [kM]?B/s")
    gate.wait_arrived()
    gate.open()
    assert terminal.wait() == ExitCode.DONE
    bars = [line for line in terminal.lines if "━" in line]
    assert bars
    for bar in bars:
        assert width(bar) <= COLUMNS
        # Its two ends, and brackets are no markup.
        assert bar.startswith("measureme…re.tar.zst "), bar
        assert bar.rstrip().endswith(("/s", "left")), bar
    assert f"{NAME}: 5,000,000 bytes to office in " in terminal.lines[-1]
    # The cursor is shown again at the end.
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")


def test_interrupted_on_a_terminal(terminal: Terminal, gate: Gate) -> None:
    gate.wait_arrived()
    terminal.wait_for("━")
    os.kill(terminal.process.pid, 2)
    assert terminal.wait() == ExitCode.INTERRUPTED
    assert terminal.lines[-1] == "streamcell: interrupted: give the same command again to go on"
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")


def test_without_a_terminal_there_are_plain_lines(command: list[str], tmp_path: Path, gate: Gate) -> None:
    with Command(*command, cwd=tmp_path) as sender:
        gate.wait_arrived()
        # Every five seconds.
        sender.errors.wait_for(r"^measurements.*zst: [45]\d % of 5\.0 MB, ")
        gate.open()
        assert sender.wait() == ExitCode.DONE
    printed = sender.output.all + sender.errors.all
    assert not any("\x1b" in line or "\r" in line or "━" in line for line in printed)
    assert [line.split(" in ")[0] for line in sender.output.all] == [f"{NAME}: 5,000,000 bytes to office"]


def test_output_to_a_file_while_the_bar_is_on_the_terminal(office: CoreCell, tmp_path: Path, gate: Gate) -> None:
    (tmp_path / "small").write_bytes(b"content")
    gate.open()
    arguments = f"send small --to office --connect {office.listen_urls[0]} --as lab > result"
    shell = " ".join(STREAMCELL) + " " + arguments
    main, terminal = pty.openpty()
    try:
        ended = subprocess.run(
            ["sh", "-c", shell],
            cwd=tmp_path,
            env=environment(),
            stdin=terminal,
            stderr=terminal,
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(main)
    assert ended.returncode == ExitCode.DONE
    eventually(lambda: (tmp_path / "result").read_text().startswith("small: 7 bytes to office in "))
    assert "\x1b" not in (tmp_path / "result").read_text()
