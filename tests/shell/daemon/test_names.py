"""Names that senders choose: none leads out of the folder, and what arrives can be shown and copied."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell import StreamRejected
from streamcell.daemon.names import PART_BYTES, escape, numbered, safe_part, safe_path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("plain.txt", ("plain.txt",)),
        ("photos/2026/a b.jpg", ("photos", "2026", "a b.jpg")),
        (".hidden", (".hidden",)),
        ("...", ("...",)),
        ("naïve 文件 👩‍💻.txt", ("naïve 文件 👩‍💻.txt",)),
        ("back\\slash:and*more?", ("back\\slash:and*more?",)),
        ("new\nline", ("new%0Aline",)),
        ("bell\x07\x1b[2J", ("bell%07%1B[2J",)),
        ("zero\0byte", ("zero%00byte",)),
        ("gnp\u202eexe.", ("gnp%E2%80%AEexe.",)),
        ("line\u2028end", ("line%E2%80%A8end",)),
        (b"caf\xe9", ("caf%E9",)),
        ("CON", ("%43ON",)),
        ("nul.txt", ("%6Eul.txt",)),
        ("com1", ("%63om1",)),
        ("console", ("console",)),
        (".streamcell/x", ("%2Estreamcell", "x")),
        (".StreamCell", ("%2EStreamCell",)),
    ],
)
def test_name_becomes_path(name: str | bytes, parts: tuple[str, ...]) -> None:
    assert safe_path(name) == parts


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "/",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "a/",
        b"../x",
        b"/dev/null",
        "a/" * 70 + "b",
    ],
)
def test_name_that_leads_elsewhere_is_refused(name: str | bytes) -> None:
    with pytest.raises(StreamRejected, match="name"):
        safe_path(name)


def test_name_that_no_file_system_takes_is_refused() -> None:
    assert safe_part("x" * PART_BYTES) == "x" * PART_BYTES
    for name in ("x" * (PART_BYTES + 1), "ü" * 128, "\n" * 100):
        with pytest.raises(StreamRejected, match="longer than 255 bytes"):
            safe_part(name)


@given(st.one_of(st.text(), st.binary()))
def test_whatever_is_accepted_stays_below(name: str | bytes) -> None:
    try:
        parts = safe_path(name)
    except StreamRejected:
        return
    path = Path("/inbox/origin", *parts)
    assert Path(os.path.normpath(path)) == path
    assert path.parts[:3] == ("/", "inbox", "origin")
    for part in parts:
        assert len(part.encode()) <= PART_BYTES
        assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in part)


@given(st.text())
def test_escaped_text_is_left_alone_by_escaping_again(text: str) -> None:
    assert escape(escape(text)) == escape(text)


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("report.pdf", 2, "report (2).pdf"),
        ("archive.tar.gz", 3, "archive.tar (3).gz"),
        ("README", 2, "README (2)"),
        (".profile", 10, ".profile (10)"),
        ("x" * 251 + ".txt", 2, "x" * 247 + " (2).txt"),
        ("ü" * 127, 2, "ü" * 125 + " (2)"),
        ("x." + "y" * 253, 2, "x." + "y" * 249 + " (2)"),
    ],
)
def test_numbered_name(name: str, number: int, expected: str) -> None:
    assert numbered(name, number) == expected
    assert len(expected.encode()) <= PART_BYTES


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20), st.integers(2, 9999))
def test_numbered_names_differ_and_fit(name: str, number: int) -> None:
    safe = safe_part(escape(name)) if name not in {".", ".."} else "x"
    first, second = numbered(safe, number), numbered(safe, number + 1)
    assert first != second
    assert safe not in {first, second}
    assert len(first.encode()) <= PART_BYTES
