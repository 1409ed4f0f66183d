"""What the documents point to is there: files, headings, and the paths that they name."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WRITTEN_IN = ("docs", "examples", "protos", "scripts", "streamcell", "tests")
FETCHED = "node_modules"


def files(*suffixes: str) -> list[Path]:
    """Return the files that are written in this repository and have one of these suffixes."""
    found = [path for folder in WRITTEN_IN for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if FETCHED not in path.parts)


DOCUMENTS = [ROOT / "README.md", *files(".md")]
# Files whose comments name documents.
SOURCES = [ROOT / "Makefile", ROOT / "pyproject.toml", *files(".py", ".js", ".proto")]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def headings(document: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return what the headings of a document can be linked by, as GitHub makes it."""
    seen: dict[str, int] = {}
    for heading in headings(document):
        anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        seen[anchor] = seen.get(anchor, 0) + 1
    return {
        anchor if number == 0 else f"{anchor}-{number}" for anchor, times in seen.items() for number in range(times)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def paths_named(document: Path) -> Iterator[str]:
    """Give what stands in backticks and looks like a path of this repository."""
    for quoted in re.findall(r"`([^`\n]+)`", prose(document)):
        for word in quoted.split():
            if re.fullmatch(rf"(?:{'|'.join(WRITTEN_IN)}|protocol|transport|runtime|daemon|cli|aio)/[\w./-]+", word):
                yield word


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_that_are_named_exist(document: Path) -> None:
    """A path stands as seen from the top, or from `streamcell/`, as in the document of the architecture."""
    assert [
        path for path in paths_named(document) if not ((ROOT / path).exists() or (ROOT / "streamcell" / path).exists())
    ] == []


def test_documents_that_comments_name_exist() -> None:
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        for path in re.findall(r"(?<![\w/])docs/[\w/-]+\.\w+", text):
            assert (ROOT / path).exists(), f"{name(source)} names {path}"


def test_sections_that_comments_name_exist() -> None:
    """A comment names a section as docs/wire.md, "Streams"."""
    for source in SOURCES:
        for path, heading in re.findall(r'(docs/[\w/-]+\.md),\s+"([^"]+)"', source.read_text(encoding="utf-8")):
            assert heading in headings(ROOT / path), f"{name(source)} names {heading!r} of {path}"
