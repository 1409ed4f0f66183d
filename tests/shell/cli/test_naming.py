"""Names that a command makes for itself: valid, and the same for the same command."""

import getpass
import socket
from pathlib import Path

import pytest

from streamcell.cli.naming import absolute, command_name, resume_id, send_name
from streamcell.fqcn import is_fqcn


def test_same_command_has_the_same_name() -> None:
    paths = [Path("/data/a"), Path("/data/b")]
    assert send_name("hub", paths) == send_name("hub", paths)
    others = {
        send_name("hub", paths),
        send_name("hub2", paths),
        send_name("hub", paths[:1]),
        send_name("hub", paths[::-1]),
        command_name("ping", "hub"),
    }
    assert len(others) == 5
    assert all(is_fqcn(name) for name in others)


@pytest.mark.parametrize("host", ["lab.example.org", "", "x" * 300, "ü", "a b/c"])
def test_odd_hosts_and_users_make_valid_names(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(getpass, "getuser", lambda: host)
    assert is_fqcn(send_name("hub", [Path("/data")]))


def test_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert is_fqcn(send_name("hub", [Path("/data")]))


def test_resume_id_names_one_file_on_its_way_to_one_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("/data/a")
    assert resume_id("hub", path, "a") == resume_id("hub", path, "a")
    different = {
        resume_id("hub", path, "a"),
        resume_id("hub2", path, "a"),
        resume_id("hub", path, "b"),
        resume_id("hub", Path("/data/b"), "a"),
        resume_id("hub", path, b"a\xff"),
    }
    monkeypatch.setattr(getpass, "getuser", lambda: "somebody else")
    different.add(resume_id("hub", path, "a"))
    assert len(different) == 6
    assert all(len(name.encode()) <= 255 for name in different)


def test_absolute_path_has_no_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert absolute(Path("..")) == tmp_path
    assert absolute(Path("x/../y")) == tmp_path / "sub/y"
