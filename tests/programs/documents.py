"""The programs and commands that stand in the documents."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from tests.kit.programs import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Programs in two terminals agree on a port; in tests it is any free one.
PORT = "grpc://127.0.0.1:8004"

_PROGRAM = re.compile(r"^```python\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Shown:
    """A program in Python, and what the document says that it prints."""

    document: Path
    number: int
    code: str
    output: str

    @property
    def file(self) -> str:
        """The name that a reader is to save it under, empty if it may be pasted."""
        named = re.match(r"# (\w+\.py)\n", self.code)
        return named[1] if named else ""


def blocks(text: str, language: str) -> list[str]:
    """Return the code in a document that is in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(document: Path, heading: str) -> str:
    """Return what stands below a heading of a document, up to the next one."""
    return document.read_text(encoding="utf-8").split(f"\n{heading}\n")[1].split("\n##")[0]


def programs() -> list[Shown]:
    """Return every program of every document."""
    return [
        Shown(document, number, *match.groups(default=""))
        for document in DOCUMENTS
        for number, match in enumerate(_PROGRAM.finditer(document.read_text(encoding="utf-8")), 1)
    ]
