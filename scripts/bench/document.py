"""Everything that one run has found: kept as a file, shown as text, put into the documentation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from scripts.bench import machine
from scripts.bench.report import Row, Section, table, write_into
from scripts.bench.workloads.base import Outcome


@dataclasses.dataclass
class Report:
    """The machine, whether it was a quick run, and what came of each workload."""

    machine: dict[str, Any]
    quick: bool
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: list[Row] = dataclasses.field(default_factory=list)
    sections: list[Section] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)

    def add(self, name: str, outcome: Outcome) -> None:
        self.figures[name] = outcome.figures
        self.rows += outcome.rows
        self.sections += outcome.sections
        self.failures += outcome.failures

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        facts = json.loads(path.read_text(encoding="utf-8"))
        facts["rows"] = [Row(**row) for row in facts["rows"]]
        facts["sections"] = [Section(**section) for section in facts["sections"]]
        return cls(**facts)

    def text(self) -> str:
        """Return everything but the charts, as Markdown."""
        parts = [f"{machine.line(self.machine)}.{' A quick run.' if self.quick else ''}"]
        if self.rows:
            parts.append(table(self.rows))
        parts += [section.text() for section in self.sections]
        if self.failures:
            parts.append("What failed or is missing:\n\n" + "\n".join(f"- {line}" for line in self.failures))
        return "\n\n".join(parts)


def write_document(document: Path, report: Report) -> None:
    """Put the text into the document, and charts beside it."""
    from scripts.bench.charts import draw

    pictures = [f"![{chart.title}]({chart.name}.svg)" for chart in draw(report.figures, document.parent)]
    write_into(document, "\n\n".join([report.text(), *pictures]))
