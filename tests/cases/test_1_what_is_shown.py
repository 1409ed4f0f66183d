"""Showing what happens decides nothing, and no traceback stands where a sentence belongs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.node import MAIN, node
from tests.kit.programs import LIMIT_S, STREAMCELL, complaint, environment, hub, run_command

__all__ = ["node"]

NAME = "grüße-☃.txt"
FULL = Path("/dev/full")
SHOWN = r"gr\xfc\xdfe-\u2603.txt"


def test_case_1_3_names_that_the_encoding_has_not(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"content")
    (tmp_path / "next").write_bytes(b"next")
    with hub(tmp_path) as (_, url):
        arguments = ("send", NAME, "next", "--to", "hub", "-c", url, "--as", "site")
        ended = run_command(*arguments, cwd=tmp_path, variables={"PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (ExitCode.DONE, b"")
    assert f"{SHOWN}: 7 bytes to hub in ".encode() in ended.stdout
    assert (tmp_path / "inbox/site" / NAME).read_bytes() == b"content"
    assert (tmp_path / "inbox/site/next").read_bytes() == b"next"


@pytest.mark.skipif(not FULL.exists(), reason="this system has no file that is always full")
def test_case_1_9_an_answer_that_cannot_be_written(tmp_path: Path) -> None:
    with hub(tmp_path) as (_, url), FULL.open("wb") as full:
        ended = subprocess.run(
            [*STREAMCELL, "cells", "-c", url],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT_S,
            check=False,
        )
    assert complaint(ended) == "streamcell: standard output cannot be written to: No space left on device"
    assert ended.returncode == ExitCode.FAILED


# Presses Ctrl-C when a module is about to be imported, then runs the command line as its script does.
PRESS = """
import importlib.abc, os, signal, sys

class Press(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
from streamcell.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module", ["streamcell.cli.streams", "streamcell.errors", "typer", "streamcell.core_cell", "rich.progress", "grpc"]
)
def test_case_1_9_interrupted_while_python_imports(module: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    ended = subprocess.run(
        [sys.executable, "-c", PRESS, "send", "file", "--to", "hub", "-c", "grpc://127.0.0.1:1", "--wait", "20"],
        cwd=tmp_path,
        env=environment() | {"AT": module},
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert complaint(ended).startswith("streamcell: interrupted")
    assert ended.returncode == ExitCode.INTERRUPTED


def test_case_1_9_nothing_is_imported_before_somebody_looks_after_ctrl_c() -> None:
    """What Python has imported itself is nobody's to look after; beyond it there is only what these modules are."""
    script = "import sys; before = {*sys.modules}; from streamcell.cli import main; print(*{*sys.modules} - before)"
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, timeout=LIMIT_S, check=True
    )
    assert {*ended.stdout.decode().split()} == {"streamcell", "streamcell.cli", "__future__"}


@pytest.mark.node
def test_case_1_9_node_without_an_argument(node: str) -> None:
    ended = subprocess.run([node, os.fspath(MAIN)], capture_output=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr == b"which cell is to be dialled, and how? node main.js HOST:PORT [NAME [CA CERT KEY]]\n"
