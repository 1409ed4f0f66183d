"""Tokens on the command line: as docs/tls.md goes through it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import Command, complaint, hub, run_command

TOKEN = "b3BlbiBzZXNhbWU="
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a token, and a file that says whose it is."""
    (tmp_path / "lab.token").write_text(f"{TOKEN}\n")
    (tmp_path / "wrong.token").write_text("d3Jvbmc=\n")
    accepted = tmp_path / "tokens"
    accepted.write_text(f"lab sha256:{DIGEST}\n")
    accepted.chmod(0o600)
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """Where a hub listens that asks for tokens."""
    with hub(folder, "--accept-tokens", "tokens") as (_, address):
        yield address


def test_who_shows_a_token_is_let_in_under_its_name(folder: Path, url: str) -> None:
    ping = ("ping", "hub", "--connect", url, "--count", "1", "--wait", "20")
    shown = run_command(*ping, "--as", "lab.ping", "--token-file", "lab.token", cwd=folder)
    assert shown.returncode == ExitCode.DONE, shown.stderr
    variables = {"STREAMCELL_TOKEN_FILE": "lab.token"}
    assert run_command(*ping, "--as", "lab", cwd=folder, variables=variables).returncode == ExitCode.DONE
    for more, said in (
        (("--as", "office", "--token-file", "lab.token"), "proves lab, and not office"),
        (("--as", "lab", "--token-file", "wrong.token"), "its token is not known here"),
        (("--as", "lab", "--token-file", "nowhere"), "the token in nowhere cannot be read"),
        (("--as", "lab"), "hub wants a token, and was shown none: give token=, or --token-file"),
    ):
        refused = run_command(*ping, *more, cwd=folder)
        assert refused.returncode in (ExitCode.FAILED, ExitCode.UNREACHABLE)
        assert said in complaint(refused)


def test_tokens_may_stand_in_the_configuration(folder: Path, url: str) -> None:
    (folder / "relay.toml").write_text(
        f'fqcn = "lab"\nlisten = "grpc://127.0.0.1:0"\nconnect = "{url}"\n'
        '[tokens]\nshow = "lab.token"\naccept = "tokens"\n'
    )
    with Command("serve", "--config", "relay.toml", cwd=folder) as command:
        below = command.output.wait_for(r"lab listens at (\S+)")[1]
        ping = ("ping", "hub", "--connect", below, "--count", "1", "--as", "lab.below", "--token-file", "lab.token")
        assert run_command(*ping, cwd=folder).returncode == ExitCode.DONE
    (folder / "relay.toml").write_text('fqcn = "lab"\nlisten = "grpc://127.0.0.1:0"\n[tokens]\nshown = "lab.token"\n')
    ended = run_command("serve", "--config", "relay.toml", cwd=folder)
    assert ended.returncode == ExitCode.USAGE
    assert "[tokens] 'shown' is not known: did you mean show?" in complaint(ended)
