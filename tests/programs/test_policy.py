"""``streamcell policy check`` as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import complaint, run_command

TEXT = 'version = 1\n[[allow]]\nfrom = ["site-*"]\nto = ["server"]\nchannels = ["train"]\n'
ASKED = ("--from", "site-1", "--to", "server", "--topic", "t", "--channel")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a policy."""
    (tmp_path / "policy.toml").write_text(TEXT)
    return tmp_path


def test_what_is_allowed_and_why(folder: Path) -> None:
    allowed = run_command("policy", "check", "policy.toml", *ASKED, "train", cwd=folder)
    assert allowed.returncode == ExitCode.DONE
    assert allowed.stdout == b"allowed: [[allow]] number 1 (line 2) of policy.toml allows it\n"
    refused = run_command("policy", "check", "policy.toml", *ASKED, "other", "--kind", "blob", "--json", cwd=folder)
    assert refused.returncode == ExitCode.FAILED
    assert json.loads(refused.stdout) == {"allowed": False, "reason": "no rule allows it"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.toml", *ASKED, "train"), "nowhere.toml cannot be read"),
        (("policy.toml", *ASKED, ""), "--channel"),
        (("policy.toml", "--from", "a b", "--to", "c", "--topic", "t", "--channel", "c"), "'a b' is not a cell name"),
        (("policy.toml", "--from", "a"), "--to"),
        (("policy.toml", *ASKED, "train", "--kind", "file"), "--kind"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = run_command("policy", "check", *arguments, cwd=folder)
    assert ended.returncode == ExitCode.USAGE
    assert said in complaint(ended)
