"""Certificates on the command line: as docs/tls.md goes through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import Command, certificate, complaint, hub, make_certificates, run_command

FILE = b"numbers"


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
