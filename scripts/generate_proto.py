#!/usr/bin/env python3
"""Writes streamcell/v1 from protos/; with --check, tells whether it is current.

Runs in an environment that has grpcio-tools (`make proto` makes it) and imports the standard
library only. Messages only: the service is served by generic handlers with a codec of their own.
"""

import argparse
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("streamcell/v1")
PACKAGE_INIT = '"""The messages of the protocol, generated from protos/streamcell/v1."""\n'


def generate(target: Path) -> None:
    """Writes the generated package below `target`, which stands for the repository's root."""
    sources = sorted(str(path) for path in (PROTOS / PACKAGE).glob("*.proto"))
    (target / PACKAGE).mkdir(parents=True, exist_ok=True)
    (target / PACKAGE / "__init__.py").write_text(PACKAGE_INIT, encoding="utf-8")
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}"]
    subprocess.run([*protoc, f"--python_out={target}", f"--pyi_out={target}", *sources], check=True)


def read_package(root: Path) -> dict[str, list[str]]:
    """Reads the generated package below `root`: the lines of each source file, by file name."""
    return {
        path.name: path.read_text(encoding="utf-8").splitlines(keepends=True)
        for path in sorted((root / PACKAGE).glob("*.py*"))
    }


def differences(committed: dict[str, list[str]], fresh: dict[str, list[str]]) -> list[str]:
    """Returns a unified diff from the committed package to the fresh one, empty if equal."""
    return [
        line
        for name in sorted(committed.keys() | fresh.keys())
        for line in difflib.unified_diff(
            committed.get(name, []),
            fresh.get(name, []),
            f"committed/{PACKAGE / name}",
            f"generated/{PACKAGE / name}",
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only, and fail if different")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        difference = differences(read_package(ROOT), read_package(Path(scratch)))
    if difference:
        sys.stdout.writelines(difference)
        print(f"{PACKAGE} is not what protos/ generates: run `make proto`", file=sys.stderr)
        return 1
    print(f"{PACKAGE} is current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
