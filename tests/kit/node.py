"""The cell in JavaScript, where Node and its packages can be had."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.kit.programs import ROOT

EXAMPLE = ROOT / "examples/node"
MAIN = EXAMPLE / "main.js"


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages of the example beside it."""
    executable = shutil.which("node")
    if executable is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed: the cell in JavaScript was not run")
    setup = subprocess.run(["make", "--silent", "setup-node"], cwd=ROOT, capture_output=True, text=True, check=False)
    if setup.returncode != 0:
        reason = " ".join(setup.stderr.split("\n")[:3])
        pytest.skip(f"npm cannot fetch its packages: the cell in JavaScript was not run: {reason}")
    return executable
