"""Writes from outside: assignments to attributes of objects whose class another module defines.

Counted, by the module that does it:

- every target of an assignment that is an attribute: plain, annotated and augmented ones, items of tuples, targets of
  `for`, `with` and `del`. A property with a setter is one of these: whoever assigns does not know better;
- `setattr`, `delattr`, `object.__setattr__`, and every use of another object's `__dict__`;
- every call of a setter in disguise: a method that does nothing but assign its parameters to fields of `self`, or a
  function of another module that does so to fields of its first argument.

What an object is comes from mypy, not from its name. An object that is only known by a `Protocol` is of a class
somewhere else, wherever the protocol stands. One that may be of several classes counts if one of them is foreign. One
of which nothing is known (Any) counts as well.

Beside it, and under no law: what is changed in containers that are fields of others (`lane.frames.append(…)`), and
calls of methods that only assign constants.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mypy.nodes import TypeInfo

from scripts.house.source import PROTOCOL, ROOT, TypedFile, classes_of, method_of, read_types

UNKNOWN = "unknown"
SETTING = frozenset({"builtins.setattr", "builtins.delattr"})
SETTING_METHODS = frozenset({"__setattr__", "__delattr__"})
CONTAINERS = frozenset({"builtins", "collections"})
# What changes a container in place.
CHANGES = frozenset(
    {"append", "appendleft", "extend", "extendleft", "insert", "pop", "popleft", "popitem", "remove", "discard", "add"}
    | {"clear", "update", "setdefault"}
)


@dataclass(frozen=True)
class Write:
    """One write from outside: where, to which attribute of which class, and in which way."""

    module: str
    line: int
    owner: str
    attribute: str
    way: str


@dataclass
class Writes:
    """What was found: what the law counts, and what stands beside it."""

    counted: list[Write] = field(default_factory=list)
    in_containers: list[Write] = field(default_factory=list)
    constants: list[Write] = field(default_factory=list)

    def by_module(self) -> Counter[str]:
        return Counter(each.module for each in self.counted)


def find_writes(root: Path = ROOT, package: str = PROTOCOL) -> Writes:
    """Find all writes from outside in a package.

    Raises:
        UntypedError: the package cannot be read.
    """
    modules = read_types(root, package)
    found = Writes()
    for each in modules.values():
        _Finder(each, modules, found).visit(each.file.tree)
    return found


class _Finder(ast.NodeVisitor):
    """Goes through one module."""

    def __init__(self, here: TypedFile, modules: dict[str, TypedFile], found: Writes) -> None:
        self._here = here
        self._module = here.file.module
        self._modules = modules
        self._found = found
        self._way = ""

    # Statements that assign. Their targets are marked as such: the way is told by the statement around them.

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit_by_way(node, "assigned")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # An annotation without a value assigns nothing.
        if node.value is not None:
            self._visit_by_way(node, "assigned")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._visit_by_way(node, "augmented")

    def visit_Delete(self, node: ast.Delete) -> None:
        self._visit_by_way(node, "deleted")

    def _visit_by_way(self, node: ast.stmt, way: str) -> None:
        self._way = way
        self.generic_visit(node)
        self._way = ""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._note(self._found.counted, node, node.attr, self._way or "target of for or with")
        elif node.attr == "__dict__":
            self._note(self._found.counted, node, node.attr, "__dict__")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        inner = node.value
        if not isinstance(node.ctx, ast.Load) and isinstance(inner, ast.Attribute) and inner.attr != "__dict__":
            self._note(self._found.in_containers, inner, inner.attr, f"item {self._way}")
        self.generic_visit(node)

    # Calls.

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if self._here.full_name_of(function) in SETTING:
            self._note_set(node.args[0], node.args[1:2])
        elif isinstance(function, ast.Attribute) and function.attr in SETTING_METHODS:
            if self._here.full_name_of(function.value) == "builtins.object":
                self._note_set(node.args[0], node.args[1:2])
            else:
                self._note(self._found.counted, function, text_of(node.args[:1]), "setattr")
        else:
            self._call_function(function)
            if isinstance(function, ast.Attribute):
                self._call_method(function)
        self.generic_visit(node)

    def _note_set(self, owner: ast.expr, named: list[ast.expr]) -> None:
        foreign = self._foreign(classes_of(self._here.type_of(owner)))
        if foreign is not None:
            self._found.counted.append(Write(self._module, owner.lineno, foreign, text_of(named), "setattr"))

    def _call_method(self, function: ast.Attribute) -> None:
        infos = classes_of(self._here.owner_of(function)) or []
        if function.attr in CHANGES and isinstance(function.value, ast.Attribute):
            if any(info.module_name in CONTAINERS for info in infos):
                self._note(self._found.in_containers, function.value, function.value.attr, f"{function.attr}()")
            return
        for owner, line in (each for info in infos for each in self._methods(info, function.attr)):
            if owner.module_name == self._module:
                continue
            method = self._modules[owner.module_name].function_at(line)
            kind = None if method is None else setter_kind(method)
            if kind is not None:
                where = self._found.counted if kind == "setter" else self._found.constants
                where.append(Write(self._module, function.lineno, owner.fullname, function.attr, kind))
                return

    def _call_function(self, function: ast.expr) -> None:
        full_name = self._here.full_name_of(function)
        module, _, name = full_name.rpartition(".")
        if module == self._module or module not in self._modules:
            return
        for each in self._modules[module].file.tree.body:
            if isinstance(each, ast.FunctionDef) and each.name == name and setter_kind(each) == "setter":
                self._found.counted.append(Write(self._module, function.lineno, module, name, "setter"))

    def _methods(self, info: TypeInfo, name: str) -> Iterator[tuple[TypeInfo, int]]:
        """Return the method that a call runs; of a protocol those of all classes that may stand for it."""
        candidates = [info]
        if info.is_protocol:
            members = {name for base in info.mro if base.is_protocol for name in base.names if name[:2] != "__"}
            classes = (each for module in self._modules.values() for each in module.classes())
            candidates = [each for each in classes if not each.is_protocol and all(map(each.get, members))]
        for candidate in candidates:
            found = method_of(candidate, name)
            if found is not None and found[0].module_name in self._modules:
                yield found

    def _note(self, where: list[Write], node: ast.Attribute, attribute: str, way: str) -> None:
        foreign = self._foreign(classes_of(self._here.owner_of(node)))
        if foreign is not None:
            where.append(Write(self._module, node.lineno, foreign, attribute, way))

    def _foreign(self, infos: list[TypeInfo] | None) -> str | None:
        """Return the class of another module that an object may be of, or None."""
        if infos is None:
            return UNKNOWN
        return next((each.fullname for each in infos if each.is_protocol or each.module_name != self._module), None)


def setter_kind(method: ast.FunctionDef) -> str | None:
    """Return "setter" or "constants" for a method that only assigns those to fields of self; None for any other."""
    arguments = [each.arg for each in (*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs)]
    body = [each for each in method.body if not is_without_effect(each)]
    if method.name == "__init__" or not arguments or not body:
        return None
    values: list[ast.expr] = []
    targets: list[ast.expr]
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        elif isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        else:
            return None
        if not all(is_field_of(each, arguments[0]) for target in targets for each in items_of(target)):
            return None
        values += items_of(value)
    given = [isinstance(each, ast.Name) and each.id in arguments[1:] for each in values]
    if not all(given[at] or is_constant(each) for at, each in enumerate(values)):
        return None
    return "setter" if any(given) else "constants"


def is_without_effect(statement: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or returns nothing or a name."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Return) and (statement.value is None or isinstance(statement.value, ast.Name))


def items_of(expression: ast.expr) -> list[ast.expr]:
    return expression.elts if isinstance(expression, ast.Tuple | ast.List) else [expression]


def is_field_of(target: ast.expr, name: str) -> bool:
    """Return whether a target is an attribute of this name, or an attribute of one."""
    inner = target
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return inner is not target and isinstance(inner, ast.Name) and inner.id == name


def is_constant(value: ast.expr) -> bool:
    """Return whether a value is a literal or a member of something with a class's name."""
    if isinstance(value, ast.Attribute):
        return isinstance(value.value, ast.Name) and value.value.id[:1].isupper()
    return isinstance(value, ast.Constant)


def text_of(named: list[ast.expr]) -> str:
    return next((str(each.value) for each in named if isinstance(each, ast.Constant)), "?")


def report(root: Path = ROOT, *, each: bool = False) -> Iterator[str]:
    """Say how many writes from outside there are; ``each``: and where each of them is."""
    found = find_writes(root)
    yield f"writes from outside in protocol/: {len(found.counted)}"
    ways = Counter(write.way for write in found.counted)
    yield "  " + ", ".join(f"{count} {way}" for way, count in ways.most_common())
    yield "  by module:"
    for module, count in found.by_module().most_common():
        yield f"    {count:4} {short(module)}"
    yield "  to attributes of:"
    for owner, count in Counter(write.owner for write in found.counted).most_common():
        yield f"    {count:4} {short(owner)}"
    yield f"  beside it: {len(found.in_containers)} changes in containers of others,"
    yield f"    {len(found.constants)} calls of methods of others that only assign constants"
    if each:
        for title in ("counted", "in_containers", "constants"):
            yield f"  {title}:"
            for write in getattr(found, title):
                yield f"    {short(write.module)}:{write.line}: {short(write.owner)}.{write.attribute} ({write.way})"


def short(name: str) -> str:
    return name.removeprefix(f"{PROTOCOL}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Counts writes from outside in the core.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that is measured")
    parser.add_argument("--each", action="store_true", help="list every one")
    arguments = parser.parse_args()
    print("\n".join(report(arguments.root.resolve(), each=arguments.each)))
