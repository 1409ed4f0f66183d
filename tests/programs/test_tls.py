"""Certificates on the command line: as docs/tls.md goes through it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import (
    ROOT,
    Command,
    Process,
    certificate,
    complaint,
    environment,
    hub,
    make_certificates,
    run_command,
)
from tests.programs.documents import blocks, section

FILE = b"numbers"


WALK = section(ROOT / "docs/tls.md", "## Five minutes: an authority, a hub, two cells")


def shell(commands: str, cwd: Path, port: str) -> Process:
    """Run what a document has for a shell, with another port."""
    # Ctrl-C in a terminal reaches the program, here a signal reaches the shell unless the program takes its place.
    *before, last = commands.rstrip("\n").split("\nstreamcell ")
    script = "\n".join([*before, f"exec streamcell {last}"]) if before else f"exec {last}"
    variables = environment() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    return Process(["sh", "-ec", script.replace(":8004", f":{port}")], cwd=cwd, variables=variables)


def test_the_walk_through_of_the_page(tmp_path: Path) -> None:
    certificates, serve, receive, send, as_somebody_else, not_allowed = blocks(WALK, "shell")
    (policy,) = blocks(WALK, "toml")
    told = blocks(WALK, "text")
    (tmp_path / "policy.toml").write_text(policy)
    (tmp_path / "numbers.txt").write_bytes(FILE)
    for line in certificates.splitlines():
        with shell(line, tmp_path, "0") as made:
            assert made.wait() == 0, made.errors.all
    with contextlib.ExitStack() as ends:
        serving = ends.enter_context(shell(serve, tmp_path, "0"))
        port = serving.output.wait_for(r"hub listens at \S+:(\d+)")[1]
        receiving = ends.enter_context(shell(receive, tmp_path, port))
        settings, _, command = send.partition("\n")
        with shell(send, tmp_path, port) as sending:
            assert sending.wait() == 0, sending.errors.all
        receiving.output.wait_for(r"inbox/lab/numbers\.txt")
        assert (tmp_path / "inbox/lab/numbers.txt").read_bytes() == FILE
        assert command
        for wrong, sentence in zip((as_somebody_else, not_allowed), told, strict=True):
            with shell(f"{settings}\n{wrong}", tmp_path, port) as refused:
                assert refused.wait() != 0
            assert refused.errors.all == [sentence.rstrip("\n")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an authority, three certificates, and a file."""
    make_certificates(tmp_path, "hub", "office", "lab")
    (tmp_path / "numbers.txt").write_bytes(FILE)
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """Where a hub with a certificate listens."""
    with hub(folder, *certificate("hub"), listen="grpcs://127.0.0.1:0") as (_, address):
        assert address.startswith("grpcs://")
        yield address


def test_a_file_goes_through_a_hub_that_knows_who_is_who(folder: Path, url: str) -> None:
    named = url.replace("grpcs://", "grpcs://hub@")
    variables = {f"STREAMCELL_{name.upper()}": f"certs/{file}" for name, file in LAB.items()}
    receiver = (
        "recv",
        "--as",
        "office",
        "--into",
        "arrived",
        "--connect",
        named,
        "--count",
        "1",
        *certificate("office"),
    )
    with Command(*receiver, cwd=folder) as receiving:
        sent = run_command("send", "numbers.txt", "--to", "office", "--connect", named, cwd=folder, variables=variables)
        assert sent.returncode == ExitCode.DONE, sent.stderr
        assert receiving.wait() == ExitCode.DONE
    [arrived] = (folder / "arrived").rglob("numbers.txt")
    assert arrived.read_bytes() == FILE
    # The command's own name is below the one that its certificate proves.
    assert arrived.parent.name.startswith("lab.send-")


def test_what_cells_have_proved_is_printed(folder: Path, url: str) -> None:
    with Command("recv", "--as", "office", "--into", "arrived", "--connect", url, *certificate("office"), cwd=folder):
        pinged = run_command("ping", "office", "--connect", url, *certificate("lab"), cwd=folder)
        assert pinged.returncode == ExitCode.DONE, pinged.stderr
        listed = run_command("cells", "--verbose", "--connect", url, *certificate("lab"), cwd=folder)
    assert listed.returncode == ExitCode.DONE, listed.stderr
    lines = listed.stdout.decode().splitlines()
    proved = {name: line.rpartition("  ")[2] for line in lines for name in ("hub", "office") if name in line}
    assert proved == {"hub": "proved: nothing", "office": "proved: office"}


LAB = {"ca": "ca.pem", "cert": "lab.pem", "key": "lab.key"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--as", "office", *certificate("lab")), "certs/lab.pem is that of lab, and this cell is office"),
        (("--ca", "certs/ca.pem"), "wants a certificate, and this cell has none"),
        (("--ca", "certs/ca.pem", "--cert", "certs/lab.pem"), "key is not"),
        (("--ca", "certs/nowhere.pem"), "certs/nowhere.pem cannot be read"),
    ],
)
def test_who_is_refused_is_told_why(folder: Path, url: str, more: tuple[str, ...], said: str) -> None:
    ended = run_command("ping", "hub", "--connect", url, "--wait", "20", *more, cwd=folder)
    assert ended.returncode in (ExitCode.FAILED, ExitCode.USAGE, ExitCode.UNREACHABLE)
    assert said in complaint(ended)


def test_certificates_may_stand_in_the_configuration(folder: Path) -> None:
    (folder / "hub.toml").write_text(
        'fqcn = "hub"\nlisten = "grpcs://127.0.0.1:0"\n'
        '[tls]\nca = "certs/ca.pem"\ncert = "certs/hub.pem"\nkey = "certs/hub.key"\ncheck_interval_s = 1\n'
    )
    with Command("serve", "--config", "hub.toml", cwd=folder) as command:
        address = command.output.wait_for(r"hub listens at (\S+)")[1]
        pinged = run_command("ping", "hub", "--connect", address, "--count", "1", *certificate("lab"), cwd=folder)
    assert pinged.returncode == ExitCode.DONE, pinged.stderr
    (folder / "hub.toml").write_text('fqcn = "hub"\nlisten = "grpcs://127.0.0.1:0"\n[tls]\ncrt = "certs/hub.pem"\n')
    ended = run_command("serve", "--config", "hub.toml", cwd=folder)
    assert ended.returncode == ExitCode.USAGE
    assert "did you mean cert?" in complaint(ended)
