"""Figures for people: medians with their spread, and tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path("docs/performance.md")
BEGIN, END = "<!-- written by python -m scripts.bench --document -->", "<!-- end of what was written -->"

MIB = 2**20
GIB = 2**30


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


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. ``target`` empty: none is set; then ``met`` counts for nothing."""

    what: str
    figure: str
    target: str = ""
    met: bool = True


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ["| what | median (range) | target | |", "|---|---|---|---|"]
    verdicts = ["" if not row.target else "met" if row.met else "missed" for row in rows]
    return "\n".join(
        [
            *head,
            *(f"| {row.what} | {row.figure} | {row.target} | {met} |" for row, met in zip(rows, verdicts, strict=True)),
        ]
    )


def write_into(document: Path, text: str) -> None:
    """Put the text between the two markers of a document, in place of what is there."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{document} has no place between {BEGIN!r} and {END!r}")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
