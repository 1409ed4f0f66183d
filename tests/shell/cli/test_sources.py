"""Which files a command sends, and under which names."""

import os
from pathlib import Path

import pytest

from streamcell import UsageError
from streamcell.cli.sources import STANDARD_INPUT, Sendable, find_sources


def names(*paths: Path, name: str | None = None) -> list[str | bytes]:
    return [source.wire_name for source in find_sources(paths, "hub", name).sources]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "b/deep").mkdir(parents=True)
    (root / "empty").mkdir()
    for path in ("z.txt", "a.txt", "b/one", "b/deep/two"):
        (root / path).write_text(path)
    return root


def test_folder_is_walked_in_order(tree: Path) -> None:
    assert names(tree) == ["tree/a.txt", "tree/b/deep/two", "tree/b/one", "tree/empty", "tree/z.txt"]


def test_single_file_arrives_under_its_own_name_or_another(tree: Path) -> None:
    assert names(tree / "b/one") == ["one"]
    assert names(tree / "b/one", name="other") == ["other"]
    assert names(tree / "b", name="other") == ["other/deep/two", "other/one"]


def test_present_folder_has_its_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "b")
    assert names(Path()) == ["b/deep/two", "b/one"]
    assert names(Path("..")) == names(tree)


def test_links_in_a_folder(tree: Path) -> None:
    (tree / "b/loop").symlink_to(tree)
    (tree / "b/link").symlink_to(tree / "a.txt")
    (tree / "b/dangling").symlink_to(tree / "nothing")
    os.mkfifo(tree / "b/pipe")
    assert names(tree / "b") == ["b/deep/two", "b/link", "b/one"]


def test_name_that_is_not_utf8_travels_as_bytes(tree: Path) -> None:
    raw = os.fsencode(tree / "b") + b"/caf\xe9"
    with open(raw, "w"):  # noqa: PTH123 - a path of bytes
        pass
    found = find_sources([tree / "b"], "hub", None).sources
    assert found[0].wire_name == b"b/caf\xe9"
    assert found[0].shown_name == "b/caf%E9"


def test_size_and_resume_id(tree: Path) -> None:
    one, again, other = (find_sources([tree / path], "hub", None).sources[0] for path in ("a.txt", "a.txt", "z.txt"))
    assert one == again
    assert one.size_bytes == 5
    assert one.resume_id
    assert one.resume_id != other.resume_id


def test_standard_input_and_pipes_cannot_be_sent_again(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert find_sources([STANDARD_INPUT, pipe], "hub", None).sources == [
        Sendable(None, "stdin", None, ""),
        Sendable(pipe, "pipe", None, ""),
    ]


def test_what_is_not_there_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing cannot be sent: No such file or directory"):
        names(tmp_path / "nothing")


def test_shown_name_has_no_commands_for_the_terminal() -> None:
    assert Sendable(None, "a\x1b[2Jb", None, "").shown_name == "a%1B[2Jb"
