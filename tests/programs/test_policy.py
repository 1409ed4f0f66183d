"""``streamcell policy check``, and cells with a policy, as their users see them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import Command, complaint, hub, run_command
from tests.kit.waiting import eventually

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


def test_a_rule_that_never_counts_is_warned_of(folder: Path) -> None:
    (folder / "policy.toml").write_text(TEXT + '[[deny]]\nfrom = ["site-*"]\n')
    refused = run_command("policy", "check", "policy.toml", *ASKED, "train", cwd=folder)
    assert refused.returncode == ExitCode.FAILED
    warning = (
        "warning: [[allow]] number 1 (line 2) of policy.toml never counts: [[deny]] number 1 (line 6) of policy.toml "
        "denies all that it allows"
    )
    assert complaint(refused) == warning


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


# --- a cell that stays ---------------------------------------------------------------------------------

# Without a terminal, SIGHUP has files read again.
DETACHED = (sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])")
GUARDED = """version = 1
[[link]]
cells = ["lab", "office"]
[[allow]]
from = ["lab.**"]
to = ["hub"]
channels = ["streamcell.files"]
"""


def options(name: str) -> tuple[str, ...]:
    return ("--ca", "certs/ca.pem", "--cert", f"certs/{name}.pem", "--key", f"certs/{name}.key")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Path, Command, str]]:
    """A hub with certificates and a policy: its folder, the command, and where it listens."""
    for arguments in (["init"], ["issue", "hub", "--host", "127.0.0.1"], ["issue", "office"], ["issue", "lab"]):
        assert run_command("certs", *arguments, cwd=tmp_path).returncode == ExitCode.DONE
    (tmp_path / "numbers.txt").write_bytes(b"numbers")
    (tmp_path / "policy.toml").write_text(GUARDED)
    more = (*options("hub"), "--policy", "policy.toml")
    with hub(tmp_path, *more, listen="grpcs://127.0.0.1:0", prefix=DETACHED) as (command, url):
        yield tmp_path, command, url


def test_a_standing_cell_with_a_policy(guarded: tuple[Path, Command, str]) -> None:
    folder, command, url = guarded

    def send(name: str) -> tuple[int, str]:
        ended = run_command("send", "numbers.txt", "--to", "hub", "--connect", url, *options(name), cwd=folder)
        return ended.returncode, ended.stderr.decode()

    def reload(text: str, said: str) -> None:
        (folder / "policy.toml").write_text(text)
        command.signal(signal.SIGHUP)
        command.errors.wait_for(said)

    assert send("lab") == (ExitCode.DONE, "")
    code, said = send("office")
    assert code == ExitCode.FAILED
    assert "the policy of hub (policy.toml) does not let office.send" in said
    assert "no rule allows it; if it is to, have who runs hub change the policy" in said
    command.errors.wait_for("> refused to office.send.* at 127.0.0.1.*: the policy of hub")
    pinged = run_command("ping", "hub", "--connect", url, "--count", "1", *options("lab"), cwd=folder)
    assert pinged.returncode == ExitCode.FAILED
    assert "does not let lab.ping" in pinged.stderr.decode()

    reload(
        "version = 3",
        "ERROR.* the policy policy.toml has mistakes: version must be 1.*; the policy of before stays in use",
    )
    assert send("lab")[0] == ExitCode.DONE
    reload(GUARDED.replace("lab.**", "office.**"), "the policy was read again, and counts from now on")
    assert send("lab")[0] == ExitCode.FAILED
    assert send("office")[0] == ExitCode.DONE
    reload(GUARDED.replace('"lab", ', ""), "the policy was read again, and counts from now on")
    code, said = send("lab")
    assert code == ExitCode.FAILED
    assert "does not let lab be its neighbour: no [[link]] allows it" in said
    assert sum("stays in use" in line for line in command.errors.all) == 1


def test_a_policy_may_stand_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\n[policy]\nfile = "policy.toml"\n')
    ended = run_command("serve", "--config", "hub.toml", cwd=tmp_path)
    assert ended.returncode == ExitCode.USAGE
    assert "the policy policy.toml cannot be read: No such file or directory" in complaint(ended)
    (tmp_path / "policy.toml").write_text('version = 1\n[[link]]\ncells = ["*"]\nannounce = ["site"]\n')
    with Command("serve", "--config", "hub.toml", cwd=tmp_path) as command:
        url = command.output.wait_for(r"hub listens at (\S+)")[1]
        refused = run_command("ping", "hub", "--connect", url, "--count", "1", "--as", "site", cwd=tmp_path)
        assert refused.returncode == ExitCode.FAILED
        assert "does not let site send" in complaint(refused)
        eventually(lambda: any("refused to site" in line for line in command.errors.all))
