"""A folder that nothing outside of can be reached from."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.daemon.file_system import FileSystem
from streamcell.daemon.folder import Folder, Taken


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder.open(tmp_path / "root", FileSystem()) as opened:
        yield opened


def write(folder: Folder, name: str, content: bytes) -> None:
    with os.fdopen(folder.open_file(name, os.O_WRONLY | os.O_CREAT), "wb") as file:
        file.write(content)


def test_folders_are_made_when_asked_for(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), folder.enter(("a", "b")):
        pass
    with folder.enter(("a", "b"), make=True) as inner:
        write(inner, "file", b"x")
    assert (tmp_path / "root/a/b/file").read_bytes() == b"x"
    with folder.enter(("a", "b")) as inner:
        assert inner.names() == ["file"]


@pytest.mark.parametrize("parts", [("link",), ("link", "inside"), ("a", "link")])
def test_links_are_not_entered(folder: Folder, tmp_path: Path, parts: tuple[str, ...]) -> None:
    outside = tmp_path / "outside"
    (outside / "inside").mkdir(parents=True)
    (tmp_path / "root/a").mkdir()
    (tmp_path / "root/link").symlink_to(outside)
    (tmp_path / "root/a/link").symlink_to("..")
    with pytest.raises(OSError, match="'link' there is a symbolic link, and none is"), folder.enter(parts, make=True):
        pass
    (tmp_path / "root/file").symlink_to(outside / "new")
    with pytest.raises(OSError, match="Too many levels"):
        folder.open_file("file", os.O_WRONLY | os.O_CREAT)
    assert list((outside / "inside").iterdir()) == []


def test_the_named_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Folder.open(tmp_path / "link", FileSystem()) as folder:
        write(folder, "file", b"x")
    assert (tmp_path / "real/file").exists()


def take(folder: Folder, content: bytes) -> Taken:
    """Give a new file a name, and forget the one that it had."""
    write(folder, "part", content)
    taken = folder.take_free_name("part", folder, "a.txt")
    folder.remove("part")
    return taken


def test_taking_a_name_never_overwrites(folder: Folder) -> None:
    assert [take(folder, content).name for content in (b"one", b"two", b"three")] == ["a.txt", "a (2).txt", "a (3).txt"]
    assert sorted(folder.names()) == ["a (2).txt", "a (3).txt", "a.txt"]


def test_taking_a_name_goes_on_where_a_killed_process_stopped(folder: Folder, tmp_path: Path) -> None:
    write(folder, "part", b"one")
    os.link(tmp_path / "root/part", tmp_path / "root/a.txt")
    assert folder.take_free_name("part", folder, "a.txt") == ("a.txt", True)
    assert sorted(folder.names()) == ["a.txt", "part"]


@pytest.mark.parametrize(
    "number", [errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV]
)
def test_taking_a_name_without_hard_links(folder: Folder, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_links)
    assert [take(folder, content) for content in (b"one", b"two")] == [("a.txt", False), ("a (2).txt", False)]
    assert sorted(folder.names()) == ["a (2).txt", "a.txt"]


def test_names_without_hard_links_are_taken_one_at_a_time(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    def take_one(number: int) -> None:
        with Folder(os.dup(folder.descriptor), file_system) as mine:
            write(mine, f"part-{number}", str(number).encode())
            mine.take_free_name(f"part-{number}", mine, "same")

    file_system = FileSystem()
    monkeypatch.setattr(os, "link", no_links)
    threads = [threading.Thread(target=take_one, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.read_text() for path in (tmp_path / "root").iterdir()} == {str(number) for number in range(40)}


def test_another_error_of_linking_is_an_error(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(folder, "part", b"one")
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        folder.take_free_name("part", folder, "a.txt")
    assert folder.names() == ["part"]


def test_a_way_is_checked_without_a_trace(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "root/work").mkdir()
    (tmp_path / "root/file").write_text("in the way")
    with folder.enter(("work",)) as work:
        folder.check_way(("not", "there", "yet"), work)
        with pytest.raises(NotADirectoryError):
            folder.check_way(("file", "below"), work)
        folder.try_move(work)
        assert work.names() == []
    assert sorted(folder.names()) == ["file", "work"]


def test_finding_a_file_under_its_name_or_a_numbered_one(folder: Folder) -> None:
    for content in (b"1", b"22", b"333"):
        take(folder, content)
    assert folder.find_numbered("a.txt", lambda status: status.st_size == 3) == "a (3).txt"
    folder.remove("a.txt")
    assert folder.find_numbered("a.txt", lambda status: status.st_size == 2) == "a (2).txt"
    assert folder.find_numbered("a.txt", lambda status: status.st_size == 1) is None
    assert folder.find_numbered("b.txt", lambda _: True) is None
