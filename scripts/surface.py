"""What is public of the package, as text: names, signatures, fields and their defaults.

`python -m scripts.surface` writes it to `tests/public/surface.txt`. A test compares the two, so that no public name
comes, goes or changes without being seen.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "tests" / "public" / "surface.txt"
# Of those that say what they export it is that, of the others all that they define.
MODULES = (
    "streamcell",
    "streamcell.aio",
    "streamcell.config",
    "streamcell.stats",
    "streamcell.testing",
)


def lines() -> Iterator[str]:
    """Return the text, line by line."""
    described: set[object] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        yield f"{name}:"
        for public in _names_of(module):
            value = getattr(module, public)
            if inspect.isclass(value) and value in described:
                yield f"  {public}: see above"
            elif inspect.isclass(value):
                described.add(value)
                yield from (f"  {line}" for line in _class(public, value))
            elif inspect.isfunction(value):
                yield f"  {_function(public, value)}"
            else:
                yield f"  {public}"
        yield ""


def _names_of(module: Any) -> list[str]:
    exported = getattr(module, "__all__", None)
    if exported is not None:
        return sorted(exported)
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__)
    return sorted(name for name in own if not name.startswith("_"))


def _class(name: str, described: type) -> Iterator[str]:
    bases = [each.__name__ for each in described.__bases__ if each is not object]
    yield f"class {name}({', '.join(bases)})"
    if issubclass(described, enum.Enum):
        yield f"  {' '.join(member.name for member in described)}"
        return
    fields = dataclasses.fields(described) if dataclasses.is_dataclass(described) else ()
    yield from (f"  {_field(field)}" for field in fields)
    given = _given_only(described) if fields else ()
    yield from (f"  {name}: given only" for name in given)
    skipped = {field.name for field in fields} | ({"__init__"} if fields else set())
    for member, value in inspect.getmembers_static(described):
        hidden = member.startswith("_") and member != "__init__"
        if hidden or member in skipped or not _is_ours(described, member):
            continue
        if isinstance(value, property):
            yield f"  {member}: property"
        elif isinstance(value, classmethod | staticmethod):
            yield f"  {type(value).__name__} {_function(member, value.__func__)}"
        elif inspect.isfunction(value):
            yield f"  {_function(member, value)}"


def _given_only(described: type) -> Iterator[str]:
    """Return what the constructor of a dataclass takes beside its fields."""
    fields = {field.name for field in dataclasses.fields(described)} if dataclasses.is_dataclass(described) else set()
    return (name for name in inspect.signature(described).parameters if name not in fields)


def _is_ours(described: type, member: str) -> bool:
    """Return whether a member comes from this package, not from a class of the standard library."""
    owner = next(each for each in described.__mro__ if member in vars(each))
    return owner.__module__.partition(".")[0] == "streamcell"


def _function(name: str, function: Any) -> str:
    keyword = "async def" if inspect.iscoroutinefunction(function) else "def"
    parameters = inspect.signature(function).parameters.values()
    return f"{keyword} {name}{inspect.Signature([each.replace(annotation=each.empty) for each in parameters])}"


def _field(field: dataclasses.Field[Any]) -> str:
    default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
    return f"{field.name}: {field.type}{default}"


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()), encoding="utf-8")
