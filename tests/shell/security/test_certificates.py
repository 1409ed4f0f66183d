"""What is read of certificates, what is refused, and in which words."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from streamcell.errors import AuthenticationError, UsageError
from streamcell.security.authority import Authority, general_name, make_authority, pem_of, spiffe_template
from streamcell.security.certificates import hosts_in, identity_of, load, read_certificates, uris_in
from streamcell.security.identity import Identity, IdentitySource
from streamcell.security.settings import TLSConfig
from streamcell.security.templates import IdentityTemplate, host_of_cell
from streamcell.security.verification import fault_in_client
from tests.kit.certificates import DAY, NOW, TestAuthority

TEMPLATE = IdentityTemplate("streamcell:{fqcn}")
AUTHORITY = TestAuthority()


def certificate_of(pem: bytes) -> x509.Certificate:
    return read_certificates(pem, "test")[0]


def signed(key: object, *names: x509.GeneralName) -> tuple[bytes, bytes]:
    """A certificate that signs itself, and its key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(key, algorithm)  # type: ignore[arg-type]
    pem = key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem_of(certificate), pem


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


EC_KEY = ec.generate_private_key(ec.SECP256R1())


# --- what an authority makes -----------------------------------------------------------------------


def test_a_certificate_of_a_cell_says_what_it_is_of() -> None:
    issued = AUTHORITY.issue("site-1.job-7", "hub.example.org", "10.0.0.7", "::1")
    certificate = certificate_of(issued.certificate)
    assert uris_in(certificate) == ["streamcell:site-1.job-7"]
    assert hosts_in(certificate) == [host_of_cell("site-1.job-7"), "hub.example.org", "10.0.0.7", "::1"]
    identity = identity_of(certificate, TEMPLATE, "test")
    assert (identity.name, identity.source) == ("site-1.job-7", IdentitySource.CERTIFICATE)
    assert identity.expires_at == (NOW + 90 * DAY).timestamp()
    assert identity.fingerprint.removeprefix("sha256:") == certificate.fingerprint(hashes.SHA256()).hex()
    assert fault_in_client([certificate], [AUTHORITY.authority.certificate], NOW) == ""


def test_openssl_agrees(tmp_path: Path) -> None:
    issued = AUTHORITY.issue("site-1", "hub.example.org")
    ca, leaf = tmp_path / "ca.pem", tmp_path / "leaf.pem"
    ca.write_bytes(AUTHORITY.ca)
    leaf.write_bytes(issued.certificate)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(ca), "-purpose", "sslclient", str(leaf)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.endswith("OK\n")


def test_a_certificate_is_renewed_for_the_same_key_and_names() -> None:
    issued = AUTHORITY.issue("site-1", "hub.example.org", days=1)
    before = certificate_of(issued.certificate)
    after = certificate_of(AUTHORITY.authority.renew(before, NOW + DAY / 2, days=2))
    assert uris_in(after) == uris_in(before)
    assert hosts_in(after) == hosts_in(before)
    assert after.public_key() == before.public_key()
    assert after.serial_number != before.serial_number
    assert after.not_valid_after_utc == NOW + DAY / 2 + 2 * DAY
    assert fault_in_client([after], [AUTHORITY.authority.certificate], NOW + 2 * DAY) == ""


def test_no_certificate_outlives_its_authority() -> None:
    short = TestAuthority(now=NOW, days=10)
    leaf = certificate_of(short.issue("site-1", days=90).certificate)
    assert leaf.not_valid_after_utc == NOW + 10 * DAY
    with pytest.raises(AuthenticationError, match="expired"):
        short.issue("site-1", now=NOW + 11 * DAY)


def test_a_cell_is_no_authority() -> None:
    issued = AUTHORITY.issue("site-1")
    with pytest.raises(AuthenticationError, match="no authority's"):
        Authority(issued.certificate, issued.key)
    with pytest.raises(AuthenticationError, match="belong together"):
        Authority(AUTHORITY.ca, issued.key)


@pytest.mark.parametrize("host", ["", "a b", "*.cell.invalid", "*.CELL.invalid.", "é.org", "a..b", "a" * 300, "x/y"])
def test_hosts_that_no_certificate_may_have(host: str) -> None:
    with pytest.raises(UsageError, match="host name"):
        general_name(host)


@pytest.mark.parametrize("days", [0, -1, 40_000])
def test_days_that_cannot_be(days: int) -> None:
    with pytest.raises(UsageError, match="days"):
        make_authority("a", NOW, days)


@pytest.mark.parametrize("name", ["", "a\n", "a" * 65])
def test_names_that_no_authority_may_have(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        make_authority(name, NOW)


# --- who a certificate is of -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "names no cell"),
        ([x509.DNSName("site-1")], "no URI at all"),
        ([uri("https://example.org")], "https://example.org"),
        ([uri("streamcell:site-1"), uri("streamcell:site-2")], "several cells: site-1, site-2"),
        ([uri("streamcell:site-1"), uri("streamcell:")], "several"),
        ([uri("streamcell:a..b")], "'a..b', which is no name of a cell"),
        ([uri("streamcell:*")], "no name of a cell"),
    ],
)
def test_certificates_that_prove_no_name(names: list[x509.GeneralName], said: str) -> None:
    certificate = certificate_of(signed(EC_KEY, *names)[0])
    with pytest.raises(AuthenticationError, match=said.replace("*", r"\*")) as caught:
        identity_of(certificate, TEMPLATE, "the peer")
    assert "the peer" in str(caught.value)


def test_other_uris_beside_the_cell_s_do_not_matter() -> None:
    certificate = certificate_of(signed(EC_KEY, uri("https://example.org"), uri("streamcell:site-1"))[0])
    assert identity_of(certificate, TEMPLATE, "test").name == "site-1"


def test_a_spiffe_id_may_stand_for_a_cell() -> None:
    template = spiffe_template("example.org")
    issued = AUTHORITY.authority.issue("site-1", NOW, template=template)
    certificate = certificate_of(issued.certificate)
    assert uris_in(certificate) == ["spiffe://example.org/site-1"]
    assert identity_of(certificate, template, "test").name == "site-1"
    longer = IdentityTemplate("spiffe://example.org/ns/lab/cell/{fqcn}")
    with pytest.raises(AuthenticationError, match="names no cell"):
        identity_of(certificate, longer, "test")


@pytest.mark.parametrize("domain", ["", "Example.org", "a/b", "a b"])
def test_domains_that_spiffe_does_not_know(domain: str) -> None:
    with pytest.raises(UsageError, match="trust domain"):
        spiffe_template(domain)


@pytest.mark.parametrize("text", ["", "streamcell:", "{fqcn}", "a:{fqcn}{fqcn}", 3, "{fqcn}:a"])
def test_templates_that_stand_for_nothing(text: object) -> None:
    with pytest.raises(UsageError, match="identity"):
        IdentityTemplate(text)


def test_a_template_is_matched_as_a_whole() -> None:
    template = IdentityTemplate("a:{fqcn}:b")
    assert template.cell_in("a:site-1:b") == "site-1"
    for other in ("a:b", "a::b", "a:site-1", "xa:site-1:b", "a:site-1:bx", "A:site-1:b"):
        assert template.cell_in(other) is None


def test_what_is_named_below_is_covered() -> None:
    identity = Identity("site-1", IdentitySource.TOKEN)
    assert identity.covers("site-1")
    assert identity.covers("site-1.job")
    assert not identity.covers("site-10")
    assert not identity.covers("site")
    assert not identity.covers("other.site-1")


# --- what is loaded --------------------------------------------------------------------------------


def test_files_and_bytes_are_the_same(tmp_path: Path) -> None:
    config = AUTHORITY.files(tmp_path, "site-1")
    material = load(config)
    assert material.identity is not None
    assert material.identity.name == "site-1"
    assert [authority.subject for authority in material.authorities] == [AUTHORITY.authority.certificate.subject]
    as_bytes = TLSConfig(ca=material.ca_pem, cert=material.chain_pem, key=material.key_pem)
    assert load(as_bytes) == material
    assert repr(material.key_pem) not in repr(material)
    assert "PRIVATE" not in repr(as_bytes)


def test_a_server_s_certificate_need_not_name_a_cell() -> None:
    certificate, key = signed(EC_KEY, x509.DNSName("hub.example.org"))
    assert load(TLSConfig(cert=certificate, key=key)).identity is None
    assert load(TLSConfig()).authorities == ()


def test_missing_files_are_named(tmp_path: Path) -> None:
    config = AUTHORITY.files(tmp_path, "site-1")
    for name in ("ca", "cert", "key"):
        missing = tmp_path / "missing.pem"
        with pytest.raises(AuthenticationError, match=r"missing\.pem cannot be read: No such file") as caught:
            load(TLSConfig(**{**{each: getattr(config, each) for each in ("ca", "cert", "key")}, name: missing}))
        assert str(missing) in str(caught.value)


def test_what_does_not_belong_together_is_named_with_both_files(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    first, second = AUTHORITY.files(tmp_path, "site-1"), AUTHORITY.files(tmp_path / "1", "site-1")
    with pytest.raises(AuthenticationError) as caught:
        load(TLSConfig(cert=first.cert, key=second.key))
    assert str(first.cert) in str(caught.value)
    assert str(second.key) in str(caught.value)


SMALL_RSA = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "kind Ed25519"),
        (ec.generate_private_key(ec.SECP521R1()), "secp521r1"),
        (SMALL_RSA, "1024 bits"),
        (dsa.generate_private_key(1024), "kind DSA"),
    ],
    ids=["ed25519", "p521", "small rsa", "dsa"],
)
def test_keys_that_grpc_does_not_take_are_refused(key: object, said: str) -> None:
    certificate, pem = signed(key, uri("streamcell:site-1"))
    with pytest.raises(AuthenticationError, match=said):
        load(TLSConfig(cert=certificate, key=pem))


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)])
def test_keys_that_grpc_takes_are_taken(key: object) -> None:
    certificate, pem = signed(key, uri("streamcell:site-1"))
    assert load(TLSConfig(cert=certificate, key=pem)).identity is not None


def test_a_certificate_for_every_cell_is_refused() -> None:
    certificate, pem = signed(EC_KEY, uri("streamcell:site-1"), x509.DNSName("*.cell.invalid"))
    with pytest.raises(AuthenticationError, match="every cell"):
        load(TLSConfig(cert=certificate, key=pem))


def test_an_encrypted_key_is_refused() -> None:
    certificate, _ = signed(EC_KEY, uri("streamcell:site-1"))
    encrypted = EC_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    with pytest.raises(AuthenticationError, match="encrypted"):
        load(TLSConfig(cert=certificate, key=encrypted))


def test_garbage_is_refused() -> None:
    garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    certificate, key = signed(EC_KEY, uri("streamcell:site-1"))
    with pytest.raises(AuthenticationError, match="no certificate"):
        load(TLSConfig(ca=garbage))
    with pytest.raises(AuthenticationError, match="no certificate"):
        load(TLSConfig(cert=garbage, key=key))
    with pytest.raises(AuthenticationError, match="no private key"):
        load(TLSConfig(cert=certificate, key=garbage))


# --- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cert": "a.pem"}, "key is not"),
        ({"key": "a.key"}, "cert is not"),
        ({"ca": b"a.pem"}, "no PEM"),
        ({"ca": 3}, "path"),
        ({"ca": ""}, "path"),
        ({"server_name": ""}, "server_name"),
        ({"require_client_cert": 1}, "require_client_cert"),
        ({"check_interval_s": 0}, "check_interval_s"),
        ({"check_interval_s": float("inf")}, "check_interval_s"),
        ({"check_interval_s": float("nan")}, "check_interval_s"),
        ({"check_interval_s": "10"}, "check_interval_s"),
        ({"identity": "cell"}, "identity"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TLSConfig(**settings)  # type: ignore[arg-type]


# --- whether it holds ------------------------------------------------------------------------------


def fault(issued: bytes, authority: TestAuthority, when: dt.datetime = NOW) -> str:
    return fault_in_client([certificate_of(issued)], [authority.authority.certificate], when)


def test_why_a_certificate_does_not_hold() -> None:
    issued = AUTHORITY.issue("site-1", days=1).certificate
    assert "expired on" in fault(issued, AUTHORITY, NOW + 2 * DAY)
    assert "not valid before" in fault(issued, AUTHORITY, NOW - DAY)
    other = TestAuthority("another authority")
    said = fault(issued, other)
    assert "CN=test authority" in said
    assert "CN=another authority" in said
    namesake = TestAuthority()
    assert "does not hold" in fault(issued, namesake)
    itself = certificate_of(signed(EC_KEY, uri("streamcell:site-1"))[0])
    assert "without a name" in fault_in_client([itself], [AUTHORITY.authority.certificate], NOW)
