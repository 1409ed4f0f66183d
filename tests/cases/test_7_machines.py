"""Slow and busy machines, older and newer Pythons, and what a newcomer has to wait for."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import timing
from tests.kit.programs import LIMIT_S, run_script

ROOT = Path(__file__).resolve().parents[2]

# A run of its own, in which the seconds of a quiet machine pass when a test says so.
CONFTEST = """
from tests.kit import timing
from tests.kit.limits import Limits

passed_s = [0.0]
timing.fair_time = lambda: passed_s[0]

def pytest_configure(config):
    config.pluginmanager.register(Limits())
"""
TESTS = """
import threading
import pytest
from conftest import passed_s

@pytest.mark.timeout(0.2)
def test_that_takes_longer():
    threading.Event().wait(0.5)

@pytest.mark.timeout(0.2)
def test_that_hangs():
    passed_s[0] += 0.2
    threading.Event().wait()
"""


def test_case_7_3_limit_leaves_time_on_a_busy_machine_and_ends_what_hangs(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_slow.py").write_text(TESTS)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), timing.OVERRIDE: "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "FAILED test_slow.py::test_that_hangs" in ended.stdout
    assert "it took longer than 0.2 s of a quiet machine" in ended.stdout


# Arguments of the standard library that came later than the oldest supported Python, 3.11.0.
LATER = {("extractall", "filter"), ("extract", "filter"), ("unpack_archive", "filter"), ("getaddresses", "strict")}


def test_case_7_4_nothing_is_used_that_came_with_a_later_3_11() -> None:
    used = []
    for folder in ("streamcell", "tests", "scripts", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    given = {(node.func.attr, keyword.arg) for keyword in node.keywords}
                    used += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in given & LATER]
    assert used == []


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is missing")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make without doing anything to this folder but what `arguments` ask for."""
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@needs_make
def test_case_7_4_environment_is_not_made_with_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text(
        f"""#!{sys.executable}
import collections, sys
sys.version_info, sys.version = (3, 10, 13, "final", 0), "3.10.13 (main)"
assert sys.argv[1] == "-c", "an environment is made"
exec(sys.argv[2])
"""
    )
    old.chmod(0o755)
    environment = tmp_path / "environment"
    ended = make(f"PYTHON={old}", f"VENV={environment}", f"{environment}/.stamp")
    assert ended.returncode != 0
    assert "Python 3.11 or later is needed, and this is 3.10.13: set PYTHON to another" in ended.stderr
    assert not environment.exists()


@needs_make
def test_case_6_11_demo_installs_the_package_alone_and_says_each_step() -> None:
    lines = make("--dry-run", "--always-make", "demo").stdout.splitlines()
    installed = [line.partition("pip install")[2] for line in lines if "pip install" in line]
    assert len(installed) == 1, "the package and what it needs, in one step"
    assert re.search(r"--editable \.$", installed[0]), "without extras"
    said = [index for index, line in enumerate(lines) if line.startswith("echo ")]
    done = [index for index, line in enumerate(lines) if " -m venv " in line or ".venv-demo/bin/python " in line]
    assert len(done) == 3, "make, install, run"
    assert all(any(before < index for before in said) for index in done)
    assert len(said) == 3


# Threads of the application and of streamcell allocate side by side, then glibc tells of its heaps.
HEAPS = """
    import ctypes, tempfile, threading

    server, site = connected_pair()
    StreamCell(server).register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
    barrier = threading.Barrier(8)

    def send():
        barrier.wait()
        StreamCell(site).send_stream("c", "t", "server", Message({}, bytes(3 << 20))).result(60)

    threads = [threading.Thread(target=send) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.fclose.argtypes = [ctypes.c_void_p]
    with tempfile.NamedTemporaryFile() as told:
        file = libc.fopen(told.name.encode(), b"w")
        libc.malloc_info(0, file)
        libc.fclose(file)
        say(told.read().count(b"<heap nr="))
    site.stop(0)
    server.stop(0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has arenas")
def test_case_7_1_few_heaps_keep_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """How much memory that takes is measured by `make bench`: it grew with the length of a stream."""
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    ended = run_script(HEAPS)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) <= 2
