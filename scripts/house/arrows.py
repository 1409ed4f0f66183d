"""Arrows between rooms: which parts of `protocol/` and of `runtime/` import which others, and whether any points back.

A room is a package below the one that is looked at (a wing), or a module that stands in it directly. However many
imports lead from one room to another, it is one arrow; imports that only types need count like all others. An arrow
points back if its room can be reached from where it leads to.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.house.source import ROOT, File, files_of

PACKAGES = ("streamcell.protocol", "streamcell.runtime")

# From one room to another, and the modules that make it so.
Arrow = tuple[str, str]
Import = tuple[str, str]


@dataclass(frozen=True)
class Arrows:
    """The rooms of a package and the arrows between them.

    `inside` counts the imports between modules that do not leave their room.
    """

    package: str
    rooms: list[str]
    arrows: dict[Arrow, list[Import]]
    inside: int

    def back(self) -> list[Arrow]:
        """Return the arrows that are part of a circle."""
        below = {room: self._reached_from(room) for room in self.rooms}
        return [(upper, lower) for upper, lower in sorted(self.arrows) if upper in below[lower]]

    def _reached_from(self, room: str) -> set[str]:
        reached, waiting = {room}, [room]
        while waiting:
            here = waiting.pop()
            found = {lower for upper, lower in self.arrows if upper == here} - reached
            reached |= found
            waiting += found
        return reached

    def lines(self) -> Iterator[str]:
        """Draw the arrows, each with the number of its imports."""
        for room in self.rooms:
            below = [f"{lower} ({len(made)})" for (upper, lower), made in sorted(self.arrows.items()) if upper == room]
            if below:
                yield f"{room} -> {', '.join(below)}"


def find_arrows(root: Path, package: str) -> Arrows:
    """Read all imports between the modules of a package."""
    files = files_of(root, package)
    modules = {file.module for file in files}
    arrows: dict[Arrow, list[Import]] = defaultdict(list)
    inside = 0
    for file in files:
        for imported in sorted(imports_of(file, modules)):
            ends = room_of(file.module, package), room_of(imported, package)
            if ends[0] == ends[1]:
                inside += 1
            elif all(ends):
                arrows[ends].append((file.module, imported))
    rooms = sorted({room_of(module, package) for module in modules} - {""})
    return Arrows(package, rooms, dict(arrows), inside)


def room_of(module: str, package: str) -> str:
    """Return the room that a module of the package is in; empty: it is the package itself."""
    return module.removeprefix(package).removeprefix(".").partition(".")[0]


def imports_of(file: File, modules: set[str]) -> set[str]:
    """Return the modules that a file imports, itself excepted. The house imports by full names only."""
    found = set()
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & modules or {node.module}
    return (found & modules) - {file.module}


def report(root: Path = ROOT) -> Iterator[str]:
    """Draw the arrows of each package."""
    for package in PACKAGES:
        found = find_arrows(root, package)
        crossing = sum(map(len, found.arrows.values()))
        yield f"arrows between rooms of {package.rpartition('.')[2]}/: {len(found.arrows)}, {len(found.back())} back"
        yield f"  {len(found.rooms)} rooms; {crossing + found.inside} imports between modules, {crossing} of them cross"
        yield from (f"  {line}" for line in found.lines())
        yield from (f"  BACK: {upper} -> {lower}" for upper, lower in found.back())


if __name__ == "__main__":
    print("\n".join(report()))
