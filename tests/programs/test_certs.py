"""``streamcell certs`` as its user sees it: files, sentences, exit codes; and what openssl says of them."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from streamcell.cli.outcome import ExitCode
from streamcell.security.certificates import load
from streamcell.security.settings import TLSConfig
from tests.kit.certificates import DAY, NOW, TestAuthority, listening
from tests.kit.programs import LIMIT_S, complaint, run_command

Ended: TypeAlias = subprocess.CompletedProcess[bytes]


def certs(folder: Path, *arguments: str) -> Ended:
    return run_command("certs", *arguments, cwd=folder)


def made(folder: Path, *names: str) -> Path:
    """An authority in ``certs``, with the certificates of cells."""
    assert certs(folder, "init").returncode == ExitCode.DONE
    for name in names:
        assert certs(folder, "issue", name, "--host", "localhost", "--host", "127.0.0.1").returncode == ExitCode.DONE
    return folder / "certs"


def openssl(*arguments: str) -> str:
    ended = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return ended.stdout


def check(folder: Path, name: str, *more: str) -> Ended:
    return certs(
        folder, "check", "--cert", f"certs/{name}.pem", "--key", f"certs/{name}.key", "--ca", "certs/ca.pem", *more
    )


def test_an_authority_and_a_cell_s_certificate_are_made(tmp_path: Path) -> None:
    folder = made(tmp_path, "site-1")
    assert {path.name for path in folder.iterdir()} == {"ca.pem", "ca.key", "site-1.pem", "site-1.key"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for key in ("ca.key", "site-1.key"):
        assert stat.S_IMODE((folder / key).stat().st_mode) == 0o600
    verified = openssl("verify", "-x509_strict", "-CAfile", str(folder / "ca.pem"), str(folder / "site-1.pem"))
    assert verified.endswith("OK\n")
    material = load(TLSConfig(ca=folder / "ca.pem", cert=folder / "site-1.pem", key=folder / "site-1.key"))
    assert material.identity is not None
    assert material.identity.name == "site-1"


def test_keys_are_never_printed(tmp_path: Path) -> None:
    ended = [certs(tmp_path, "init", "--json"), certs(tmp_path, "issue", "site-1", "--json")]
    ended += [certs(tmp_path, "show", "certs/site-1.pem"), certs(tmp_path, "show", "certs/site-1.key")]
    for each in ended:
        assert b"PRIVATE" not in each.stdout + each.stderr
    assert ended[-1].returncode == ExitCode.FAILED


def test_what_is_shown_is_what_openssl_shows(tmp_path: Path) -> None:
    folder = made(tmp_path, "site-1")
    shown = certs(tmp_path, "show", "certs/site-1.pem", "--json")
    values = json.loads(shown.stdout)
    assert values["names"] == "streamcell:site-1"
    assert values["issuer"] == "CN=streamcell"
    theirs = openssl(
        "x509", "-in", str(folder / "site-1.pem"), "-noout", "-fingerprint", "-sha256", "-ext", "subjectAltName"
    )
    [fingerprint] = re.findall(r"ingerprint=([0-9A-F:]+)", theirs)
    assert values["fingerprint"] == "sha256:" + fingerprint.replace(":", "").lower()
    for host in values["hosts"]:
        assert host in theirs
    text = certs(tmp_path, "show", "certs/site-1.pem").stdout.decode()
    assert "valid until  " in text


def test_nothing_is_replaced_unless_it_is_wanted(tmp_path: Path) -> None:
    folder = made(tmp_path, "site-1")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for arguments in (["init"], ["issue", "site-1"]):
        ended = certs(tmp_path, *arguments)
        assert ended.returncode == ExitCode.USAGE
        assert "--force" in complaint(ended)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert certs(tmp_path, "issue", "site-1", "--force").returncode == ExitCode.DONE
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"site-1.pem", "site-1.key"}
    assert stat.S_IMODE((folder / "site-1.key").stat().st_mode) == 0o600


def test_half_of_a_pair_is_not_left_behind(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder / "site-1.pem").symlink_to(folder / "missing" / "site-1.pem")
    ended = certs(tmp_path, "issue", "site-1")
    assert ended.returncode == ExitCode.USAGE
    assert not (folder / "site-1.key").exists()


def test_a_renewed_certificate_has_the_key_and_the_names_of_before(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert certs(tmp_path, "issue", "site-1", "--days", "2", "--spiffe", "example.org").returncode == ExitCode.DONE
    key, before = (folder / "site-1.key").read_bytes(), (folder / "site-1.pem").read_bytes()
    ended = certs(tmp_path, "renew", "certs/site-1.pem", "--days", "200")
    assert ended.returncode == ExitCode.DONE
    assert "spiffe://example.org/site-1" in ended.stdout.decode()
    assert (folder / "site-1.key").read_bytes() == key
    assert (folder / "site-1.pem").read_bytes() != before
    config = TLSConfig(cert=folder / "site-1.pem", key=folder / "site-1.key", identity="spiffe://example.org/{fqcn}")
    identity = load(config).identity
    assert identity is not None
    assert identity.name == "site-1"


def test_certificates_may_go_elsewhere(tmp_path: Path) -> None:
    made(tmp_path)
    ended = certs(tmp_path, "issue", "site-1", "--dir", "certs", "--out", "elsewhere/site-1")
    assert ended.returncode == ExitCode.DONE
    assert {path.name for path in (tmp_path / "elsewhere/site-1").iterdir()} == {"site-1.pem", "site-1.key"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["issue", "a b"], "'a b' is not a cell name"),
        (["issue", "site-1", "--host", "*.cell.invalid"], "host name"),
        (["issue", "site-1", "--days", "0"], "--days"),
        (["issue", "site-1", "--dir", "nowhere"], "no authority in nowhere: make one with"),
        (["issue", "site-1", "--spiffe", "Example.ORG"], "trust domain"),
        (["init", "--name", ""], "name"),
        (["renew"], "CERT"),
        ([], "missing command"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    made(tmp_path)
    before = set((tmp_path / "certs").iterdir())
    ended = certs(tmp_path, *arguments)
    assert ended.returncode == ExitCode.USAGE
    assert said in complaint(ended)
    assert set((tmp_path / "certs").iterdir()) == before


def test_nothing_is_wrong(tmp_path: Path) -> None:
    folder = made(tmp_path, "hub", "site-1")
    hub = TLSConfig(ca=folder / "ca.pem", cert=folder / "hub.pem", key=folder / "hub.key")
    with listening(hub) as port:
        for url in (f"grpcs://127.0.0.1:{port}", f"grpcs://hub@127.0.0.1:{port}", f"grpcs://localhost:{port}"):
            ended = check(tmp_path, "site-1", "--url", url)
            assert (ended.returncode, ended.stdout) == (ExitCode.DONE, b"nothing is wrong\n")


def test_each_thing_that_is_wrong_is_a_line(tmp_path: Path) -> None:
    folder = made(tmp_path, "hub", "site-1")
    (folder / "site-1.key").chmod(0o644)
    other = TestAuthority("another authority")
    with listening(other.config("hub")) as port:
        ended = check(tmp_path, "site-1", "--url", f"grpcs://hub@127.0.0.1:{port}")
    assert ended.returncode == ExitCode.FAILED
    loose, foreign = ended.stdout.decode().splitlines()
    assert loose == "certs/site-1.key: others may read it: 'chmod 600 certs/site-1.key'"
    assert "CN=another authority" in foreign
    assert foreign.startswith(f"grpcs://hub@127.0.0.1:{port} ")


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    folder = made(tmp_path, "hub", "site-1")
    old = TestAuthority("another authority").issue("hub", now=NOW - 9 * DAY, days=1)
    (folder / "old.pem").write_bytes(old.certificate)
    (folder / "old.key").write_bytes(old.key)
    (folder / "old.key").chmod(0o600)
    ended = check(tmp_path, "old", "--json")
    assert ended.returncode == ExitCode.FAILED
    assert [sorted(json.loads(line)) for line in ended.stdout.splitlines()] == [["fault"]]
    assert b"it expired on" in ended.stdout
    (folder / "hub.key").write_bytes((folder / "site-1.key").read_bytes())
    ended = check(tmp_path, "hub")
    assert b"certs/hub.key is not that of the certificate in certs/hub.pem" in ended.stdout
    ended = check(tmp_path, "site-1", "--url", "grpc://127.0.0.1:1")
    assert ended.returncode == ExitCode.USAGE
    assert "use grpcs://" in complaint(ended)


def test_without_the_extra_its_name_is_said(tmp_path: Path) -> None:
    program = "import sys; sys.modules['cryptography'] = None; from streamcell.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", program, "certs", "init"],
        cwd=tmp_path,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == ExitCode.FAILED
    assert b"pip install 'streamcell[tls]'" in ended.stderr
    assert not (tmp_path / "certs").exists()
