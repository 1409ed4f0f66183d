"""The source of a checkout: its files, and its expressions with the types that mypy found."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mypy import build
from mypy.errors import CompileError
from mypy.modulefinder import BuildSource
from mypy.nodes import Expression, FuncDef, MemberExpr, MypyFile, NameExpr, TypeInfo
from mypy.options import Options
from mypy.traverser import NameAndMemberCollector
from mypy.types import AnyType, Instance, NoneType, Type, TypeType, TypeVarLikeType, UnionType, get_proper_type

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = "streamcell.protocol"


class UntypedError(RuntimeError):
    """The source cannot be read by mypy; the text says where."""


@dataclass(frozen=True)
class File:
    """One source file: its module's name, where it is below the root, and what it says."""

    module: str
    path: Path
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def files_of(root: Path, package: str) -> list[File]:
    """Return the files of a package, in the order of their paths."""
    found = []
    for path in sorted((root / package.replace(".", "/")).rglob("*.py")):
        relative = path.relative_to(root)
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        found.append(File(module, relative, path.read_text(encoding="utf-8")))
    return found


# Where an expression begins and ends.
Span = tuple[int, int, int | None, int | None]


def span_of(node: ast.expr) -> Span:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


class TypedFile:
    """A file, the types of its names and attributes, and its functions."""

    def __init__(self, file: File, tree: MypyFile, types: dict[Expression, Type]) -> None:
        self.file = file
        self.symbols = tree.names
        self._types = types
        collector = NameAndMemberCollector()
        tree.accept(collector)
        self._names = {_span_in_mypy(each): each for each in collector.name_exprs}
        self._members = {_span_in_mypy(each): each for each in collector.member_exprs}
        self._functions = {node.lineno: node for node in ast.walk(file.tree) if isinstance(node, ast.FunctionDef)}

    def type_of(self, node: ast.expr) -> Type | None:
        """Return the type of a name or an attribute; None where mypy has none, as in code that is never reached."""
        return self._known(self._names.get(span_of(node)) or self._members.get(span_of(node)))

    def owner_of(self, node: ast.Attribute) -> Type | None:
        """Return the type of the object that an attribute is taken of."""
        member = self._members.get(span_of(node))
        return None if member is None else self._known(member.expr)

    def full_name_of(self, node: ast.expr) -> str:
        """Return the full name of what a name or an attribute stands for, if it stands in a module or a class."""
        found = self._names.get(span_of(node)) or self._members.get(span_of(node))
        return "" if found is None else found.fullname

    def function_at(self, line: int) -> ast.FunctionDef | None:
        return self._functions.get(line)

    def classes(self) -> Iterator[TypeInfo]:
        """Return every class that the module defines at its top."""
        for symbol in self.symbols.values():
            if isinstance(symbol.node, TypeInfo) and symbol.node.module_name == self.file.module:
                yield symbol.node

    def _known(self, expression: Expression | None) -> Type | None:
        found = None if expression is None else self._types.get(expression)
        return None if found is None else get_proper_type(found)


def _span_in_mypy(node: NameExpr | MemberExpr) -> Span:
    return node.line, node.column, node.end_line, node.end_column


@functools.cache
def read_types(root: Path, package: str = PROTOCOL) -> dict[str, TypedFile]:
    """Check a package of a checkout with mypy, anew: what mypy keeps in a cache has no bodies. Takes about 2 s.

    Raises:
        UntypedError: the package cannot be read.
    """
    options = Options()
    options.export_types = options.preserve_asts = options.check_untyped_defs = True
    options.incremental = False
    options.explicit_package_bases = options.namespace_packages = True
    options.follow_imports = "silent"
    options.mypy_path = [str(root)]
    options.python_version = (3, 11)
    files = files_of(root, package)
    try:
        result = build.build([BuildSource(str(root / file.path), file.module) for file in files], options)
    except CompileError as error:
        raise UntypedError("\n".join(error.messages)) from error
    return {file.module: TypedFile(file, result.files[file.module], result.types) for file in files}


def classes_of(found: Type | None) -> list[TypeInfo] | None:
    """Return the classes that a value of a type may be of; None if that is not known."""
    proper = None if found is None else get_proper_type(found)
    if proper is None or isinstance(proper, AnyType):
        return None
    if isinstance(proper, NoneType):
        return []
    if isinstance(proper, UnionType):
        parts = [classes_of(item) for item in proper.items]
        return None if None in parts else [info for part in parts for info in part or []]
    if isinstance(proper, TypeVarLikeType):
        return classes_of(proper.upper_bound)
    if isinstance(proper, TypeType):
        return classes_of(proper.item)
    if isinstance(proper, Instance):
        return [proper.type]
    fallback = getattr(proper, "fallback", None) or getattr(proper, "partial_fallback", None)
    return [fallback.type] if isinstance(fallback, Instance) else None


def method_of(info: TypeInfo, name: str) -> tuple[TypeInfo, int] | None:
    """Return which class defines a method of a class, and at which line; None of one that is missing or decorated."""
    for base in info.mro:
        symbol = base.names.get(name)
        if symbol is not None:
            return (base, symbol.node.line) if isinstance(symbol.node, FuncDef) else None
    return None
