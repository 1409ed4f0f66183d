"""Certificates and keys: read, checked, and put into words.

Nothing here parses X.509 itself: ``cryptography`` does. What is refused is refused when it is loaded, with the file's
name, since gRPC says nothing about why a handshake failed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from pathlib import Path
from typing import Any, TypeAlias, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning

from streamcell.errors import AuthenticationError
from streamcell.security.identity import Identity, IdentitySource
from streamcell.security.settings import Pem, TLSConfig, describe
from streamcell.security.templates import IdentityTemplate, is_wildcard_of_cells

# Larger files are something else.
_MOST_BYTES = 4 * 1024 * 1024
_LEAST_RSA_BITS = 2048
# What cryptography raises for a certificate or a key that it cannot make sense of.
_UNREADABLE = (
    ValueError,
    # Where warnings are errors: a serial number that RFC 5280 does not allow.
    CryptographyDeprecationWarning,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
# The keys that gRPC takes, apart from small ones.
CellKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CellPublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_CURVES = (ec.SECP256R1, ec.SECP384R1)


@dataclasses.dataclass(frozen=True, slots=True)
class Material:
    """What a TLSConfig's files hold, checked.

    Attributes:
        chain: this cell's certificate, and those between it and its authority; empty if there is none.
        chain_pem: the same, as it stood in the file.
        key_pem: its key.
        authorities: who is believed; empty: whom the system believes.
        ca_pem: the same, as it stood in the file.
        identity: what the certificate proves of this cell; None if there is none, or no name in it.
    """

    chain: tuple[x509.Certificate, ...] = ()
    chain_pem: bytes = b""
    key_pem: bytes = dataclasses.field(default=b"", repr=False)
    authorities: tuple[x509.Certificate, ...] = ()
    ca_pem: bytes = b""
    identity: Identity | None = None

    def key(self) -> CellKey:
        """Return the key, read."""
        return read_key(self.key_pem, "the key")


def load(config: TLSConfig) -> Material:
    """Read and check what a configuration names.

    :raises AuthenticationError: if a file cannot be read, is no such thing, or does not belong to another one.
    """
    authorities: tuple[x509.Certificate, ...] = ()
    ca_pem = b""
    if config.ca is not None:
        ca_pem = read(config.ca)
        authorities = read_certificates(ca_pem, describe(config.ca))
    if config.cert is None or config.key is None:
        return Material(authorities=authorities, ca_pem=ca_pem)
    chain_pem, key_pem = read(config.cert), read(config.key)
    chain = read_certificates(chain_pem, describe(config.cert))
    key = read_key(key_pem, describe(config.key))
    check_belong_together(chain[0], key, describe(config.cert), describe(config.key))
    check_certificate(chain[0], describe(config.cert))
    has_name = bool(_names_in(chain[0], config.template))
    identity = identity_of(chain[0], config.template, describe(config.cert)) if has_name else None
    return Material(chain, chain_pem, key_pem, authorities, ca_pem, identity)


def read(pem: Pem) -> bytes:
    """Return what is in a file, or what was given in its place.

    :raises AuthenticationError: if it cannot be read.
    """
    if isinstance(pem, bytes):
        return pem
    path = Path(os.fspath(pem))
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise AuthenticationError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise AuthenticationError(f"{str(path)!r} is no path: {error}") from error
    if len(data) > _MOST_BYTES:
        raise AuthenticationError(f"{path} is larger than {_MOST_BYTES} bytes: it is no file of certificates")
    return data


def read_certificates(pem: bytes, where: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in PEM, at least one.

    :raises AuthenticationError: if there is none, or one that cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except _UNREADABLE as error:
        raise AuthenticationError(
            f"{where} holds no certificate that can be read: it must be PEM, '-----BEGIN CERTIFICATE-----' and so on "
            f"({error})"
        ) from error


def read_key(pem: bytes, where: str) -> CellKey:
    """Return the private key in PEM.

    :raises AuthenticationError: if there is none, one that is encrypted, or of a kind that gRPC cannot use.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError as error:
        raise AuthenticationError(
            f"{where} is encrypted: a cell that starts by itself needs a key without a password, in a file that only "
            "its user may read"
        ) from error
    except _UNREADABLE as error:
        raise AuthenticationError(f"{where} holds no private key that can be read: it must be PEM ({error})") from error
    _check_kind(key.public_key(), where)
    return cast("CellKey", key)


def check_belong_together(certificate: x509.Certificate, key: CellKey, cert: str, key_name: str) -> None:
    """Check that a key is that of a certificate.

    :raises AuthenticationError: if it is not.
    """
    if _bytes_of(public_key_of(certificate, cert)) != _bytes_of(key.public_key()):
        raise AuthenticationError(
            f"the key in {key_name} is not that of the certificate in {cert}: name two that belong together"
        )


def check_certificate(certificate: x509.Certificate, where: str) -> None:
    """Check that a certificate is one that a cell may use.

    :raises AuthenticationError: if its key is of a kind that gRPC cannot use, or it would pass as every cell's.
    """
    _check_kind(public_key_of(certificate, where), where)
    for host in hosts_in(certificate):
        if is_wildcard_of_cells(host):
            raise AuthenticationError(
                f"the certificate in {where} has the name {host}, which would pass for every cell"
            )


def identity_of(certificate: x509.Certificate, template: IdentityTemplate, where: str) -> Identity:
    """Return what a certificate proves.

    :raises AuthenticationError: if it has not exactly one URI that stands for a cell.
    """
    names = _names_in(certificate, template)
    if not names:
        raise AuthenticationError(
            f"the certificate of {where} names no cell: it has no URI of the form {template.text} among its "
            f"alternative names ({', '.join(uris_in(certificate)) or 'it has no URI at all'})"
        )
    if len(names) > 1:
        raise AuthenticationError(
            f"the certificate of {where} names several cells: {', '.join(names)}; only one may be"
        )
    fqcn = template.cell_in(template.uri_of(names[0]))
    if fqcn is None:
        raise AuthenticationError(f"the certificate of {where} names {names[0]!r:.100}, which is no name of a cell")
    expires_at = certificate.not_valid_after_utc.timestamp()
    return Identity(fqcn, IdentitySource.CERTIFICATE, expires_at, fingerprint_of(certificate))


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return ``sha256:`` and the SHA-256 of a certificate, as ``openssl x509 -fingerprint -sha256`` has it."""
    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def hosts_in(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names and IP addresses among the alternative names of a certificate."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def uris_in(certificate: x509.Certificate) -> list[str]:
    """Return the URIs among the alternative names of a certificate."""
    names = _alternative_names(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def public_key_of(certificate: x509.Certificate, where: str) -> PublicKeyTypes:
    """Return the key that a certificate is for.

    :raises AuthenticationError: if it is of no kind that is known.
    """
    try:
        return certificate.public_key()
    except _UNREADABLE as error:
        raise AuthenticationError(f"the certificate in {where} has a key that cannot be read: {error}") from error


def cell_key_of(certificate: x509.Certificate) -> CellPublicKey:
    """Return the key that a certificate is for, if a cell may have one of that kind.

    :raises AuthenticationError: if not.
    """
    key = public_key_of(certificate, "the file")
    _check_kind(key, "the certificate")
    return cast("CellPublicKey", key)


def date_text(moment: dt.datetime) -> str:
    """Return a moment as people read it."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def values_of(certificate: x509.Certificate) -> dict[str, Any]:
    """Return what is worth knowing of a certificate, for people and for JSON."""
    return {
        "names": ", ".join(uris_in(certificate)),
        "hosts": hosts_in(certificate),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "valid_from": date_text(certificate.not_valid_before_utc),
        "valid_until": date_text(certificate.not_valid_after_utc),
        "fingerprint": fingerprint_of(certificate),
    }


def _names_in(certificate: x509.Certificate, template: IdentityTemplate) -> list[str]:
    """Return the names that a certificate's URIs have in the template's place; URIs of other forms do not count."""
    names = (template.name_in(uri) for uri in uris_in(certificate))
    return [name for name in names if name is not None]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except _UNREADABLE as error:
        raise AuthenticationError(f"a certificate has extensions that cannot be read: {error}") from error


def _check_kind(key: PublicKeyTypes, where: str) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= _LEAST_RSA_BITS:
            return
        raise AuthenticationError(
            f"{where} has an RSA key of {key.key_size} bits: at least {_LEAST_RSA_BITS} are needed"
        )
    kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
    if isinstance(key, ec.EllipticCurvePublicKey):
        kind = f"EC {key.curve.name}"
    raise AuthenticationError(
        f"{where} has a key of the kind {kind}, which gRPC does not take: use EC P-256 or P-384, or RSA"
    )


def _bytes_of(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
