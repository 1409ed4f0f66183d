"""Tables of states: which of their actions anybody looks at, and which steps drop the action that follows.

A table is whatever maps a pair of enumerations (state, input) to another pair (action, state). An action is looked at
where it is compared, matched, or a key of what dispatches; IGNORE, which means that nothing is to be done, does not
count. A step is a call that returns an action of a table; it drops the action if nothing is done with what it returns.
Looking into the table itself, which is what a step does, counts as a step if the action is dropped there, or if it is
done in a function that does not return it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mypy.nodes import TypeInfo
from mypy.types import CallableType, Instance, TupleType, Type, get_proper_type

from scripts.house.source import PROTOCOL, ROOT, TypedFile, read_types

NOTHING = "IGNORE"
PAIR = 2


@dataclass
class Table:
    """The actions of one table, and what becomes of them."""

    actions: TypeInfo
    looked_at: set[str] = field(default_factory=set)
    steps: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [name for name in self.actions.enum_members if name != NOTHING]


def find_tables(root: Path = ROOT, package: str = PROTOCOL) -> dict[str, Table]:
    """Find the tables of a package, by the full names of their actions.

    Raises:
        UntypedError: the package cannot be read.
    """
    modules = read_types(root, package)
    tables: dict[str, Table] = {}
    for module in modules.values():
        for node in ast.walk(module.file.tree):
            actions = actions_of_table(module.type_of(node)) if isinstance(node, ast.Name) else None
            if actions is not None:
                tables.setdefault(actions.fullname, Table(actions))
    for module in modules.values():
        _Looker(module, tables).visit(module.file.tree)
    return tables


def actions_of_table(found: Type | None) -> TypeInfo | None:
    """Return the enumeration of the actions if a type is that of a table."""
    proper = None if found is None else get_proper_type(found)
    if not isinstance(proper, Instance) or len(proper.args) != PAIR:
        return None
    key, value = (enumerations_in(each) for each in proper.args)
    return value[0] if len(key) == PAIR and len(value) == PAIR else None


def enumerations_in(found: Type) -> list[TypeInfo]:
    """Return the enumerations of a tuple's items."""
    proper = get_proper_type(found)
    items = [get_proper_type(each) for each in proper.items] if isinstance(proper, TupleType) else []
    return [each.type for each in items if isinstance(each, Instance) and each.type.is_enum]


class _Looker(ast.NodeVisitor):
    """Goes through one module."""

    def __init__(self, here: TypedFile, tables: dict[str, Table]) -> None:
        self._here = here
        self._tables = tables
        self._parents = {child: node for node in ast.walk(here.file.tree) for child in ast.iter_child_nodes(node)}

    # Who looks at an action.

    def visit_Compare(self, node: ast.Compare) -> None:
        self._look(node)

    def visit_MatchValue(self, node: ast.MatchValue) -> None:
        self._look(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key in node.keys:
            if key is not None:
                self._look(key)
        self.generic_visit(node)

    def _look(self, node: ast.AST) -> None:
        for inner in ast.walk(node):
            table = self._table_of(self._here.type_of(inner)) if isinstance(inner, ast.Attribute) else None
            if table is not None and isinstance(inner, ast.Attribute) and inner.attr in table.names:
                table.looked_at.add(inner.attr)
        self.generic_visit(node)

    # Who asks for one, and what becomes of it.

    def visit_Call(self, node: ast.Call) -> None:
        called = self._here.type_of(node.func)
        returned = called.ret_type if isinstance(called, CallableType) else None
        table = self._table_of(returned)
        if table is not None:
            self._step(table, node, self._is_dropped(node))
        else:
            for argument in node.args:
                self._look_up(argument, node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load):
            self._look_up(node.value, node)
        self.generic_visit(node)

    def _look_up(self, table: ast.expr, node: ast.expr) -> None:
        """An expression asks a table by itself."""
        actions = actions_of_table(self._here.type_of(table)) if isinstance(table, ast.Name | ast.Attribute) else None
        if actions is None:
            return
        dropped = self._is_dropped(node)
        if dropped or not self._is_passed_on(node, self._tables[actions.fullname]):
            self._step(self._tables[actions.fullname], node, dropped)

    def _step(self, table: Table, node: ast.expr, dropped: bool) -> None:
        where = f"{self._here.file.path}:{node.lineno}"
        table.steps.append(where)
        if dropped:
            table.dropped.append(where)

    def _is_dropped(self, node: ast.expr) -> bool:
        parent = self._parents[node]
        if isinstance(parent, ast.Expr):
            return True
        if isinstance(parent, ast.Subscript):
            return isinstance(parent.slice, ast.Constant) and parent.slice.value == 1
        if isinstance(parent, ast.Assign):
            target = parent.targets[0]
            first = target.elts[0] if isinstance(target, ast.Tuple) else target
            return isinstance(first, ast.Name) and first.id.startswith("_")
        return False

    def _is_passed_on(self, node: ast.AST, table: Table) -> bool:
        """Return whether the function around returns the action."""
        while node in self._parents and not isinstance(node, ast.FunctionDef):
            node = self._parents[node]
        if not isinstance(node, ast.FunctionDef) or node.returns is None:
            return False
        named = {each.id for each in ast.walk(node.returns) if isinstance(each, ast.Name)}
        return table.actions.name in named

    def _table_of(self, found: Type | None) -> Table | None:
        proper = None if found is None else get_proper_type(found)
        return self._tables.get(proper.type.fullname) if isinstance(proper, Instance) else None


def report(root: Path = ROOT) -> Iterator[str]:
    """Say for each table which actions nobody looks at, and which steps drop theirs."""
    tables = find_tables(root).values()
    actions, looked_at = sum(len(each.names) for each in tables), sum(len(each.looked_at) for each in tables)
    steps, dropped = sum(len(each.steps) for each in tables), sum(len(each.dropped) for each in tables)
    yield f"state tables: {looked_at} of {actions} actions are looked at; {dropped} of {steps} steps drop the action"
    for table in tables:
        unseen = [name for name in table.names if name not in table.looked_at]
        yield f"  {table.actions.name}: {len(table.looked_at)} of {len(table.names)} are looked at; not {unseen}"
        yield f"    {len(table.dropped)} of {len(table.steps)} steps drop the action"
        yield from (f"      {where}" for where in table.dropped)


if __name__ == "__main__":
    print("\n".join(report()))
