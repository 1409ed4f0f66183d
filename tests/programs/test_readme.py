"""The programs in the README and other documents run as they stand there, and links lead somewhere."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.programs.programs import ROOT, Program, run, running, unhappy

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Returns the code in a document that is in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


BLOCKS = blocks(README, "python")
PROGRAMS = {match[1]: block for block in BLOCKS if (match := re.match(r"# (\w+\.py)\n", block))}
SINGLE = [block for block in BLOCKS if block not in PROGRAMS.values()]
SINGLE += blocks((ROOT / "docs/files.md").read_text(encoding="utf-8"), "python")
# Programs in two terminals agree on a port; here it is any free one.
PORT = "grpc://127.0.0.1:8004"


@pytest.mark.parametrize("number", range(len(SINGLE)))
def test_program_runs(number: int, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SINGLE[number], encoding="utf-8")
    lines = run(program, cwd=tmp_path)
    assert lines
    assert unhappy(lines) == []


def test_first_program_prints_what_is_shown(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SINGLE[0], encoding="utf-8")
    shown = README.split("```text\n")[1].split("\n```")[0].splitlines()
    assert [line for line in run(program, cwd=tmp_path) if line in shown] == shown


def test_two_terminals(tmp_path: Path) -> None:
    receiver_program, sender_program = tmp_path / "receiver.py", tmp_path / "sender.py"
    receiver_program.write_text(PROGRAMS["receiver.py"].replace(PORT, "grpc://127.0.0.1:0"), encoding="utf-8")
    with running(receiver_program, cwd=tmp_path) as receiver:
        url = receiver.wait_for(r"listening at (grpc://\S+);")[1]
        sender_program.write_text(PROGRAMS["sender.py"].replace(PORT, url), encoding="utf-8")
        lines = run(sender_program, cwd=tmp_path)
        receiver.wait_for(r"copy-of-numbers.txt: 6,888,890 bytes")
        receiver.close_input()
        assert receiver.wait() == 0
    assert "the receiver has written 6,888,890 bytes" in lines
    assert unhappy(lines + receiver.lines) == []
    assert (tmp_path / "copy-of-numbers.txt").read_bytes() == (tmp_path / "numbers.txt").read_bytes()


def section(heading: str) -> str:
    """Returns what stands below a heading of the README, up to the next one."""
    return README.split(f"\n{heading}\n")[1].split("\n##")[0]


def shape(line: str) -> str:
    """Returns a line without what differs from run to run: times, rates, ports, and the blanks that line them up."""
    return re.sub(r" +", " ", re.sub(r"\d+(\.\d+)? (s|ms|[kMG]?B/s)\b|(?<=127\.0\.0\.1:)\d+", "#", line)).strip()


def test_three_terminals(tmp_path: Path) -> None:
    walk = section("### Three terminals, no program")
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
            program.write_text(PROGRAMS["lab.py"].replace(PORT, url), encoding="utf-8")
            assert run(program, cwd=tmp_path) == shown_by_python.splitlines()
            for ended in (receiver, hub):
                ended.process.send_signal(signal.SIGINT)
                assert ended.wait() == 0
    for name in ("numbers.txt", "squares.txt"):
        assert (tmp_path / "received/lab" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert unhappy(hub.lines + receiver.lines) == []


def documents() -> list[Path]:
    beside = (ROOT / "protos/vectors/README.md", ROOT / "examples/node/README.md")
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *beside]


def anchors(path: Path) -> set[str]:
    """Returns what the headings of a document can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target
