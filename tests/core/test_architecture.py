"""The laws of the house: who may import what, and what no module may do.

The laws are read from the source, never by importing it, so that they hold for every line: for an
import inside a function, under TYPE_CHECKING, or in a branch that no test runs.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.house.arrows import Arrows, find_arrows
from scripts.house.writes import find_writes

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 600

# --- the table -----------------------------------------------------------------------------------


def words(text: str) -> frozenset[str]:
    """Splits names that are separated by blanks."""
    return frozenset(text.split())


# The standard library's value modules: no thread, clock, file, socket, or source of randomness.
VALUE_MODULES = words(
    """
    __future__ abc binascii bisect collections copy dataclasses enum functools hashlib heapq
    itertools math operator re string struct textwrap types typing
    """
)


@dataclass(frozen=True)
class Room:
    """A group of modules under one law. Modules of one room may import each other."""

    name: str
    #: Modules directly under `streamcell`, or the one package of the room with all below it.
    members: frozenset[str]
    #: Rooms below, which this one may import.
    below: frozenset[str]
    #: Packages from outside the standard library that this room may import.
    third_party: frozenset[str] = frozenset()
    #: Modules of the standard library that this room may import. None: all.
    stdlib: frozenset[str] | None = None


def room(
    name: str,
    members: str,
    *,
    below: str = "",
    third_party: str = "",
    stdlib: frozenset[str] | None = None,
) -> Room:
    """Builds a line of the table from names separated by blanks."""
    return Room(name, words(members), words(below), words(third_party), stdlib)


# From the bottom to the top. `streamcell` stands for the package's own __init__. The order of the
# table is the direction of the law, so nothing can be `below` that comes later in it.
TABLE = (
    room(
        "values",
        "values errors message fqcn limits config topology stats digest",
        # StreamCancelled is also a concurrent.futures.CancelledError; addresses are values.
        stdlib=VALUE_MODULES | {"concurrent.futures", "ipaddress", "urllib.parse"},
    ),
    room("protocol", "protocol", below="values", stdlib=VALUE_MODULES),
    # What every room that runs in threads stands on.
    room("process", "whereabouts logs lines"),
    room("v1", "v1", third_party="google"),
    room("security", "security", below="values protocol", third_party="cryptography OpenSSL"),
    room(
        "transport",
        "transport",
        below="values protocol process v1 security",
        third_party="grpc grpc_health grpc_reflection google crc32c",
    ),
    room("runtime", "runtime", below="values protocol process security transport", third_party="crc32c"),
    room(
        "public",
        "streamcell coats core_cell stream_cell sending stream future aio testing",
        below="values protocol process security transport runtime",
    ),
    room(
        "daemon",
        "daemon",
        below="values protocol process security transport runtime public",
        third_party="prometheus_client",
    ),
    room(
        "cli",
        "cli __main__",
        below="values protocol process security transport runtime public daemon",
        third_party="typer rich",
    ),
)


# The second level: the rooms inside two of these, from the bottom to the top, and what each may import. A room is a
# package (a wing) or a module beside the wings. `python -m scripts.house arrows` draws them.
WINGS: dict[str, dict[str, str]] = {
    "streamcell.protocol": {
        "wire": "",
        "base": "wire",
        "flow": "wire",
        "links": "base flow wire",
        "tree": "base flow links wire",
        "requests": "base wire",
        "sealing": "base links tree wire",
        "sending": "base flow links sealing tree wire",
        "receiving": "base flow links requests tree wire",
        "relaying": "base flow links tree wire",
        "stats": "base links receiving relaying sealing sending tree",
        "cell": "base flow links receiving relaying requests sealing sending stats tree wire",
    },
    "streamcell.runtime": {
        "buffers": "",
        "threads": "",
        "traffic": "",
        "transfers": "threads",
        "engine": "threads transfers",
        "context": "buffers engine threads traffic transfers",
        "network": "context threads transfers",
        "sending": "context threads transfers",
        "receiving": "context engine sending threads traffic transfers",
        "requests": "context receiving sending threads transfers",
        "cell": "buffers context engine network receiving requests sending threads traffic transfers",
    },
}
# More than these would be a hall with doors everywhere.
MOST_ARROWS = {"streamcell.protocol": 50, "streamcell.runtime": 50}


def room_of(module: str) -> Room | None:
    """Returns the room of a module of streamcell, or None if the table does not name it."""
    top, _, rest = module.partition(".")
    member = rest.partition(".")[0] or top
    return next((each for each in TABLE if member in each.members), None)


# The only functions that may catch everything without raising again: around a user's callback, and
# at the top of a supervised loop. Both log the traceback. (module, function with its class).
BROAD_EXCEPT_ALLOWED: frozenset[tuple[str, str]] = frozenset(
    {
        # Around the application's code.
        ("streamcell.runtime.threads.callbacks", "call_user_code"),
        ("streamcell.runtime.threads.callbacks", "_ask_error"),
        ("streamcell.logs", "_guarded"),
        # At the top of the supervised loop.
        ("streamcell.runtime.engine.stepper", "Stepper.step"),
    }
)

# --- reading the source --------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One imported module, and where it is imported."""

    module: str
    line: int
    for_types_only: bool


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    def at(self, line: int) -> str:
        """Returns where a finding is, as editors understand it."""
        return f"{self.path}:{line}"


def read_package(root: Path) -> dict[str, Module]:
    """Reads every module of the package `streamcell` below `root`, by name."""
    modules = {}
    for path in sorted((root / "streamcell").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        relative = path.relative_to(root)
        name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        modules[name] = Module(name, relative, ast.parse(source), source.count("\n"))
    return modules


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports_of(module: Module, modules: dict[str, Module]) -> Iterator[Import]:
    """Finds every import of a module. `from package import module` names the module."""

    def walk(node: ast.AST, *, for_types_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, for_types_only)
        elif isinstance(node, ast.ImportFrom):
            for source in imported_by_from(node):
                yield Import(source, node.lineno, for_types_only)
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            for branch, types_only in ((node.body, True), (node.orelse, for_types_only)):
                for statement in branch:
                    yield from walk(statement, for_types_only=types_only)
        else:
            for child in ast.iter_child_nodes(node):
                yield from walk(child, for_types_only=for_types_only)

    def imported_by_from(node: ast.ImportFrom) -> list[str]:
        source = node.module or ""
        if node.level:
            is_package = module.path.name == "__init__.py"
            parts = module.name.split(".")
            kept = parts[: len(parts) - node.level + is_package]
            source = ".".join([*kept, *filter(None, [source])])
        names = (f"{source}.{alias.name}" for alias in node.names)
        return sorted({name if name in modules else source for name in names})

    return walk(module.tree, for_types_only=False)


# --- the laws ------------------------------------------------------------------------------------


def allows(allowed: frozenset[str], name: str) -> bool:
    """Tells whether a list of modules names this one or a package that holds it."""
    return any(name == module or name.startswith(f"{module}.") for module in allowed)


def import_findings(modules: dict[str, Module]) -> Iterator[str]:
    """Checks every import against the table."""
    for module in modules.values():
        law = room_of(module.name)
        if law is None:
            yield f"{module.at(1)}: {module.name} is in no room: add it to TABLE in {__name__}"
            continue
        for found in imports_of(module, modules):
            finding = judge(law, found.module)
            if finding:
                yield f"{module.at(found.line)}: {law.name} must not import {finding}"


def judge(law: Room, imported: str) -> str | None:
    """Says what is wrong when a module under `law` imports `imported`; None if nothing is."""
    top = imported.partition(".")[0]
    if top == "streamcell":
        target = room_of(imported)
        if target is None:
            return f"{imported}, which is in no room"
        if target is not law and target.name not in law.below:
            return f"{imported}: {target.name} is not below it"
    elif top in sys.stdlib_module_names:
        if law.stdlib is not None and not allows(law.stdlib, imported):
            return f"{imported}: it takes values, not the outside world"
    elif top not in law.third_party:
        return f"{imported}: another room owns that package, or none does"
    return None


def cycle_findings(modules: dict[str, Module]) -> Iterator[str]:
    """Finds modules that need each other to run, whether at import or later in a function.

    Imports that only types need are left out: they order nothing when the program runs, and the
    table already keeps them from pointing upwards.
    """
    graph = {
        module.name: {
            found.module
            for found in imports_of(module, modules)
            if not found.for_types_only and found.module in modules
        }
        for module in modules.values()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield "modules import each other: " + " <- ".join(error.args[1])


def assert_findings(modules: dict[str, Module]) -> Iterator[str]:
    """Finds asserts, which vanish with -O."""
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assert):
                yield f"{module.at(node.lineno)}: raise an error instead of assert"


LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def logging_findings(modules: dict[str, Module]) -> Iterator[str]:
    """Finds log calls that format their message before they know that it is wanted."""
    for module in modules.values():
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LOG_METHODS
                and any(isinstance(argument, ast.JoinedStr) for argument in node.args)
            ):
                yield f"{module.at(node.lineno)}: pass log arguments after a %s format"


def except_findings(modules: dict[str, Module]) -> Iterator[str]:
    """Finds what could swallow any error outside the allow-list, and allowances without need."""
    needed = set()
    for module in modules.values():
        for function, node in nodes_with_function(module.tree):
            if not swallows_everything(node):
                continue
            needed.add((module.name, function))
            if (module.name, function) not in BROAD_EXCEPT_ALLOWED:
                where = module.at(getattr(node, "lineno", 1))
                yield f"{where}: {function or module.name} could swallow any error"
    for name, function in sorted(BROAD_EXCEPT_ALLOWED - needed):
        if name in modules:
            yield f"{modules[name].path}: {function} no longer needs its place on the allow-list"


def swallows_everything(node: ast.AST) -> bool:
    """Tells whether a node catches every error and does not end by raising."""
    if isinstance(node, ast.ExceptHandler):
        return is_broad(node.type) and not isinstance(node.body[-1], ast.Raise)
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"suppress", "contextlib.suppress"}
        and any(is_broad(argument) for argument in node.args)
    )


def is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(is_broad(each) for each in caught.elts)
    return caught is None or ast.unparse(caught) in {"Exception", "BaseException"}


def nodes_with_function(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Walks a tree; with each node comes the dotted name of the function or class around it."""
    for node in ast.iter_child_nodes(tree):
        yield outer, node
        inner = outer
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{outer}.{node.name}".removeprefix(".")
        yield from nodes_with_function(node, inner)


def length_findings(modules: dict[str, Module]) -> Iterator[str]:
    """Finds files that have more than one job."""
    for module in modules.values():
        if module.lines > MOST_LINES:
            yield f"{module.path}: {module.lines} lines; split it at {MOST_LINES}"


Law = Callable[[dict[str, Module]], Iterator[str]]

LAWS: tuple[Law, ...] = (
    import_findings,
    cycle_findings,
    assert_findings,
    logging_findings,
    except_findings,
    length_findings,
)

# --- streamcell under the laws -------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
def test_law_holds(law: Law) -> None:
    modules = read_package(ROOT)
    # What protoc wrote is under no law but its room's: only transport may import it.
    written = {name: module for name, module in modules.items() if "_pb2" not in name}
    assert list(law(written)) == []


# Assignments in the core to attributes of objects whose class another module defines: `scripts/house/writes.py` says
# what counts, and `python -m scripts.house.writes --each` where they are. The number may only fall.
MOST_WRITES_FROM_OUTSIDE = 7
# By how much the number may lag behind, so that not everybody who takes one away changes the same line.
LAG = 5


def test_writes_from_outside_only_fall() -> None:
    found = find_writes(ROOT)
    count = len(found.counted)
    assert count <= MOST_WRITES_FROM_OUTSIDE, f"write to what another module defines no more: {found.by_module()}"
    assert count >= MOST_WRITES_FROM_OUTSIDE - LAG, f"lower MOST_WRITES_FROM_OUTSIDE to {count}"


def wing_findings(found: Arrows, wings: dict[str, str]) -> Iterator[str]:
    """Checks every arrow between the rooms of a package against the second table, and the table against them."""
    for name in found.rooms:
        if name not in wings:
            yield f"{found.package}.{name} is not in the table of its package"
    for (upper, lower), imports in sorted(found.arrows.items()):
        if lower not in words(wings.get(upper, "")):
            yield f"{upper} must not import {lower}: " + ", ".join(f"{one} -> {other}" for one, other in imports)
    for upper, below in wings.items():
        for lower in sorted(words(below)):
            if (upper, lower) not in found.arrows:
                yield f"{upper} no longer imports {lower}: take it out of the table of {found.package}"


@pytest.mark.parametrize("package", WINGS)
def test_wings_import_downwards_only(package: str) -> None:
    found = find_arrows(ROOT, package)
    drawn = "\n".join(["", *found.lines()])
    assert list(wing_findings(found, WINGS[package])) == [], drawn
    assert found.back() == [], drawn
    assert len(found.arrows) <= MOST_ARROWS[package], drawn


@pytest.mark.parametrize("package", WINGS)
def test_table_of_wings_points_downwards(package: str) -> None:
    seen: set[str] = set()
    for name, below in WINGS[package].items():
        assert words(below) <= seen, name
        seen.add(name)


def test_table_points_downwards() -> None:
    seen: set[str] = set()
    members: list[str] = []
    for each in TABLE:
        assert each.below <= seen
        seen.add(each.name)
        members += each.members
    assert len(members) == len(set(members))


def test_package_is_marked_as_typed() -> None:
    # The marker of the top package counts for all packages below it (PEP 561).
    assert (ROOT / "streamcell" / "py.typed").is_file()


IMPORT_AND_REPORT = """
import os, sys, threading

events = []
watched = {"socket.__new__", "socket.connect", "socket.bind", "_thread.start_new_thread"}
sys.addaudithook(lambda event, args: events.append(event) if event in watched else None)

import streamcell

tasks = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
extras = {"typer", "rich", "prometheus_client", "grpc_health", "grpc_reflection", "numpy"}
print(events, threading.active_count(), tasks, sorted(extras & set(sys.modules)))
"""


def test_import_starts_nothing_and_needs_no_extra() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_REPORT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("[] 1 1 []\n", "")


# --- the laws under test -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "law", "finding"),
    [
        ({"novel.py": ""}, import_findings, "streamcell.novel is in no room"),
        ({"novel/__init__.py": ""}, import_findings, "streamcell.novel is in no room"),
        (
            {"protocol/links/link.py": "import time"},
            import_findings,
            "protocol must not import time: it takes values",
        ),
        (
            {"protocol/links/link.py": "def later():\n    from random import random"},
            import_findings,
            "protocol must not import random",
        ),
        (
            {"protocol/links/link.py": "from streamcell import Stream", "__init__.py": "Stream = 1"},
            import_findings,
            "protocol must not import streamcell: public is not below it",
        ),
        (
            {"security/seal.py": "from ..transport import tls", "transport/tls.py": ""},
            import_findings,
            "security must not import streamcell.transport.tls: transport is not below it",
        ),
        (
            {
                "errors.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from streamcell import future",
                "future.py": "",
            },
            import_findings,
            "values must not import streamcell.future",
        ),
        (
            {"runtime/engine/engine.py": "import grpc.aio"},
            import_findings,
            "runtime must not import grpc.aio: another room owns that package",
        ),
        (
            {"runtime/engine/engine.py": "from streamcell.v1 import cell_pb2"},
            import_findings,
            "runtime must not import streamcell.v1: v1 is not below it",
        ),
        (
            {
                "fqcn.py": "from streamcell import limits",
                "limits.py": "def later():\n    import streamcell.fqcn",
            },
            cycle_findings,
            "streamcell.fqcn <- streamcell.limits <- streamcell.fqcn",
        ),
        ({"fqcn.py": "assert True"}, assert_findings, "instead of assert"),
        ({"fqcn.py": "logger.info(f'{1}')"}, logging_findings, "after a %s format"),
        (
            {"fqcn.py": "class C:\n  def m(self):\n    try: pass\n    except: pass"},
            except_findings,
            "C.m could swallow any error",
        ),
        (
            {"fqcn.py": "try: pass\nexcept (ValueError, Exception): pass"},
            except_findings,
            "streamcell.fqcn could swallow any error",
        ),
        (
            {"fqcn.py": "with suppress(BaseException): pass"},
            except_findings,
            "could swallow any error",
        ),
        ({"fqcn.py": "\n" * MOST_LINES}, length_findings, "601 lines"),
    ],
)
def test_breach_is_found(tmp_path: Path, files: dict[str, str], law: Law, finding: str) -> None:
    write_package(tmp_path, files)
    findings = list(law(read_package(tmp_path)))
    assert len(findings) == 1
    assert finding in findings[0]


@pytest.mark.parametrize("law", LAWS)
def test_lawful_package_has_no_findings(tmp_path: Path, law: Law) -> None:
    write_package(
        tmp_path,
        {
            "__init__.py": "from streamcell.core_cell import CoreCell",
            "core_cell.py": "import asyncio\nfrom streamcell.runtime.engine.engine import Engine",
            "errors.py": "from concurrent.futures import CancelledError",
            "runtime/__init__.py": "from streamcell.runtime.engine.engine import Engine",
            "runtime/engine/engine.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from . import clock\nlogger.info('%s', f'{1}'.strip)",
            "runtime/threads/clock.py": "from . import engine\n"
            "try: pass\nexcept Exception as error:\n    raise ValueError from error",
            "security/seal.py": "import cryptography.hazmat",
            "transport/codec.py": "from streamcell.v1 import cell_pb2\nimport google.protobuf",
        },
    )
    assert list(law(read_package(tmp_path))) == []


def write_package(root: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = root / "streamcell" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source + "\n", encoding="utf-8")


def test_breach_of_wings_is_found(tmp_path: Path) -> None:
    write_package(
        tmp_path,
        {
            "protocol/cell.py": "from streamcell.protocol.links import table",
            "protocol/links/table.py": "def later():\n    from streamcell.protocol.cell import CellCore",
            "protocol/novel/__init__.py": "",
        },
    )
    found = find_arrows(tmp_path, "streamcell.protocol")
    assert list(wing_findings(found, {"links": "", "cell": "links sending"})) == [
        "streamcell.protocol.novel is not in the table of its package",
        "links must not import cell: streamcell.protocol.links.table -> streamcell.protocol.cell",
        "cell no longer imports sending: take it out of the table of streamcell.protocol",
    ]
