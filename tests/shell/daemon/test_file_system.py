"""What a file system cannot do is said once and forgiven, and nothing else is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from streamcell.daemon.file_system import FileSystem, Lack


def failing(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("lack", Lack)
def test_lack_is_said_once(lack: Lack, caplog: pytest.LogCaptureFixture) -> None:
    file_system = FileSystem("the inbox x")
    for number in lack.errors:
        with file_system.without(lack):
            raise failing(number)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"the file system of the inbox x: {lack.sentence} (")


@pytest.mark.parametrize("lack", Lack)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.ESTALE])
def test_everything_else_goes_on(lack: Lack, number: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match=r".") as raised, FileSystem().without(lack):
        raise failing(number)
    assert raised.value.errno == number
    assert caplog.messages == []


def test_room_that_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_system = FileSystem()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert file_system.free_bytes(descriptor) is not None
        monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result([0] * 10))
        assert file_system.free_bytes(descriptor) is None
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("call", ["fsync", "fchmod", "utime", "link"])
def test_trying_out_finds_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise failing(errno.ENOTSUP)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        FileSystem().try_out(tmp_path)
    assert len(caplog.messages) == (2 if call == "fsync" else 1)
    assert list(tmp_path.iterdir()) == []
