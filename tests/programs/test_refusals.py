"""Each row of docs/troubleshooting.md, "Who is refused, and what each end says", between processes."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from streamcell.security.authority import Issued, key_pem
from tests.kit.certificates import DAY, NOW, TestAuthority
from tests.kit.programs import ROOT, Command, Program, hub, run_command
from tests.kit.timing import scaled
from tests.kit.waiting import eventually

HEADING = "## Who is refused, and what each end says"
LOOPBACK = "127.0.0.1"
TOKEN = "b3BlbiBzZXNhbWU="
POLICY = """
version = 1
[[link]]
cells = ["lab", "office"]
[[allow]]
from = ["lab"]
to = ["hub"]
channels = ["streamcell.measure"]
[[allow]]
from = ["office"]
to = ["hub"]
sealed = "required"
"""


class Row(NamedTuple):
    """What the page says of one case: as patterns."""

    told: str
    logged: str


def pattern_of(cell: str) -> str:
    """Return what a cell of the table matches: in it a word in capitals stands for a name, and ``…`` for anything."""
    text = re.escape(cell.strip().strip("`").replace("…", "\0"))
    pieces = re.split(r"\b(?:URL|NAME|HOST|DATE|FILE|ADDRESS|CHANNEL|TOPIC|N)\b", text)
    return r"\S.*?".join(pieces).replace("\0", ".*")


def read_rows() -> dict[str, Row]:
    """Return the rows of the page."""
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    section = page.partition(HEADING)[2].partition("\n## ")[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")]
    return {case.strip(): Row(pattern_of(told), pattern_of(logged)) for case, told, logged, _ in lines[1:]}


ROWS = read_rows()


class Place:
    """A folder with certificates, and the cells that listen with it, which are started when they are asked for."""

    def __init__(self, folder: Path, ends: contextlib.ExitStack) -> None:
        self.folder = folder
        self._ends = ends
        self._running: dict[str, tuple[Command, str]] = {}
        ours, theirs = TestAuthority("ours", now=NOW - 400 * DAY), TestAuthority("theirs")
        self._write("ours.pem", ours.ca)
        self._write("theirs.pem", theirs.ca)
        for name in ("hub", "lab", "office", "relay"):
            self._put(name, ours.issue(name, LOOPBACK))
        for name in ("hub", "lab"):
            self._put(f"{name}-old", ours.issue(name, LOOPBACK, now=NOW - 100 * DAY, days=90))
        for name in ("lab", "other"):
            self._put(f"{name}-theirs", theirs.issue(name, LOOPBACK))
        self._put("hub-elsewhere", ours.issue("hub", "elsewhere.example.org"))
        self._put("two", signed(ours, "streamcell:lab", "streamcell:office"))
        self._put("none", signed(ours))
        self._write("policy.toml", POLICY.encode())
        self._write("tokens", f"lab sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n".encode())
        self._write("lab.token", f"{TOKEN}\n".encode())
        self._write("wrong.token", b"d3Jvbmc=\n")
        self._write("few.toml", b'fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\n[cell]\nmax_cells = 1\n')
        self._write("numbers.txt", b"numbers")

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)

    def _put(self, name: str, issued: Issued) -> None:
        self._write(f"{name}.pem", issued.certificate)
        self._write(f"{name}.key", issued.key)

    def listener(self, name: str) -> tuple[Command, str]:
        """Return a cell that listens, and its URL."""
        if name not in self._running:
            self._running[name] = self._start(name)
        return self._running[name]

    def _start(self, name: str) -> tuple[Command, str]:
        enter = self._ends.enter_context
        if name in ("hub", "hub-old", "hub-elsewhere"):
            return enter(hub(self.folder, *shown(name), listen="grpcs://127.0.0.1:0"))
        if name == "policy":
            return enter(hub(self.folder, *shown("hub"), "--policy", "policy.toml", listen="grpcs://127.0.0.1:0"))
        if name == "tokens":
            return enter(hub(self.folder, "--accept-tokens", "tokens"))
        if name == "relay":
            above = self.listener("hub")[1]
            return self._serve("relay", "--listen", "grpc://127.0.0.1:0", "--connect", above, *shown("relay"))
        if name == "few":
            few = enter(Command("serve", "--config", "few.toml", cwd=self.folder))
            url = few.output.wait_for(r"hub listens at (\S+)")[1]
            enter(Command("recv", "--as", "first", "--into", "x", "--connect", url, cwd=self.folder))
            few.errors.wait_for("connected with first")
            return few, url
        if name in ("office", "other"):
            # Below the plain hub; what is said to them is said by its URL.
            above = self.listener("plain")[1]
            certificate = shown("office" if name == "office" else "other-theirs")
            inbox = ("--inbox", name, *(("--require-sealed",) if name == "office" else ()))
            command = enter(Command("serve", "--fqcn", name, "--connect", above, *inbox, *certificate, cwd=self.folder))
            return command, above
        return enter(hub(self.folder))

    def _serve(self, name: str, *arguments: str) -> tuple[Command, str]:
        command = self._ends.enter_context(Command("serve", "--fqcn", name, *arguments, cwd=self.folder))
        return command, command.output.wait_for(rf"{name} listens at (\S+)")[1]


def signed(authority: TestAuthority, *uris: str) -> Issued:
    """Return a certificate of a key with these URIs, and a host."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("host.example.org"), *map(x509.UniformResourceIdentifier, uris)]
    wanted = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issued(authority.authority.renew(wanted, NOW), key_pem(key))


def shown(name: str, authority: str = "ours") -> tuple[str, ...]:
    """Return the options of a command that has one of the certificates."""
    return ("--ca", f"{authority}.pem", "--cert", f"{name}.pem", "--key", f"{name}.key")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with contextlib.ExitStack() as ends:
        yield Place(tmp_path_factory.mktemp("refusals"), ends)


# What is dialled again and again is told why when that has lasted so long.
WAIT_S = f"{scaled(3.0):g}"
PING = ("ping", "hub", "--count", "1", "--wait", WAIT_S, "--connect", "URL")
SEND = ("send", "numbers.txt", "--wait", f"{scaled(20.0):g}", "--connect", "URL", "--as", "lab")
# A cell whose certificate is that of lab, and which does not see it.
BLIND = """
import sys
from streamcell import CoreCell, TLSConfig
tls = TLSConfig(ca="ours.pem", cert="lab.pem", key="lab.key", identity="other:{fqcn}")
with CoreCell("office", connect=sys.argv[1], tls=tls) as cell:
    try:
        cell.wait_connected(20)
    except Exception as error:
        sys.exit(str(error))
"""
#: For each case: who listens, and with what it is dialled, or sent to.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "no certificate, where one is wanted": ("hub", (*PING, "--ca", "ours.pem")),
    "a certificate that has expired": ("hub", (*PING, *shown("lab-old"))),
    "a certificate of an authority that is not believed there": ("hub", (*PING, *shown("lab-theirs"))),
    "the listener's authority is not believed here": ("hub", (*PING, *shown("lab", "theirs"))),
    "the listener's certificate is for another host": ("hub-elsewhere", (*PING, *shown("lab"))),
    "the listener's certificate has expired": ("hub-old", (*PING, *shown("lab"))),
    "TLS to a plain port": ("plain", (*PING[:-1], "TLS-URL", *shown("lab"))),
    "plain to a port with TLS": ("hub", (*PING[:-1], "PLAIN-URL")),
    "a name that is not the certificate's, seen here": ("hub", (*PING, *shown("lab"), "--as", "office")),
    "a name that is not the certificate's, seen there": ("hub", ("-c", BLIND, "URL")),
    "a certificate of several cells": ("hub", (*PING, *shown("two"), "--as", "lab")),
    "a certificate of no cell": ("hub", (*PING, *shown("none"), "--as", "lab")),
    "a name that is announced and not below its relay's": ("relay", (*PING, "--as", "victim")),
    "no token, where one is wanted": ("tokens", (*PING, "--as", "lab")),
    "a token that nobody knows": ("tokens", (*PING, "--as", "lab", "--token-file", "wrong.token")),
    "the token of another cell": ("tokens", (*PING, "--as", "office", "--token-file", "lab.token")),
    "no neighbour, by the policy": ("policy", (*PING, *shown("relay"))),
    "no stream, by the policy": ("policy", (*SEND, "--to", "hub", *shown("lab"))),
    "plain, where the policy wants it sealed": ("policy", (*SEND[:-1], "office", "--to", "hub", *shown("office"))),
    "plain, where an inbox wants it sealed": ("office", (*SEND, "--to", "office")),
    "to be sealed, without a certificate here": ("plain", (*SEND, "--to", "hub", "--secure")),
    "to be sealed, without a certificate there": ("plain", (*SEND, "--to", "hub", "--secure", *shown("lab"))),
    "to be sealed, and the receiver's authority is not believed here": (
        "other",
        (*SEND, "--to", "other", "--secure", *shown("lab")),
    ),
    "to be sealed, and the sender's authority is not believed there": (
        "office",
        (*SEND, "--to", "office", "--secure", *shown("lab-theirs")),
    ),
    "a limit": ("few", (*PING, "--as", "second")),
}
# Whose log has it: who listens, if it is not said here.
SAID_BY = {"a name that is announced and not below its relay's": "hub"}


def test_every_row_of_the_page_is_tried() -> None:
    assert list(ROWS) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_both_ends_say_what_the_page_says(place: Place, case: str) -> None:
    name, arguments = CASES[case]
    listener, url = place.listener(name)
    log = place.listener(SAID_BY.get(case, name))[0].errors
    said_before = len(log.all)
    urls = {"URL": url, "TLS-URL": url.replace("grpc:", "grpcs:"), "PLAIN-URL": url.replace("grpcs:", "grpc:")}
    command = [urls.get(argument, argument) for argument in arguments]
    if command[0] == "-c":
        with Program(*command, cwd=place.folder) as program:
            status, told = program.wait(), "\n".join(program.lines)
    else:
        ended = run_command(*command, cwd=place.folder)
        status, told = ended.returncode, ended.stderr.decode() + ended.stdout.decode()
    assert status != 0
    row = ROWS[case]
    assert "Traceback" not in told
    assert re.search(row.told, told), told
    if row.logged:
        eventually(lambda: any(re.search(row.logged, line) for line in log.all[said_before:]), row.logged)
    assert listener.process.poll() is None
