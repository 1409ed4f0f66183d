"""What a file system cannot do, files are kept without; what cannot work at all is found before bytes travel."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from streamcell import BytesStream, StreamRejected, UsageError
from streamcell.daemon.inbox import Inbox, InboxSettings, LogWatcher
from tests.kit.cells import CARRIERS, Carrier, memory_carrier
from tests.kit.inboxes import MODE, MTIME_NS, Life, files, send_file
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, eventually

CONTENT = pattern(300_000)
Break: TypeAlias = Callable[..., None]

# Errors by which file systems say that they cannot: Samba, FUSE, exFAT, network drives.
CANNOT = {
    "sync of a folder": (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EPERM),
    "sync of a file": (errno.EINVAL, errno.ENOTSUP),
    "fchmod": (errno.EPERM, errno.ENOTSUP, errno.EACCES),
    "utime": (errno.EPERM, errno.ENOTSUP, errno.EINVAL),
    "link": (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS),
    "fstatvfs": (errno.ENOSYS, errno.EPERM),
}
FATAL = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


@pytest.fixture
def carrier() -> Carrier:
    return memory_carrier()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def break_call(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Have a call fail with an error from now on, and ``None`` mend it."""
    real = {name: getattr(os, name) for name in ("fsync", "fchmod", "utime", "link", "fstatvfs", "replace")}

    def break_one(what: str, number: int | None) -> None:
        name = "fsync" if what.startswith("sync") else what

        def broken(*arguments: Any, **more: Any) -> Any:
            wanted = number is not None
            if what.startswith("sync"):
                wanted = wanted and stat.S_ISDIR(os.fstat(arguments[0]).st_mode) == (what == "sync of a folder")
            if wanted and number is not None:
                raise OSError(number, os.strerror(number))
            return real[name](*arguments, **more)

        monkeypatch.setattr(os, name, broken)

    return break_one


def content_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "site" / name).read_bytes() for name in files(folder)}


def source(content: bytes = CONTENT) -> BytesStream:
    return BytesStream(content, {"name": "a.txt", "mode": MODE, "mtime_ns": MTIME_NS})


@pytest.mark.parametrize(("what", "number"), [(what, number) for what, numbers in CANNOT.items() for number in numbers])
@pytest.mark.parametrize("replace", [False, True])
def test_case_5_1_files_are_kept_without_it_and_it_is_said_once(
    folder: Path, break_call: Break, caplog: pytest.LogCaptureFixture, what: str, number: int, replace: bool
) -> None:
    carrier = CARRIERS["memory"]()
    break_call(what, number)
    for content in (CONTENT, CONTENT + b"grown"):
        caplog.clear()
        with Life(carrier, folder, replace=replace) as life:
            for again in ("first", "second"):
                assert life.send(source(content), resume_id=again).result(PATIENCE_S) == len(content)
        said = [record for record in caplog.records if "the file system of the inbox" in record.getMessage()]
        assert len(said) == 1, [record.getMessage() for record in caplog.records]
    assert CONTENT + b"grown" in content_of(folder).values()
    assert len(files(folder)) == (1 if replace else 4)


@pytest.mark.parametrize("what", [*CANNOT, "replace"])
@pytest.mark.parametrize("number", FATAL)
@pytest.mark.parametrize("resume_id", ["the file", ""])
def test_case_5_1_error_of_the_disk_fails_and_leaves_nothing_under_the_name(
    carrier: Carrier, folder: Path, break_call: Break, what: str, number: int, resume_id: str
) -> None:
    replace = what == "replace"
    with Life(carrier, folder, replace=replace) as life:
        # Before that the folders would have to be made and synced, too.
        life.send(source(b"other"), resume_id="other").result(PATIENCE_S)
        break_call(what, number)
        error = life.send(source(), resume_id=resume_id).exception(PATIENCE_S)
        assert error is not None
        assert os.strerror(number) in str(error)
        assert content_of(folder) == {"a.txt": b"other"}
        break_call(what, None)
        assert life.send(source(), resume_id=resume_id).result(PATIENCE_S) == len(CONTENT)
        assert CONTENT in content_of(folder).values()
        assert len(files(folder)) == (1 if replace else 2)


@pytest.mark.parametrize("number", FATAL)
def test_case_5_1_name_that_was_replaced_is_there_and_said_to_be(
    carrier: Carrier, folder: Path, break_call: Break, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Life(carrier, folder, replace=True) as life:
        life.send(source(b"old")).result(PATIENCE_S)
        break_call("sync of a folder", number)
        assert life.send(source()).result(PATIENCE_S) == len(CONTENT)
    assert content_of(folder) == {"a.txt": CONTENT}
    assert "may forget it" in caplog.text


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO])
def test_case_5_1_folder_that_takes_no_files_is_found_at_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(UsageError, match=os.strerror(number)):
        Inbox(InboxSettings(folder=folder), LogWatcher())


def test_case_5_1_folder_where_nothing_can_be_renamed_is_found_at_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(UsageError, match="Operation not permitted"):
            Inbox(InboxSettings(folder=folder), LogWatcher())
    assert list(folder.iterdir()) == []


def test_case_5_1_full_disk_does_not_keep_a_hub_from_starting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", full)
        Inbox(InboxSettings(folder=folder), LogWatcher()).close()
    assert "takes no file now: No space left on device" in caplog.text


def test_case_5_1_trying_out_leaves_no_trace(folder: Path) -> None:
    Inbox(InboxSettings(folder=folder), LogWatcher()).close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_case_5_1_place_on_another_file_system_is_refused_before_bytes_travel(
    carrier: Carrier, folder: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    real_fstat, real_replace = os.fstat, os.replace
    with Life(carrier, folder, replace=replace) as life:
        life.send(BytesStream(b"first", {"name": "mounted/first"}), resume_id="first").result(PATIENCE_S)
        other = (folder / "site/mounted").stat()

        def fstat(descriptor: int) -> os.stat_result:
            status = real_fstat(descriptor)
            if not os.path.samestat(status, other):
                return status
            fields = list(status)
            fields[2] += 1
            return os.stat_result(fields)

        def replace_on_one_device(*arguments: Any, src_dir_fd: int, dst_dir_fd: int) -> None:
            if os.fstat(src_dir_fd).st_dev != os.fstat(dst_dir_fd).st_dev:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            real_replace(*arguments, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

        monkeypatch.setattr(os, "fstat", fstat)
        monkeypatch.setattr(os, "replace", replace_on_one_device)
        before = life.received()
        error = life.send(BytesStream(CONTENT, {"name": "mounted/a.txt"})).exception(PATIENCE_S)
        assert os.strerror(errno.EXDEV) in str(error)
        assert life.received() == before
        assert [path.name for path in (folder / "site/mounted").iterdir()] == ["first"]
        assert life.send(source()).result(PATIENCE_S) == len(CONTENT)


@pytest.mark.parametrize("name", ["taken", "taken/below"])
def test_case_5_1_name_that_can_never_be_given_is_refused_before_bytes_travel(
    carrier: Carrier, folder: Path, name: str
) -> None:
    with Life(carrier, folder, replace=True) as life:
        if name == "taken":
            (folder / "site/taken").mkdir(parents=True)
        else:
            (folder / "site").mkdir()
            (folder / "site/taken").write_text("a file")
        error = life.send(BytesStream(CONTENT, {"name": name})).exception(PATIENCE_S)
        assert "cannot keep" in str(error)
        assert life.received() == 0


@pytest.mark.parametrize("is_link", [True, False])
def test_case_5_1_what_stands_in_the_way_is_named(
    carrier: Carrier, folder: Path, tmp_path: Path, is_link: bool
) -> None:
    with Life(carrier, folder) as life:
        way = folder / "site/photos/2026"
        way.parent.mkdir(parents=True)
        way.symlink_to(tmp_path) if is_link else way.touch()
        error = life.send(BytesStream(CONTENT, {"name": "photos/2026/a.jpg"})).exception(PATIENCE_S)
        what = "a symbolic link, and none is followed" if is_link else "no folder"
        assert f"cannot keep 'photos/2026/a.jpg': '2026' there is {what}; mend that there" in str(error)
        assert life.received() == 0


def test_case_5_1_partial_file_that_may_not_be_written_to_any_more(
    carrier: Carrier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete but for its name it has the sender's permissions already."""
    real = os.open
    refused: list[str] = []

    def open_once_refused(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if str(path).endswith(".part") and not refused:
            refused.append(path)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *more, **named)

    with Life(carrier, folder) as life:
        monkeypatch.setattr(os, "open", open_once_refused)
        assert life.send(source()).result(PATIENCE_S) == len(CONTENT)
        eventually(lambda: life.inbox.active() == 0)
    assert content_of(folder) == {"a.txt": CONTENT}
    assert refused


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names that differ in the case of their letters only be the same, as on APFS, NTFS and exFAT."""

    def spelled(path: Any, folder: int | None) -> Any:
        if not isinstance(path, str | Path):
            return path
        above, name = os.path.split(path)
        with contextlib.suppress(OSError):
            for there in os.listdir(above or (folder if folder is not None else ".")):  # noqa: PTH208
                if there.casefold() == name.casefold():
                    return os.path.join(above, there)  # noqa: PTH118
        return path

    def fold(name: str) -> None:
        real = getattr(os, name)

        def folded(path: Any, *arguments: Any, dir_fd: int | None = None, **more: Any) -> Any:
            return real(spelled(path, dir_fd), *arguments, dir_fd=dir_fd, **more)

        monkeypatch.setattr(os, name, folded)

    for name in ("mkdir", "open", "stat", "lstat"):
        fold(name)


def test_a_cell_gets_no_file_into_the_folder_of_another_that_differs_in_case_only(
    carrier: Carrier, folder: Path, folding: None
) -> None:
    with Life(carrier, folder) as life:
        assert life.send(source()).result(PATIENCE_S) == len(CONTENT)
        with carrier.cell("Site", connect=life.server.listen_urls) as other:
            other.wait_connected(PATIENCE_S)
            error = send_file(other, "server", source(b"other")).exception(PATIENCE_S)
        assert isinstance(error, StreamRejected)
        assert "another cell's folder has the name Site but for the case of its letters" in error.sentence
        assert life.send(source(CONTENT + b"more"), resume_id="more").result(PATIENCE_S) == len(CONTENT) + 4
    assert sorted(content_of(folder).values(), key=len) == [CONTENT, CONTENT + b"more"]
    assert [path.name for path in folder.iterdir()] == ["site"]


def test_where_case_counts_both_have_a_folder(carrier: Carrier, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    counts = not (tmp_path / "X").exists()
    with Life(carrier, folder) as life:
        life.send(source()).result(PATIENCE_S)
        with carrier.cell("Site", connect=life.server.listen_urls) as other:
            other.wait_connected(PATIENCE_S)
            error = send_file(other, "server", source(b"other")).exception(PATIENCE_S)
    assert (error is None) is counts
    assert {path.name for path in folder.iterdir()} == ({"site", "Site"} if counts else {"site"})
