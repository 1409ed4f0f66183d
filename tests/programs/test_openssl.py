"""What OpenSSL says of certificates and listeners, beside what streamcell says; and certificates that it has made."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from streamcell import AuthenticationError, CellError, CoreCell, TLSConfig
from tests.kit.certificates import DAY, NOW, TestAuthority
from tests.kit.programs import LIMIT_S, certificate, hub, make_certificates, run_command
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(*arguments: str, cwd: Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["openssl", *arguments], cwd=cwd, input=data, capture_output=True, timeout=LIMIT_S, check=False
    )


def made(*arguments: str, cwd: Path) -> str:
    """Run a command of OpenSSL that must succeed; return what it prints."""
    ended = openssl(*arguments, cwd=cwd)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


# --- the judge -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates that are to be believed by ``ca.pem``, and others that are not."""
    folder = tmp_path_factory.mktemp("judged")
    ours, theirs = TestAuthority("ours", now=NOW - 400 * DAY), TestAuthority("theirs")
    (folder / "ca.pem").write_bytes(ours.ca)
    issued = {
        "good": ours.issue("lab", "127.0.0.1"),
        "expired": ours.issue("lab", now=NOW - 100 * DAY, days=90),
        "not yet": ours.issue("lab", now=NOW + DAY),
        "of another authority": theirs.issue("lab"),
    }
    for name, each in issued.items():
        (folder / f"{name}.pem").write_bytes(each.certificate)
        (folder / f"{name}.key").write_bytes(each.key)
        (folder / f"{name}.key").chmod(0o600)
    return folder


@pytest.mark.parametrize(
    ("name", "is_good"), [("good", True), ("expired", False), ("not yet", False), ("of another authority", False)]
)
def test_both_judge_a_certificate_alike(judged: Path, name: str, is_good: bool) -> None:
    files = {"cert": f"{name}.pem", "key": f"{name}.key", "ca": "ca.pem"}
    checked = run_command("certs", "check", *(f"--{what}={file}" for what, file in files.items()), cwd=judged)
    purposes = ("sslserver", "sslclient")
    verified = [
        openssl("verify", "-purpose", each, "-CAfile", "ca.pem", files["cert"], cwd=judged) for each in purposes
    ]
    assert {ended.returncode == 0 for ended in verified} == {is_good}
    assert (checked.returncode == 0) == is_good, checked.stderr.decode()


def test_both_read_the_same_in_a_certificate(judged: Path) -> None:
    shown = json.loads(run_command("certs", "show", "good.pem", "--json", cwd=judged).stdout)
    printed = made("x509", "-in", "good.pem", "-noout", "-fingerprint", "-sha256", "-enddate", "-issuer", cwd=judged)
    values = dict(line.split("=", 1) for line in printed.splitlines())
    fingerprint = values["sha256 Fingerprint"].replace(":", "").lower()
    until = dt.datetime.strptime(values["notAfter"], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=dt.UTC)
    assert shown["fingerprint"] == f"sha256:{fingerprint}"
    assert shown["valid_until"] == f"{until:%Y-%m-%d %H:%M} UTC"
    assert shown["issuer"].replace("=", " = ") == values["issuer"]
    named = made("x509", "-in", "good.pem", "-noout", "-ext", "subjectAltName", cwd=judged)
    assert "X509v3 Subject Alternative Name: critical" in named
    assert f"URI:{shown['names'][0]}" in named
    assert "IP Address:127.0.0.1" in named


def test_a_listener_is_as_openssl_wants_it(tmp_path: Path) -> None:
    make_certificates(tmp_path, "hub", "lab")
    connect = ("s_client", "-alpn", "h2", "-CAfile", "certs/ca.pem", "-verify_return_error", "-connect")
    with hub(tmp_path, *certificate("hub"), listen="grpcs://127.0.0.1:0") as (_, url):
        address = url.removeprefix("grpcs://")
        shown = openssl(*connect, address, "-verify_ip", "127.0.0.1", *pair("lab"), cwd=tmp_path).stdout.decode(
            "utf-8", "replace"
        )
        assert "Verify return code: 0 (ok)" in shown
        assert "ALPN protocol: h2" in shown
        unknown = openssl(*connect, address, "-verify_ip", "127.0.0.2", *pair("lab"), cwd=tmp_path)
        assert unknown.returncode != 0
        nameless = openssl(*connect, address, "-tls1_2", cwd=tmp_path)
        assert nameless.returncode != 0
        pinged = run_command("ping", "hub", "--count", "1", "--connect", url, *certificate("lab"), cwd=tmp_path)
        assert pinged.returncode == 0


def pair(name: str) -> tuple[str, ...]:
    return ("-cert", f"certs/{name}.pem", "-key", f"certs/{name}.key")


# --- certificates that streamcell has not made -------------------------------------------------------


DOMAIN = "spiffe://example.org"


def sign(folder: Path, name: str, subject: str, extensions: list[str], authority: str = "ca") -> None:
    """Have a key made, and a certificate of it."""
    (folder / f"{name}.ext").write_text("\n".join(extensions))
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
    made("req", "-new", *key, "-subj", subject, "-out", f"{name}.csr", cwd=folder)
    signing = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "30")
    made("x509", "-req", "-in", f"{name}.csr", *signing, "-extfile", f"{name}.ext", "-out", f"{name}.pem", cwd=folder)


def spiffe(
    folder: Path, path: str, *, usage: str = "serverAuth, clientAuth", authorities: tuple[str, ...] = ("ca",)
) -> TLSConfig:
    """Return what a cell has whose certificate OpenSSL has made, in the shape of an X.509 SVID.

    :param authorities: who has signed it, and who has signed their certificates, up to that which is believed.
    """
    name = path.rpartition("/")[2]
    extensions = [
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature",
        f"extendedKeyUsage = {usage}",
        "authorityKeyIdentifier = keyid",
        f"subjectAltName = critical, URI:{DOMAIN}/{path}, IP:127.0.0.1",
    ]
    sign(folder, name, "/", extensions, authorities[0])
    chain = [(folder / f"{each}.pem").read_bytes() for each in (name, *authorities[:-1])]
    cert, key = folder / f"{name}.chain", folder / f"{name}.key"
    cert.write_bytes(b"".join(chain))
    return TLSConfig(ca=folder / "ca.pem", cert=cert, key=key, identity=f"{DOMAIN}/ward/{{fqcn}}")


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority that OpenSSL has made."""
    folder = tmp_path_factory.mktemp("domain")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key")
    extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    made("req", "-x509", *key, "-subj", "/CN=example.org", "-days", "60", *extensions, "-out", "ca.pem", cwd=folder)
    return folder


def test_cells_use_spiffe_ids_that_openssl_has_signed(domain: Path) -> None:
    with (
        CoreCell("hub", listen="grpcs://127.0.0.1:0", tls=spiffe(domain, "ward/hub")) as ward,
        CoreCell("site-1", connect=ward.listen_urls, tls=spiffe(domain, "ward/site-1")) as site,
    ):
        site.wait_connected(PATIENCE_S)
        assert {known.fqcn: known.identity for known in site.cells(PATIENCE_S)} == {"hub": "", "site-1": "site-1"}
        elsewhere = CoreCell("site-2", connect=ward.listen_urls, tls=spiffe(domain, "kitchen/site-2"))
        with elsewhere, pytest.raises(AuthenticationError, match="names no cell"):
            elsewhere.wait_connected(PATIENCE_S)


def test_an_authority_between_is_shown_with_the_certificate(domain: Path) -> None:
    constraints = ["basicConstraints = critical, CA:TRUE, pathlen:0", "keyUsage = critical, keyCertSign"]
    sign(domain, "between", "/CN=ward", [*constraints, "authorityKeyIdentifier = keyid"])
    signed_by = ("between", "ca")
    with (
        CoreCell("hub", listen="grpcs://127.0.0.1:0", tls=spiffe(domain, "ward/hub", authorities=signed_by)) as ward,
        CoreCell("site-4", connect=ward.listen_urls, tls=spiffe(domain, "ward/site-4", authorities=signed_by)) as site,
    ):
        site.wait_connected(PATIENCE_S)
        assert [link.identity for link in ward.stats().protocol.links] == ["site-4"]


def test_a_certificate_that_lacks_what_it_needs_is_not_believed(domain: Path) -> None:
    for_servers = spiffe(domain, "ward/site-3", usage="serverAuth")
    with CoreCell("hub", listen="grpcs://127.0.0.1:0", tls=spiffe(domain, "ward/hub")) as ward:
        site = CoreCell("site-3", connect=ward.listen_urls, tls=for_servers)
        with site, pytest.raises(CellError, match="hangs up when it has seen this cell's certificate"):
            site.wait_connected(scaled(3.0))
        assert not ward.is_cell_connected("site-3")
