"""The programs in the README and other documents run as they stand there, and print what is shown."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.kit.programs import ROOT, Process, Program, run, unhappy
from tests.programs.documents import PORT, Shown, blocks, programs, section

GUIDE = ROOT / "docs/guide.md"
PROGRAMS = programs()
PASTED = [program for program in PROGRAMS if not program.file]
SAVED = {program.file: program.code for program in PROGRAMS if program.file}


def shape(line: str) -> str:
    """Return a line without what differs from run to run: times, rates, ports, and the blanks that line them up."""
    return re.sub(r" +", " ", re.sub(r"\d+(\.\d+)? (s|ms|[kMG]?B/s)\b|(?<=127\.0\.0\.1:)\d+", "#", line)).strip()


@pytest.mark.parametrize("program", PASTED, ids=lambda program: f"{program.document.stem}-{program.number}")
def test_program_runs(program: Shown, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program.code, encoding="utf-8")
    # The log has a pipe of its own: a line of it may come in the middle of what is printed.
    with Process([sys.executable, path], cwd=tmp_path, variables=os.environ) as process:
        assert process.wait() == 0, process.errors.all
        lines, logged = process.output.all, process.errors.all
    assert lines
    assert unhappy([*lines, *logged]) == []
    shown = [shape(line) for line in program.output.splitlines()]
    assert [line for line in map(shape, lines) if line in shown] == shown


def test_every_saved_program_has_a_test() -> None:
    # echo.py is run with the cell in JavaScript.
    assert SAVED.keys() == {"receiver.py", "sender.py", "lab.py", "echo.py"}


def test_two_terminals(tmp_path: Path) -> None:
    receiver_program, sender_program = tmp_path / "receiver.py", tmp_path / "sender.py"
    receiver_program.write_text(SAVED["receiver.py"].replace(PORT, "grpc://127.0.0.1:0"), encoding="utf-8")
    with Program(receiver_program, cwd=tmp_path) as receiver:
        url = receiver.wait_for(r"listening at (grpc://\S+);")[1]
        sender_program.write_text(SAVED["sender.py"].replace(PORT, url), encoding="utf-8")
        lines = run(sender_program, cwd=tmp_path)
        receiver.wait_for(r"copy-of-numbers.txt: 6,888,890 bytes")
        receiver.input.close()
        assert receiver.wait() == 0
    assert "the receiver has written 6,888,890 bytes" in lines
    assert unhappy(lines + receiver.lines) == []
    assert (tmp_path / "copy-of-numbers.txt").read_bytes() == (tmp_path / "numbers.txt").read_bytes()


def test_without_a_program(tmp_path: Path) -> None:
    walk = section(GUIDE, "## Without a program")
    serve, receive, send = blocks(walk, "shell")
    shown, shown_by_python = blocks(walk, "text")

    def terminal(commands: str) -> Program:
        path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
        return Program(path, "bash", "-euc", commands, cwd=tmp_path, interpreter="/usr/bin/env")

    # Ctrl-C in a terminal reaches the program, here a signal reaches the shell unless the program takes its place.
    serve, receive = f"exec {serve}", f"exec {receive}"
    with terminal(serve.replace(PORT, "grpc://127.0.0.1:0")) as hub:
        url = hub.wait_for(r"hub listens at (\S+)")[1]
        with terminal(receive.replace(PORT, url)) as receiver:
            receiver.wait_for("office is linked; waiting for files")
            with terminal(send.replace(PORT, url)) as sender:
                assert sender.wait() == 0, sender.lines
            assert [shape(line) for line in sender.lines] == [shape(line) for line in shown.splitlines()]
            program = tmp_path / "lab.py"
            program.write_text(SAVED["lab.py"].replace(PORT, url), encoding="utf-8")
            assert run(program, cwd=tmp_path) == shown_by_python.splitlines()
            for ended in (receiver, hub):
                ended.process.send_signal(signal.SIGINT)
                assert ended.wait() == 0
    for name in ("numbers.txt", "squares.txt"):
        assert (tmp_path / "received/lab" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert unhappy(hub.lines + receiver.lines) == []
