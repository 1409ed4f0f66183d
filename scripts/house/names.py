"""How the code reads: method names that many classes share, comments, and docstrings that are copies.

- Shared names: public methods, properties included, whose name four or more classes of `protocol/` define.
- Comments per 100 lines of code: lines with a comment, beside those that hold code. Docstrings are neither.
- Docstrings: of modules, classes and functions; a copy has the same words as one before it.
"""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from scripts.house.source import PROTOCOL, ROOT, File, files_of

MANY = 4
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
NO_CODE = frozenset({tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER})


def shared_names(files: list[File]) -> dict[str, list[str]]:
    """Return the names of public methods that many classes define, with those classes."""
    classes = defaultdict(list)
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ClassDef):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                for name in methods:
                    if not name.startswith("_"):
                        classes[name].append(node.name)
    return {name: owners for name, owners in sorted(classes.items()) if len(owners) >= MANY}


def docstrings(files: list[File]) -> list[str]:
    """Return all docstrings, with their words separated by single blanks."""
    found = []
    for file in files:
        for node in ast.walk(file.tree):
            text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if text is not None:
                found.append(" ".join(text.split()))
    return found


def lines_of(file: File) -> tuple[int, int]:
    """Return how many lines have a comment, and how many have code."""
    comments, code = set[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in NO_CODE:
            code |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(file.tree):
        # A docstring, or another string that is a statement.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(comments), len(code)


def report(root: Path = ROOT) -> Iterator[str]:
    """Say how the core and the package read."""
    core, package = files_of(root, PROTOCOL), files_of(root, "streamcell")
    package = [file for file in package if not file.module.startswith("streamcell.v1")]
    shared = shared_names(core)
    yield f"public method names that {MANY} or more classes of protocol/ share: {len(shared)}"
    yield from (f"  {name} ({len(owners)}): {', '.join(owners)}" for name, owners in shared.items())
    for title, files in (("protocol/", core), ("streamcell/", package)):
        comments, code = (sum(counts) for counts in zip(*map(lines_of, files), strict=True))
        yield f"{title}: {100 * comments / code:.1f} comments per 100 lines of code ({comments} and {code:,})"
        written = docstrings(files)
        copies = sum(count - 1 for count in Counter(written).values())
        words = statistics.median(len(text.split()) for text in written)
        yield f"  docstrings: {len(written):,}, {copies} of them copies of another; median of words {words:g}"


if __name__ == "__main__":
    print("\n".join(report()))
