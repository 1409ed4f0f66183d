"""Figures for people: medians with their spread, and tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

DOCUMENT = Path("docs/performance.md")
BEGIN, END = "<!-- written by python -m scripts.bench --document -->", "<!-- end of what was written -->"

KIB = 2**10
MIB = 2**20
GIB = 2**30

NOT_MEASURED = "not measured"


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median, and the range that all values lie in."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, unit: str = "", digits: int = 2) -> str:
        median, low, high = (f"{value:,.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{f'{median} {unit}'.rstrip()} ({low} to {high})"


def median_and_slow(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median, and what 99 of 100 are not above, in milliseconds."""
    median, slow = np.percentile(seconds, (50, 99), method="higher") * 1000
    return float(median), float(slow)


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure and, unless ``target`` is empty, what it should be. ``met`` None: it could not be measured."""

    what: str
    figure: str
    target: str = ""
    met: bool | None = True

    @property
    def verdict(self) -> str:
        if not self.target:
            return ""
        return NOT_MEASURED if self.met is None else "met" if self.met else "missed"


@dataclasses.dataclass(frozen=True)
class Section:
    """A table of its own: what was measured, a line for each system."""

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    def text(self) -> str:
        return f"**{self.title}**\n\n{grid(self.head, self.lines)}"


def at_least(what: str, spread: Spread | None, least: float, unit: str = "") -> Row:
    """Return the row of a figure that should be large."""
    target = f"at least {least:g} {unit}".rstrip()
    return _judged(what, spread, unit, target, lambda median: median >= least)


def at_most(what: str, spread: Spread | None, most: float, unit: str = "") -> Row:
    """Return the row of a figure that should be small."""
    target = f"at most {most:.3g} {unit}".rstrip()
    return _judged(what, spread, unit, target, lambda median: median <= most)


def _judged(what: str, spread: Spread | None, unit: str, target: str, good: Callable[[float], bool]) -> Row:
    if spread is None:
        return Row(what, NOT_MEASURED, target, None)
    return Row(what, spread.text(unit), target, good(spread.median))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ("what", "median (range)", "target", "")
    return grid(head, [(row.what, row.figure, row.target, row.verdict) for row in rows])


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("|" + "|".join(_cell(cell) for cell in row) + "|" for row in rows)


def _cell(text: str) -> str:
    return text if text == "---" else f" {text} "


def write_into(document: Path, text: str) -> None:
    """Put the text between the two markers of a document, in place of what is there."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{document} has no place between {BEGIN!r} and {END!r}")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
