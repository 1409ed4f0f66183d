"""What tests stand on: kits, proxies, ways to make a payload, and how many lines there are.

- A kit is a module, or a package `kit`, of which the tests of the public classes get cells: it makes some, and is no
  test itself. One that imports another kit is a part of that.
- A proxy is a class of that name in tests or scripts: it stands between two cells and meddles with connections.
- A pattern is a function of that name in the tests, which makes bytes that show where they belong.
- Lines of tests are all lines of Python below tests/.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scripts.house.arrows import imports_of
from scripts.house.source import ROOT, File, files_of

# Where the tests of the public classes are, or were, and what they have in common.
PUBLIC = ("tests.public", "tests.api", "tests.contract", "tests.kit")
MAKES_CELLS = frozenset({"CoreCell"})


def find_kits(files: list[File]) -> list[str]:
    """Return the kits by name, each once however many modules it has."""
    making = {file.module: file for file in files if is_shared(file.module) and calls_any(file, MAKES_CELLS)}
    modules = set(making)
    return sorted({kit_name(name) for name, file in making.items() if not imports_of(file, modules)})


def is_shared(module: str) -> bool:
    """Return whether a module is shared by tests of the public classes, as far as its place says."""
    _, _, own = module.rpartition(".")
    directly = module.count(".") == 1
    return not own.startswith(("test_", "conftest")) and (directly or module.startswith(PUBLIC))


def calls_any(file: File, names: frozenset[str]) -> bool:
    called = (node.func for node in ast.walk(file.tree) if isinstance(node, ast.Call))
    return any(getattr(each, "id", getattr(each, "attr", "")) in names for each in called)


def kit_name(module: str) -> str:
    """Return the package `kit` of a module, or the module."""
    before, inside, _ = f"{module}.".partition(".kit.")
    return f"{before}.kit" if inside else module


def defined(files: list[File], kind: type[ast.ClassDef | ast.FunctionDef], name: str) -> list[str]:
    """Return where something of a name, or with a name that ends so, is defined."""
    return [
        f"{file.path}:{node.lineno}"
        for file in files
        for node in ast.walk(file.tree)
        if isinstance(node, kind) and (node.name == name if name.islower() else node.name.endswith(name))
    ]


def report(root: Path = ROOT) -> Iterator[str]:
    """Say what the tests of a checkout stand on."""
    tests, scripts = files_of(root, "tests"), files_of(root, "scripts")
    lines = Counter[str]()
    for file in tests:
        folder = file.path.parts[1] if len(file.path.parts) > 2 else "."
        lines[folder] += file.text.count("\n")
    yield "what tests stand on:"
    for title, found in (
        ("kits", find_kits(tests)),
        ("proxies", defined(tests + scripts, ast.ClassDef, "Proxy")),
        ("pattern functions", defined(tests, ast.FunctionDef, "pattern")),
    ):
        yield f"  {title}: {len(found)}: {', '.join(found)}"
    yield f"  lines of tests: {sum(lines.values()):,}"
    yield from (f"    {count:7,} {folder}" for folder, count in sorted(lines.items()))


if __name__ == "__main__":
    print("\n".join(report()))
