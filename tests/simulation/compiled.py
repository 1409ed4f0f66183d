"""The simulator over a compiled copy of the core: ``python -m tests.simulation.compiled --seeds 0..99999``.

mypyc, which comes with mypy, compiles ``streamcell/protocol`` in a minute; it needs setuptools and a C compiler. A seed
stands for the same history as with the core as it is, in about half the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path) -> None:
    """Put a copy of the core and of the simulator into ``folder``, the core compiled.

    :raises SystemExit: with what the compiler says, if it cannot.
    """
    for package in ("streamcell", "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    core = Path("streamcell", "protocol")
    found = sorted((folder / core).rglob("*.py"))
    modules = [str(path.relative_to(folder)) for path in found if path.name != "__init__.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", *modules], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the core cannot be compiled:\n{done.stdout}{done.stderr}")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
